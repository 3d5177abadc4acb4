"""Options that several commands share."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import App, Parameter
from cyclopts.validators import Number

T = TypeVar("T")

PLAIN = Parameter(negative_bool=(), negative_iterable=())
"""No option has a second name that undoes it."""

Data = Annotated[Path | None, Parameter(help="Data folder; default ./data.")]
AsJSON = Annotated[bool, Parameter("--json", show_default=False, help="Print JSON.")]
Limit = Annotated[
    int,
    Parameter(validator=Number(gte=1, lte=1_000_000), help="How many at most."),
]
Config = Annotated[Path | None, Parameter(help="Configuration file.")]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work to its end."""
    return asyncio.run(work)


def command(function: Callable[..., None]) -> App:
    """Make a command of a function.

    The list of commands has its summary; the rest of its docstring is shown
    below its options.
    """
    _, _, rest = (inspect.getdoc(function) or "").partition("\n\n")
    app = App(name=function.__name__, help_epilogue=rest or None)
    app.default(function)
    return app
