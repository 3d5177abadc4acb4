"""Guessing keys: slow, told nothing, and cheap for the server.

The server of these tests stands behind a trusted proxy, the test itself, so
each of a thousand callers can have an address of its own.
"""

import os
import re
import socket
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.conftest import StartPosthouse
from tests.support.fake import ThreadedFake
from tests.support.guard import BODIES, KEY, MEBIBYTE, Guarded, error_of
from tests.support.raw import RawReply

INJECTED = Path(__file__).parent / "injected"
ALLOWED_FAILURES = 20
CHAT = "/v1/chat/completions"
EXPIRED = "sk-expired-0123456789abcdefghijklmnopqrstuvwxyz"
REMOVED = "sk-removed-0123456789abcdefghijklmnopqrstuvwxyz"
CONFIGURATION = f"""
[[channels]]
name = "sandbox"
provider = "sandbox"

[[keys]]
name = "good"
key = "{KEY}"

[[keys]]
name = "expired"
key = "{EXPIRED}"
expires = 2020-01-01T00:00:00Z

[server]
trusted_proxies = ["127.0.0.1/32"]
"""
REMOVED_KEY = f'[[keys]]\nname = "removed"\nkey = "{REMOVED}"\n'


class Door(Guarded):
    """A server whose look-ups in the database are counted."""

    look_ups: Path

    def try_key(self, key: str, address: str, *more: str) -> RawReply:
        """Present a key from an address; `more` was claimed before it."""
        chain = ", ".join([*more, address])
        header = b"X-Forwarded-For: " + chain.encode()
        return self.get("/v1/models", header, key=key)

    def looked_up(self) -> list[str]:
        """The digests that were looked up, in order."""
        return self.look_ups.read_text().split() if self.look_ups.exists() else []


@pytest.fixture(scope="module")
def door(
    start_posthouse: StartPosthouse, tmp_path_factory: pytest.TempPathFactory
) -> Door:
    """A server behind a proxy."""
    look_ups = tmp_path_factory.mktemp("door") / "look-ups"
    environment = {
        "PYTHONPATH": f"{INJECTED}:{os.environ.get('PYTHONPATH', '')}",
        "INJECT_LOOK_UPS": str(look_ups),
    }
    posthouse = start_posthouse(CONFIGURATION + REMOVED_KEY, environment)
    door = Door(posthouse, ThreadedFake(), KEY)
    door.look_ups = look_ups
    return door


def test_twenty_failures_and_then_a_wait(door: Door) -> None:
    """The twenty-first is told to wait, and so is whoever knocks in the same second."""
    for number in range(ALLOWED_FAILURES):
        assert door.try_key(f"sk-guess-{number}", "198.51.100.1").status == 401
    before = len(door.looked_up())
    for key in ("sk-guess-1", "sk-guess-21", "sk-guess-1"):
        reply = door.try_key(key, "198.51.100.1")
        assert reply.status == 429
        assert error_of(reply)["code"] == "rate_limit_exceeded"
        assert 1 <= int(reply.header("retry-after") or 0) <= 60
    assert len(door.looked_up()) <= before + 1


def test_a_guesser_keeps_nobody_out_for_long(door: Door) -> None:
    """A good key that the server has not seen gets in from the same address."""
    for number in range(ALLOWED_FAILURES * 2):
        door.try_key(f"sk-crowd-{number}", "198.51.100.7")
    fresh = str(door.posthouse.ask("key", "create", "fresh")["key"])
    deadline = time.monotonic() + 10
    while door.try_key(fresh, "198.51.100.7").status != 200:
        assert time.monotonic() < deadline
        time.sleep(1.1)
    assert door.try_key("sk-crowd", "198.51.100.7").status == 429


