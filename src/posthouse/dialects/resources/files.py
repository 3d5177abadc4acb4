"""Files of a provider's own: what they must be for, and what an upload is answered."""

from posthouse.wire import json
from posthouse.wire.json import MalformedJSON

_USUAL = "assistants"
_DEMANDED = {
    "batches": ("batch",),
    "evals": ("evals",),
    "fine_tuning": ("fine-tune",),
    "threads": ("assistants", "vision", "user_data"),
}
"""By the beginning of a path: purposes of the files that it may name."""
_OTHERS = ("assistants", "user_data")
"""Those of vector stores, containers and what comes next."""


def purpose_at(first: str, purpose: str, media_type: str) -> str:
    """Give the purpose that a file must have where it is to be named.

    Args:
        first: the first word of the path that names it.
        purpose: the one that its owner has given it; it stays if it may.
        media_type: the file's.
    """
    allowed = _DEMANDED.get(first, _OTHERS)
    if purpose in allowed:
        return purpose
    if "vision" in allowed and media_type.startswith("image/"):
        return "vision"
    return _USUAL if _USUAL in allowed else allowed[0]


def made_file(body: bytes) -> str | None:
    """Give the id of the file that an upload's answer tells of; None: none."""
    try:
        made = json.decode_leniently(body)
    except MalformedJSON:
        return None
    name = made.get("id") if isinstance(made, dict) else None
    return name if isinstance(name, str) and name.isprintable() and name else None
