"""`make fuzz`: streams and bodies that nobody would write, for as long as wanted.

Every case has a number and is always the same, so that a failure can be looked
at again: `--first N --cases 1`. The first failures of each kind are printed, and
the exit status is 1 if there were any.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.integration import test_bad_input_fuzz as bodies
from tests.security.smuggling import Judge, Stream
from tests.support.fake import ThreadedFake
from tests.support.guard import CONFIGURATION, KEY, SHORT, Guarded, modest
from tests.support.posthouse import Posthouse

SHOWN = 3
"""Failures of a kind that are printed."""
BODIES_EVERY = 10
"""One case of so many damages a body instead of a stream."""
REPORT_SECONDS = 60.0


def try_body(guarded: Guarded, number: int) -> str:
    """Send a damaged body; give the reply's status."""
    source = random.Random(number)
    target = source.choice(list(bodies.RICH))
    body = bodies.mutant(source, bodies.RICH[target])
    guarded.fake.everything.clear()
    reply = guarded.post(target, body)
    bodies.judge(guarded, body, 0, reply)
    guarded.fake.everything.clear()
    return f"body {reply.status}"


def fuzz(guarded: Guarded, first: int, cases: int, until: float) -> Counter[str]:
    """Try cases until there are enough or it is late; count what came of them."""
    judge = Judge(guarded)
    outcomes: Counter[str] = Counter()
    reported = time.monotonic()
    for number in range(first, first + cases):
        if time.monotonic() > until:
            break
        try:
            if number % BODIES_EVERY:
                end, seen = judge.try_stream(Stream(number, KEY))
                outcome = f"stream {end.value}, {seen} seen"
            else:
                outcome = try_body(guarded, number)
        except (AssertionError, OSError) as failure:
            outcome = f"FAILED {type(failure).__name__}"
            if outcomes[outcome] < SHOWN:
                print(f"\ncase {number}: {failure}\n", flush=True)
        outcomes[outcome] += 1
        if time.monotonic() - reported > REPORT_SECONDS:
            reported = time.monotonic()
            print(f"{number - first + 1} cases, memory {guarded.memory() >> 20} MiB")
    return outcomes


def main() -> int:
    """Start a server and try it; give the exit status."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--cases", type=int, default=sys.maxsize // 2)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ThreadedFake(modest) as fake:
        text = CONFIGURATION.format(origin=fake.origin, key=KEY)
        with Posthouse(Path(folder), text, SHORT) as posthouse:
            guarded = Guarded(posthouse, fake, KEY)
            until = time.monotonic() + 60 * options.minutes
            outcomes = fuzz(guarded, options.first, options.cases, until)
            assert guarded.state().holds == 0
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:>9,} {outcome}")
    return int(any(outcome.startswith("FAILED") for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
