"""SQLAlchemy's asynchronous engine, without its mapper of objects.

The engine stands in a package that imports the mapper, too, which nothing here
uses: 8 MiB and a tenth of a second at every start. So the package is there
without having run, and runs in its place as soon as somebody asks it for what
it does not have yet.
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any, cast

from sqlalchemy import ext
from typing_extensions import override

_PACKAGE = "sqlalchemy.ext.asyncio"


class _Waiting(ModuleType):
    """A module that runs when it is asked for what it lacks."""

    @override
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            # What the interpreter looks for in every module.
            raise AttributeError(name)
        package: ModuleType = self
        package.__class__ = ModuleType
        _run(cast("ModuleSpec", package.__spec__), package)
        return getattr(package, name)


def _run(spec: ModuleSpec, module: ModuleType) -> None:
    if spec.loader is not None:
        spec.loader.exec_module(module)


_waits = None
if _PACKAGE not in sys.modules:
    _spec = cast("ModuleSpec", find_spec(_PACKAGE))
    _waits = sys.modules[_PACKAGE] = module_from_spec(_spec)
    ext.asyncio = _waits  # as an import would

from sqlalchemy.ext.asyncio.engine import (  # noqa: E402 - see above
    AsyncConnection,
    AsyncEngine,
    create_async_engine,
)

if _waits is not None:
    # Only now: the engine looks for its neighbours here.
    _waits.__class__ = _Waiting

__all__ = ["AsyncConnection", "AsyncEngine", "create_async_engine"]
