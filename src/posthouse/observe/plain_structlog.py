"""structlog without rich, which it imports if it can, to paint tracebacks.

Ours are written otherwise, and a server would pay for it at every start: a
tenth of its imports, and 4 MiB.
"""

import sys

_HIDDEN = "rich" not in sys.modules
if _HIDDEN:
    # What is None here cannot be imported: so Python's reference has it.
    sys.modules["rich"] = None  # type: ignore[assignment]
try:
    import structlog
    from structlog.types import EventDict, Processor
finally:
    if _HIDDEN:
        del sys.modules["rich"]

__all__ = ["EventDict", "Processor", "structlog"]
