"""Finds the providers that answer inside the process, by looking, not by name.

A package in this folder that offers `play` answers requests to origins of the
scheme `sandbox`, whose host names the package's place, and with `talk` those that
ask for a WebSocket; it is imported when the first such request is made.
"""

import pkgutil
from functools import cache
from importlib import import_module
from types import ModuleType

from posthouse import providers
from posthouse.model.exchange import Script, UpstreamRequest
from posthouse.model.sockets import Talker


@cache
def _find() -> ModuleType:
    for module in pkgutil.iter_modules(providers.__path__):
        if module.ispkg:
            found = import_module(f"{providers.__name__}.{module.name}")
            if hasattr(found, "play"):
                return found
    raise LookupError("no provider answers inside the process")


def play(request: UpstreamRequest) -> Script:
    """Answer a request as the provider inside the process does."""
    script: Script = _find().play(request)
    return script


def talk(request: UpstreamRequest) -> Talker:
    """Answer a wish for a WebSocket so; raises HandshakeRefused."""
    talker: Talker = _find().talk(request)
    return talker
