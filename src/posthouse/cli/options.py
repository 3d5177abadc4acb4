"""Options that several commands share."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter
from cyclopts.validators import Number

T = TypeVar("T")

Data = Annotated[Path | None, Parameter(help="Data folder; default ./data.")]
AsJSON = Annotated[bool, Parameter("--json", negative="", help="Print JSON.")]
Limit = Annotated[
    int,
    Parameter(validator=Number(gte=1, lte=1_000_000), help="How many at most."),
]
Config = Annotated[Path | None, Parameter(help="Configuration file.")]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work to its end."""
    return asyncio.run(work)
