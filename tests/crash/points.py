"""The kill points, found in the program's source, so that none is forgotten."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import posthouse

SOURCE = Path(posthouse.__file__).parent
MOMENTS = ("before", "after")
"""What a name's one variable part may be."""

APPLYING = frozenset({"apply.before_commit", "apply.after_commit"})
"""Reached while the configuration file is applied, with the credits in it."""
AT_THE_START = APPLYING | {
    "journal.after_creation",
    "journal.mid_creation",
    "journal.registered",
    "recovery.after_commit",
    "recovery.after_replay",
    "recovery.before_commit",
    "recovery.before_rmdir",
    "recovery.mid_removal",
}
"""Reached before anything is served, most of them while the dead are recovered."""
AT_THE_END = frozenset({"close.after_drain", "close.after_commit"})
"""Reached after SIGTERM."""

ARRIVALS = {
    "after_terminal": 100,
    "after_usage": 100,
    "before_dispatch": 150,
    "before_first_content": 100,
    "before_retry": 9,
    "before_terminal": 100,
    "client_gone": 6,
    "draw.before_commit": 12,
    "draw.after_commit": 15,
    "drain.before_commit": 5,
    "drain.after_commit": 6,
    "hold.after_answering_record": 120,
    "hold.after_open_record": 140,
    "hold.after_progress_record": 8,
    "journal.after_rotation": 2,
    "journal.after_seal": 3,
    "journal.before_rotation": 2,
    "journal.mid_segment": 6,
    "journal.mid_record": 320,
    "mid_stream": 9,
    "return.after_commit": 1,
    "return.before_commit": 1,
    "settle.after_record": 110,
    "settle.before_record": 120,
    "void.after_record": 12,
    "void.before_record": 11,
}
"""At which arrival to kill, so that much is under way by then."""
DEFAULT_ARRIVALS = 3
FIRST_ARRIVAL = frozenset({"journal.after_carry", "journal.before_reclaim"})


LEFT_OUT = frozenset(
    {
        "after_terminal",
        "after_usage",
        "apply.before_commit",
        "before_retry",
        "client_gone",
        "close.after_drain",
        "draw.before_commit",
        "journal.after_creation",
        "journal.before_reclaim",
        "journal.before_rotation",
        "journal.mid_segment",
        "journal.registered",
        "recovery.after_replay",
        "recovery.before_rmdir",
        "recovery.mid_removal",
        "return.before_commit",
        "void.before_record",
    }
)
"""Whose neighbours the suite kills at under load: here it has `make crash`, and
for those of money the kills of one process without load."""


OF_BATCHES = "batch."
"""How the names begin of instants that only batches at providers reach."""


def discovered() -> tuple[str, ...]:
    """The names of all instants at which whoever serves calls may be killed."""
    return tuple(name for name in everywhere() if not name.startswith(OF_BATCHES))


@cache
def everywhere() -> tuple[str, ...]:
    """The names of all instants at which the program may be killed."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "reach(" in text else ():
            if isinstance(node, ast.Call) and _name(node.func) == "reach":
                found.update(_names(node.args[0]))
    return tuple(sorted(found))


def armed(point: str) -> str:
    """What arms the gateway to die at a point."""
    if point in AT_THE_START | AT_THE_END | FIRST_ARRIVAL:
        return point
    return f"{point}:{ARRIVALS.get(point, DEFAULT_ARRIVALS)}"


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _names(argument: ast.expr) -> Iterator[str]:
    """The strings that an argument may be; fails where that cannot be told."""
    if isinstance(argument, ast.Constant):
        yield str(argument.value)
        return
    if isinstance(argument, ast.IfExp):
        yield from _names(argument.body)
        yield from _names(argument.orelse)
        return
    assert isinstance(argument, ast.JoinedStr), ast.unparse(argument)
    for moment in MOMENTS:
        yield "".join(
            str(part.value) if isinstance(part, ast.Constant) else moment
            for part in argument.values
        )
