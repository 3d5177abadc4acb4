"""Who looks after workers: replaced when they die, given up when they cannot begin."""

import os
import signal
import subprocess
import sys
import time

import psutil

PROGRAM = """
import os, signal, sys, time
from posthouse.server import supervisor
from posthouse.server.supervisor import Supervisor

supervisor.FIRST_DELAY = supervisor.LONGEST_DELAY = 0.01
say = lambda *words: os.write(1, (" ".join(map(str, words)) + "\\n").encode())
mode = sys.argv[1]
forks = [1]

def stop_the_second():
    if mode == "early" and len(forks) == 2:
        os.kill(os.getpid(), signal.SIGTERM)

os.register_at_fork(
    after_in_parent=lambda: forks.append(1), after_in_child=stop_the_second
)

def work(post):
    if mode == "slow":
        say("begins", post.slot)
        signal.pause()
    if mode == "unable":
        raise SystemExit(3)
    if mode == "faulty":
        raise ValueError("a fault of ours")
    signal.signal(signal.SIGHUP, lambda *_: say("followed", post.slot))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    post.tell_ready()
    if mode == "mortal" and post.slot == 0 and not os.path.exists(sys.argv[2]):
        open(sys.argv[2], "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    while True:
        signal.pause()

def reload():
    say("reload")
    return mode != "refused"

ended = Supervisor(work, 2, started=lambda: say("started"), reload=reload).run()
say("ended", ended)
"""


class Program:
    """A supervisor in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def until(self, word: str) -> list[str]:
        lines = [self.line()]
        while word not in lines[-1]:
            assert lines[-1] or self.process.poll() is None, lines
            lines.append(self.line())
        return lines

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def children(self) -> list[int]:
        """The workers that are there."""
        found = psutil.Process(self.process.pid).children()
        return [child.pid for child in found if child.status() != "zombie"]

    def end(self) -> str:
        """Read to its last line."""
        with self.process:
            return self.until("ended")[-1]


def test_all_serve_then_all_end():
    """Told once when all serve; SIGTERM reaches each."""
    program = Program("steady")
    program.until("started")
    program.signal(signal.SIGTERM)
    assert program.end() == "ended True"
    assert program.process.wait(10) == 0


def test_the_dead_are_replaced(tmp_path):
    """A worker that was killed has a successor in its place."""
    program = Program("mortal", str(tmp_path / "died"))
    program.until("a worker died")
    while len(program.children()) != 2:
        time.sleep(0.02)
    program.signal(signal.SIGTERM)
    assert program.end() == "ended True"


def test_who_is_stopped_before_it_serves_has_not_failed():
    """It has no handlers yet: the signal is its end, and an end as good as any."""
    program = Program("slow")
    assert {program.line(), program.line()} == {"begins 0", "begins 1"}
    program.signal(signal.SIGTERM)
    assert program.end() == "ended True"


def test_a_signal_to_who_was_just_forked_is_not_lost():
    """Nor taken for one to the supervisor, whose handlers it still has."""
    program = Program("early")
    program.until("a worker died")
    program.until("started")
    program.signal(signal.SIGTERM)
    assert program.end() == "ended True"


def test_those_that_cannot_begin_end_it_all():
    """Time after time the same end: an operator must look."""
    for mode in ("unable", "faulty"):
        program = Program(mode)
        assert any("cannot begin" in line for line in program.until("cannot begin"))
        assert program.end() == "ended False"


def test_workers_follow_a_configuration_that_was_taken():
    """SIGHUP is theirs only then."""
    program = Program("steady")
    program.until("started")
    program.signal(signal.SIGHUP)
    found = {program.line() for _ in range(3)}
    assert found == {"reload", "followed 0", "followed 1"}
    program.signal(signal.SIGTERM)
    program.end()
    program = Program("refused")
    program.until("started")
    program.signal(signal.SIGHUP)
    program.until("reload")
    time.sleep(0.2)
    program.signal(signal.SIGTERM)
    with program.process:
        assert program.until("ended") == ["ended True"]


def test_a_new_process_group_keeps_a_terminals_signal_away():
    """Ctrl-C is for the supervisor alone, who passes it on."""
    program = Program("steady")
    program.until("started")
    children = program.children()
    assert len(children) == 2
    assert os.getpgid(program.process.pid) not in map(os.getpgid, children)
    program.signal(signal.SIGINT)
    program.end()
