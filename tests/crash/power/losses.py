"""Power losses under load: what a client was told of is there afterwards.

    python -m tests.crash.power.losses [--losses 200] [--seed 1]

A gateway serves callers until it is killed at a random instant. The next one finds
what was synced by then and nothing else (see `synced.c`), and goes on from there.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from msgspec import Struct
from tests.crash.power.image import make_image
from tests.faults.channels import channel
from tests.faults.station import KEY, KEYS
from tests.support import raw
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

SOURCE = Path(__file__).with_name("synced.c")
CALLERS = 4
SHORTEST, LONGEST = 0.3, 1.5
"""Seconds between the first call and the loss."""
DONE = b"data: [DONE]\n\n"


class Report(Struct):
    """What came of it."""

    losses: int = 0
    told: int = 0
    """Calls whose clients were told of their end."""
    lost: list[str] = []
    """Those of them that have no settlement."""


def has_compiler() -> bool:
    """Whether the library can be made."""
    return shutil.which("cc") is not None


def make_library(folder: Path) -> Path:
    """Compile what keeps what was synced."""
    library = folder / "synced.so"
    command: list[str | Path] = [
        "cc",
        "-O1",
        "-shared",
        "-fPIC",
        "-o",
        library,
        SOURCE,
        "-ldl",
    ]
    subprocess.run(command, check=True)
    return library


class _Load:
    """Callers that go on until their gateway is gone."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.told: list[str] = []
        self._threads = [
            threading.Thread(target=self._call, args=(stream,))
            for stream in (True, False) * (CALLERS // 2)
        ]
        for thread in self._threads:
            thread.start()

    def _call(self, stream: bool) -> None:
        messages = [{"role": "user", "content": "Will the light go out?"}]
        value = {"model": "m", "messages": messages, "stream": stream}
        body, headers = (
            json.dumps(value).encode(),
            (("Authorization", f"Bearer {KEY}"),),
        )
        while True:
            try:
                reply = raw.send(
                    self._url, "/v1/chat/completions", body, headers=headers
                )
            except (OSError, ValueError, IndexError):
                return
            ended = DONE in reply.body if stream else reply.complete
            if reply.status == 200 and ended and reply.body:
                self.told.append(str(reply.header("x-request-id")))

    def join(self) -> None:
        """Wait until all have noticed."""
        for thread in self._threads:
            thread.join()


class Campaign:
    """Losses one after the other, each on what the one before has left."""

    def __init__(self, folder: Path, durability: str, seed: int) -> None:
        """Prepare; `durability` is the setting."""
        self._folder = folder
        self._durability = durability
        self._chance = random.Random(seed)
        self._library = make_library(folder)
        self._data: Path | None = None
        self.report = Report()

    def lose(self, origin: str) -> None:
        """Serve, lose the power, look what is there."""
        number = self.report.losses = self.report.losses + 1
        place = self._folder / f"{number:03}"
        kept = place / "kept"
        kept.mkdir(parents=True)
        if self._data is not None:
            self._data.rename(place / "data")
            self._sync_all(place / "data", kept)
        else:
            (place / "data").mkdir()
        environment = {
            "LD_PRELOAD": str(self._library),
            "SYNCED_FROM": str(place / "data"),
            "SYNCED_TO": str(kept),
            "POSTHOUSE_DURABILITY": self._durability,
            "POSTHOUSE_JOURNAL_SEGMENT_BYTES": "65536",
        }
        text = KEYS.replace('"1000"', '"100000"') + channel("a", origin)
        gateway = Posthouse(place, text, environment)
        gateway.__enter__()
        load = _Load(gateway.url)
        time.sleep(self._chance.uniform(SHORTEST, LONGEST))
        gateway.process.kill()
        gateway.process.wait()
        load.join()
        self._data = place / "image"
        make_image(kept, self._data)
        self._look(place, text, load.told)

    def _look(self, place: Path, text: str, told: list[str]) -> None:
        """Start once more, and look whether every call that was told of is there."""
        after = place / "after"
        after.mkdir()
        assert self._data is not None
        self._data.rename(after / "data")
        with Posthouse(after, text) as gateway:
            found: list[dict[str, Any]] = gateway.ask("calls", "--limit", "100000")
            served = {record["id"] for record in found if record["outcome"] == "served"}
        self._data = after / "data"
        self.report.told += len(told)
        self.report.lost += [name for name in told if name not in served]

    def _sync_all(self, data: Path, kept: Path) -> None:
        """What was there before the start was kept by the disk."""
        code = (
            "import os, sys\n"
            "for folder, _, files in os.walk(sys.argv[1]):\n"
            "    for name in [*files, '.']:\n"
            "        place = os.open(os.path.join(folder, name), os.O_RDONLY)\n"
            "        os.fsync(place)\n"
        )
        environment = {
            "LD_PRELOAD": str(self._library),
            "SYNCED_FROM": str(data),
            "SYNCED_TO": str(kept),
        }
        subprocess.run([sys.executable, "-c", code, data], env=environment, check=True)


def run(folder: Path, losses: int, durability: str = "power", seed: int = 1) -> Report:
    """Lose the power so often."""
    with ThreadedFake() as provider:
        campaign = Campaign(folder, durability, seed)
        for _ in range(losses):
            campaign.lose(provider.origin)
    return campaign.report


def main() -> int:
    """Run it; 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.power.losses")
    parser.add_argument("--losses", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="posthouse-power-") as folder:
        report = run(Path(folder), given.losses, seed=given.seed)
    print(
        f"{report.losses} power losses, {report.told} calls told of, "
        f"{len(report.lost)} lost {report.lost[:5]}"
    )
    return int(bool(report.lost))


if __name__ == "__main__":
    sys.exit(main())