def test_guesses_at_once_are_no_more_than_guesses_in_turn(door: Door) -> None:
    """Three hundred keys over thirty connections: twenty are judged."""
    before = len(door.looked_up())
    address = b"X-Forwarded-For: 198.51.100.8"

    def guess(number: int) -> int:
        heads = [
            door.head("GET", "/v1/models", address, key=f"sk-at-once-{number}-{n}")
            for n in range(10)
        ]
        data = b"".join(heads[:-1]).replace(b"Connection: close\r\n", b"") + heads[-1]
        return door.talk(data).count(b"HTTP/1.1 401 ")

    with ThreadPoolExecutor(30) as pool:
        judged = sum(pool.map(guess, range(30)))
    assert judged == ALLOWED_FAILURES
    # One more for each second that it took.
    assert len(door.looked_up()) - before <= ALLOWED_FAILURES + 10


def test_who_is_known_does_not_wait_for_a_guesser_beside_him(door: Door) -> None:
    """One office has one address."""
    assert door.try_key(KEY, "198.51.100.3").status == 200
    for number in range(ALLOWED_FAILURES + 5):
        door.try_key(f"sk-beside-{number}", "198.51.100.3")
    assert door.try_key("sk-beside", "198.51.100.3").status == 429
    assert door.try_key(KEY, "198.51.100.3").status == 200


def test_the_address_is_the_one_that_our_proxy_saw(door: Door) -> None:
    """What the caller wrote to the left of it changes nothing."""
    for number in range(ALLOWED_FAILURES):
        claimed = f"203.0.113.{number}"
        assert door.try_key("sk-claims", "198.51.100.4", claimed).status == 401
    assert door.try_key("sk-claims", "198.51.100.4", "203.0.113.99").status == 429
    assert door.try_key("sk-claims", "203.0.113.99").status == 401


def test_a_subscriber_has_many_ipv6_addresses_and_is_one(door: Door) -> None:
    """A /64 counts together; the next one does not."""
    for number in range(ALLOWED_FAILURES):
        assert door.try_key("sk-v6", f"2001:db8:1:1::{number:x}").status == 401
    assert door.try_key("sk-v6", "2001:db8:1:1:ffff::1").status == 429
    assert door.try_key("sk-v6", "2001:db8:1:2::1").status == 401
    assert door.try_key("sk-v6", "::ffff:198.51.100.1").status == 429


def test_an_untrusted_peer_names_nobody_else(door: Door) -> None:
    """From another address of this machine the header is not believed."""
    statuses = []
    for number in range(ALLOWED_FAILURES + 1):
        forwarded = b"X-Forwarded-For: 192.0.2.%d" % number
        head = door.head("GET", "/v1/models", forwarded, key="sk-peer")
        with socket.socket() as peer:
            peer.bind(("127.0.0.2", 0))
            peer.connect(door.address)
            peer.sendall(head)
            statuses.append(int(peer.recv(65_536).split()[1]))
    assert statuses == [401] * ALLOWED_FAILURES + [429]


def test_sending_no_key_is_no_guess(door: Door) -> None:
    """A browser that looks at an address blocks nobody."""
    for _ in range(ALLOWED_FAILURES * 3):
        header = b"X-Forwarded-For: 198.51.100.5"
        assert door.get("/v1/models", header, key=None).status == 401
    assert door.try_key("sk-one", "198.51.100.5").status == 401


def test_an_unknown_key_is_looked_up_once(door: Door) -> None:
    """However often it comes, from however many addresses, also at the same time."""
    before = len(door.looked_up())
    for number in range(200):
        assert door.try_key("sk-unknown-key", f"100.64.1.{number}").status == 401
    assert len(door.looked_up()) - before == 1
    for number in range(50):
        for _ in range(2):
            door.try_key(f"sk-unknown-{number}", f"100.64.2.{number}")
    assert len(door.looked_up()) - before == 51


def test_ten_thousand_addresses_cost_no_memory_to_speak_of(door: Door) -> None:
    """The table of failures has a size."""
    line = "GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sk-many"
    before = door.memory()
    for block in range(11):
        requests = [
            f"{line}-{number % 50}\r\nX-Forwarded-For: 10.{block}.{number >> 8}"
            f".{number & 255}\r\n\r\n"
            for number in range(1000)
        ]
        last = door.head("GET", "/", key=None)
        received = door.talk("".join(requests).encode(), last, seconds=20)
        assert received.count(b"HTTP/1.1 401 ") == 1000
    assert door.memory() - before < 16 * MEBIBYTE
    assert door.try_key(KEY, "10.0.0.1").status == 200


