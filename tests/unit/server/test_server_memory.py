"""What is done about the C library's keeping of memory."""

import platform
import subprocess
import sys

import pytest

IN_A_THREAD = """
import re, threading
from pathlib import Path
from posthouse.server.memory import share_one_heap
{before}
kept = []
thread = threading.Thread(
    target=lambda: kept.extend(b"x" * 100_000 for _ in range(100))
)
thread.start()
thread.join()
maps = Path("/proc/self/smaps").read_text()
print(re.search(r"\\[heap\\].*?Rss: +(\\d+)", maps, re.DOTALL)[1])
"""


def heap_kib(before: str) -> int:
    """How large the heap is of a process whose thread has allocated 10 MB."""
    code = IN_A_THREAD.format(before=before)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="it is glibc that has many heaps"
)
def test_threads_share_one_heap():
    """What a thread allocates comes from the heap that the others use."""
    assert heap_kib("share_one_heap()") - heap_kib("") > 8_000
