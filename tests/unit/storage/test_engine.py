"""The engine comes without the mapper, and the mapper to whoever asks for it."""

import subprocess
import sys

import pytest

NAMES = """
import sys
from posthouse.storage.engine import AsyncConnection
before = "sqlalchemy.orm" in sys.modules
{ask}
print(before, "sqlalchemy.orm" in sys.modules, same is AsyncConnection)
"""


@pytest.mark.parametrize(
    "ask",
    [
        "from sqlalchemy.ext.asyncio import AsyncSession, AsyncConnection as same",
        "import sqlalchemy.ext.asyncio as it; it.session; same = it.AsyncConnection",
        "import sqlalchemy; same = sqlalchemy.ext.asyncio.AsyncConnection",
        "import sqlalchemy.ext.asyncio.session as s; same = s.engine.AsyncConnection",
    ],
)
def test_the_mapper_comes_to_who_asks_for_it(ask):
    """By whichever way; and what was there before is the same."""
    done = subprocess.run(
        [sys.executable, "-c", NAMES.format(ask=ask)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "True", "True"]


def test_a_package_that_has_run_stays():
    """Who has imported it before has the same engine."""
    code = (
        "import sqlalchemy.ext.asyncio as package\n"
        "from posthouse.storage.engine import AsyncEngine\n"
        "assert package.AsyncEngine is AsyncEngine\n"
        "assert type(package).__name__ == 'module'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