BAD_KEYS = {
    "unknown": "sk-" + "0" * 43,
    "almost": KEY[:-1] + "y",
    "other case": KEY.upper(),
    "longer": KEY + "x",
    "shorter": KEY[:-1],
    "expired": EXPIRED,
    "removed": REMOVED,
    "revoked": "",
    "one letter": "x",
    "very long": "sk-" + "x" * 900,
    "longest": "sk-" + "x" * 1100,
    "no shape": "hunter2",
    "of a sandbox": "sk-test-" + "0" * 43,
    "punctuation": "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
}


def test_every_bad_key_is_the_same_error_to_the_byte(door: Door) -> None:
    """Nobody learns whether a key was ever one."""
    made = door.posthouse.ask("key", "create", "short-lived")["key"]
    # 43 letters and digits hold 256 bits.
    assert re.fullmatch(r"sk-[0-9A-Za-z]{43}", made)
    assert door.try_key(made, "100.64.3.1").status == 200
    assert door.try_key(REMOVED, "100.64.3.1").status == 200
    door.posthouse.run("key", "revoke", "short-lived")
    reload_configuration(door, CONFIGURATION)
    eventually_refused(door, made)
    eventually_refused(door, REMOVED)
    replies = set()
    for number, key in enumerate({**BAD_KEYS, "revoked": made}.values()):
        reply = door.try_key(key, f"100.64.4.{number}")
        replies.add(seen(reply))
        body = BODIES[CHAT]
        reply = door.post(CHAT, body, b"X-Forwarded-For: 100.64.5.1", key=key)
        replies.add(seen(reply))
        assert key.encode() not in reply.body
    for header in (b"X: y", b"Authorization: Bearer", b"Authorization: Basic eDp5"):
        replies.add(seen(door.get("/v1/models", header, key=None)))
    replies.add(seen(door.get("/v1/models?key=", key=None)))
    replies.add(seen(door.get("/v1/models?key=%00%0d%0a", key=None)))
    assert len(replies) == 1, replies
    (reply,) = replies
    assert b"401" in reply
    assert b"invalid_api_key" in reply


def seen(reply: RawReply) -> bytes:
    """What a guesser sees of a reply: all but the time and its own number."""
    headers = [
        f"{name}: {value}"
        for name, value in reply.headers
        if name not in ("date", "x-request-id")
    ]
    return f"{reply.status} {headers} ".encode() + reply.body


def reload_configuration(door: Door, text: str) -> None:
    """Write the file anew and let the server read it."""
    door.posthouse.configuration.write_text(text)
    door.posthouse.process.send_signal(1)


def eventually_refused(door: Door, key: str) -> None:
    """Wait until a key is no longer one."""
    deadline = time.monotonic() + 5
    while door.try_key(key, "100.64.3.2").status == 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_no_wrong_key_takes_longer_than_another(door: Door) -> None:
    """A smoke test: a difference that a guesser could use would be far larger."""
    keys = {
        "first letter": "t" + KEY[1:],
        "last letter": KEY[:-1] + "y",
        "nothing": "sk-" + "0" * (len(KEY) - 3),
        "expired": EXPIRED,
    }
    times: dict[str, list[float]] = {name: [] for name in keys}
    line = "GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n"
    with socket.create_connection(door.address, timeout=5) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(300):
            for name, key in keys.items():
                address = f"X-Forwarded-For: 172.16.{number & 255}.{number >> 8}\r\n"
                request = line.format(key) + address + "\r\n"
                began = time.perf_counter()
                peer.sendall(request.encode())
                assert peer.recv(65_536).startswith(b"HTTP/1.1 401 ")
                times[name].append(time.perf_counter() - began)
    medians = [statistics.median(found[20:]) for found in times.values()]
    assert max(medians) < 2 * min(medians) + 0.0005, times.keys()
