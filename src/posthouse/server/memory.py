"""Memory of large bodies goes back to the system as soon as they are done with.

glibc would keep it: once a large block has been freed it serves the next ones,
up to 32 MiB, from the heap, where a small block behind them pins their place.
"""

import ctypes
from contextlib import suppress

_M_MMAP_THRESHOLD = -3
_OWN_MAPPING_FROM = 1024 * 1024
"""Bytes from which a block is always mapped by itself."""


def return_large_blocks() -> None:
    """Set it for this process; where the C library is another, do nothing."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _OWN_MAPPING_FROM)
