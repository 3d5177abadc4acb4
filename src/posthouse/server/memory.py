"""Memory that is done with goes back to the system.

glibc would keep it: once a large block has been freed it serves the next ones,
up to 32 MiB, from the heap, where a small block behind them pins their place;
and what is free inside the heap stays there. Threads that allocate would each get a
heap of their own, and none uses what is free in another's. Where the C library is
another, these functions do nothing.
"""

import ctypes
import gc
from contextlib import suppress

_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_OWN_MAPPING_FROM = 1024 * 1024
"""Bytes from which a block is always mapped by itself."""


def share_one_heap() -> None:
    """Have threads that are started from now on allocate where the others do.

    They wait for each other's allocations, but the interpreter runs one at a time
    anyhow.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def return_large_blocks() -> None:
    """Give large blocks back as soon as they are freed, from now on."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _OWN_MAPPING_FROM)


def return_free_memory() -> None:
    """Give back what is free now, after something large has been done."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
