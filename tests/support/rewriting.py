"""The workers of one run share the rewriting of its tests' assertions.

pytest rewrites the assertions of a module when it first imports it, and keeps the
result beside the ordinary bytecode: much work in a tree that was never tested. All
of `-n`'s workers import all modules in the same order, so each would do all of it.
Before that, therefore, each rewrites a part of them. A part that is not there in
time is rewritten by whoever imports it, as ever: nobody waits for anybody.
"""

import sys
from pathlib import Path

import pytest
from _pytest.assertion import rewrite


def share_rewriting(config: pytest.Config) -> None:
    """Rewrite this worker's part of what it is about to collect."""
    worker: dict[str, str] = getattr(config, "workerinput", {})
    if not worker or sys.dont_write_bytecode:
        return
    mine = int(worker["workerid"].removeprefix("gw"))
    state = config.stash[rewrite.assertstate_key]
    for source in found(config.args)[mine :: int(worker["workercount"])]:
        folder = rewrite.get_cache_dir(source)
        kept = folder / f"{source.stem}{rewrite.PYC_TAIL}"
        if rewrite._read_pyc(source, kept) is None:
            folder.mkdir(parents=True, exist_ok=True)
            digest, code = rewrite._rewrite_test(source, config)
            rewrite._write_pyc(state, code, digest, kept)


def found(arguments: list[str]) -> list[Path]:
    """The modules of tests below what pytest was called with."""
    modules: set[Path] = set()
    for argument in arguments:
        place = Path(argument.partition("::")[0]).absolute()
        if place.is_dir():
            modules.update(place.rglob("test_*.py"))
        elif place.is_file() and place.suffix == ".py":
            modules.add(place)
    return sorted(modules)
