"""What the scripts of Python's frameworks share: four turns with each model.

    python SCRIPT.py URL KEY DIALECT MODEL…

A turn that fails is printed with its error, so that one does not hide the others.
"""

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any, Protocol

URL, KEY, DIALECT = sys.argv[1:4]
MODELS = sys.argv[4:]

HELLO = "say hello"
WEATHER = "weather everywhere, get_weather"
RESULT = "sunny, 21 degrees"
LIMIT = 64

Told = dict[str, Any]


class Client(Protocol):
    """One framework's way to chat."""

    def ask(self, model: str) -> Told:
        """Have a whole answer."""

    def stream(self, model: str) -> Told:
        """Have an answer in pieces."""

    def tools(self, model: str, *, streamed: bool) -> Told:
        """Have tools called, and an answer to their results."""


def run(client: Client) -> None:
    """Run all turns and print what they gave."""
    turns: dict[str, Callable[[str], Told]] = {
        "text": client.ask,
        "stream": client.stream,
        "tools": lambda model: client.tools(model, streamed=False),
        "streamed-tools": lambda model: client.tools(model, streamed=True),
    }
    told: dict[str, dict[str, Told]] = {}
    for model in MODELS:
        told[model] = {}
        for name, turn in turns.items():
            try:
                told[model][name] = turn(model)
            except Exception:  # noqa: BLE001  # whatever it is, the test shows it
                told[model][name] = {"error": traceback.format_exc()[-2000:]}
    print(json.dumps(told))
