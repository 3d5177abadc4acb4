"""Workers prepare a part each of the tests that all of them are about to import."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest.assertion.rewrite import PYC_TAIL, _read_pyc
from tests.support.rewriting import share_rewriting


def kept(folder: Path) -> dict[str, Path]:
    """What has been prepared, by the names of its modules."""
    return {
        path.name.removesuffix(PYC_TAIL): path for path in folder.rglob(f"*{PYC_TAIL}")
    }


def test_each_worker_rewrites_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    """Together all of it; whoever is no worker, or keeps no bytecode, nothing."""
    source = tmp_path / "suite"
    (source / "deep").mkdir(parents=True)
    for name in ("test_a", "test_b", "deep/test_c", "helper"):
        (source / f"{name}.py").write_text("def test():\n    assert 1 + 1 == 2\n")
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "kept"))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)

    def share(**more: Any) -> dict[str, Path]:
        arguments = [
            str(source / "deep" / "test_c.py::test"),
            str(source),
            "no/such/place",
        ]
        config: Any = SimpleNamespace(
            args=arguments,
            stash=pytestconfig.stash,
            getini=pytestconfig.getini,
            **more,
        )
        share_rewriting(config)
        return kept(tmp_path / "kept")

    assert share() == {}
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert share(workerinput={"workerid": "gw0", "workercount": 2}) == {}
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    some = share(workerinput={"workerid": "gw0", "workercount": 2})
    assert some.keys() == {"test_c", "test_b"}
    everything = share(workerinput={"workerid": "gw1", "workercount": 2})
    assert everything.keys() == {"test_a", "test_b", "test_c"}
    code = _read_pyc(source / "test_a.py", everything["test_a"])
    assert code is not None
    assert "@pytest_ar" in code.co_names
