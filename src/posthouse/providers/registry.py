"""Finds the providers that answer inside the process, by looking, not by name.

A package in this folder that offers `play` answers requests to origins of the
scheme `sandbox`, whose host names the package's place; it is imported when the
first such request is made.
"""

import pkgutil
from collections.abc import Callable
from functools import cache
from importlib import import_module

from posthouse import providers
from posthouse.model.exchange import Script, UpstreamRequest

Play = Callable[[UpstreamRequest], Script]


@cache
def _find() -> Play:
    for module in pkgutil.iter_modules(providers.__path__):
        if module.ispkg:
            found = import_module(f"{providers.__name__}.{module.name}")
            if hasattr(found, "play"):
                play: Play = found.play
                return play
    raise LookupError("no provider answers inside the process")


def play(request: UpstreamRequest) -> Script:
    """Answer a request as the provider inside the process does."""
    return _find()(request)
