"""What a command does not need is not imported: start-up is what people wait for."""

import gc
import subprocess
import sys

import pytest

from posthouse.cli import main

SERVE_NEVER = {
    "openai",
    "alembic",
    "aiohttp",
    "tiktoken",
    "PIL",
    "numpy",
    "httpx",
    "pydantic",
    "sqlalchemy.orm",
    "sqlalchemy.dialects.postgresql",
}
HELP_NEVER = SERVE_NEVER | {
    "sqlalchemy",
    "structlog",
    "uvicorn",
    "uvloop",
    "cryptography",
    "prometheus_client",
    "posthouse.app",
}
SHOW_MODULES = "import sys; print(*sys.modules)"


def modules_after(statement: str) -> set[str]:
    """Give what a fresh interpreter has imported after a statement."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{SHOW_MODULES}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_and_version_import_no_command() -> None:
    """They come at once."""
    help_text = "from posthouse.cli import make_app; make_app().help_print([])"
    assert not modules_after(help_text) & HELP_NEVER


def test_serve_imports_nothing_that_it_may_not_need() -> None:
    """Migrations, proxies, tokenizers and the demo's SDK wait until they are used.

    So do the other kind of database, and what SQLAlchemy has for objects.
    What draws help and tables does not come with the logs.
    """
    assert not modules_after("import posthouse.cli.serve") & (SERVE_NEVER | {"rich"})


def test_garbage_is_looked_for_once_a_command_is_imported() -> None:
    """Also by one that was asked for wrongly."""
    was = gc.isenabled()
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--nothing-of-that-name"])
    assert ended.value.code == 2
    assert (was, gc.isenabled()) == (True, True)
