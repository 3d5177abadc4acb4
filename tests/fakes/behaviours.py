"""Behaviours by name, for the command line and for tests that cross processes."""

from tests.fakes import openai
from tests.fakes.faults import FAULTS
from tests.fakes.steps import Behave, Behaviour, Request


def provider(request: Request) -> Behaviour:
    """Answer like a provider, unless the model is a behaviour's name."""
    model = request.json.get("model")
    named = BEHAVIOURS.get(model) if isinstance(model, str) else None
    if named is None or named is provider:
        return openai.answer(request)
    return named(request)


def _paced(interval: float) -> Behave:
    """A provider whose streams take `interval` seconds per chunk."""

    def behave(request: Request) -> Behaviour:
        if request.target.endswith("/chat/completions"):
            return openai.chat(request, interval=interval)
        return openai.answer(request)

    return behave


BEHAVIOURS: dict[str, Behave] = {
    "openai": provider,
    "paced-1ms": _paced(0.001),
    "paced-10ms": _paced(0.01),
    "paced-100ms": _paced(0.1),
    "paced-1s": _paced(1.0),
    **{fault.name: fault.behave for fault in FAULTS if fault.behave is not None},
}
