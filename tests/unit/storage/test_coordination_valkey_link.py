"""A connection to Valkey: let in or not, over TLS, to strangers; and what is told."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.tcp_proxy import TCPProxy
from tests.support.cases import each
from tests.support.valkey import Valkey
from tests.unit.upstream.certificates import make_certificate

from posthouse.access.counters import Ask
from posthouse.access.ports import CountersUnavailable
from posthouse.access.windows import Rates
from posthouse.settings.coordination import Coordination, read_coordination
from posthouse.storage.coordination import valkey_link as link_module
from posthouse.storage.coordination.valkey import ValkeyCounters
from posthouse.storage.coordination.valkey_check import look

ASK = Ask("s", Rates(requests=5), 2)


PATIENT = 3.0


async def try_it(place: Coordination, seconds: float = PATIENT) -> str:
    """Make an exchange; give why it fails, or nothing."""
    store = ValkeyCounters(place, "m", seconds=seconds)
    try:
        (told,) = await store.exchange([ASK])
        assert told.requests_left == 5
    except CountersUnavailable as error:
        return str(error)
    finally:
        await store.close()
    return ""


# --- to be let in ------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded_valkey() -> Iterator[Valkey]:
    """One with a password, and a user who may do no more than is needed."""
    with Valkey(requirepass="hidden") as server:
        rights = "~posthouse:* +evalsha +script|load +time +get +set +del +zadd"
        rights += " +zrem +zcard +zremrangebyscore +pexpire +select"
        server.do("ACL", "SETUSER", "app", "on", ">hid den@1", *rights.split())
        server.do("ACL", "SETUSER", "idle", "on", ">hidden", "+select")
        yield server


@each(
    ("who", "reason"),
    [
        ("", "NOAUTH"),
        (":hidden@", ""),
        (":hidden2@", "refuses AUTH (WRONGPASS)"),
        ("default:hidden@", ""),
        ("app:hid%20den%401@", ""),
        ("app:hidden@", "refuses AUTH (WRONGPASS)"),
        ("idle:hidden@", "NOPERM"),
    ],
)
async def test_users_and_passwords(
    guarded_valkey: Valkey, who: str, reason: str
) -> None:
    """Those that are right are let in; others are told why, without the password."""
    url = f"valkey://{who}127.0.0.1:{guarded_valkey.port}/"
    told = await try_it(read_coordination(url))
    assert reason in told if reason else not told
    assert "hid" not in told
    seen = await look(read_coordination(url), PATIENT)
    assert seen.result == ("fault" if reason else "ok")
    assert "hid" not in seen.detail


async def test_database_by_its_number(valkey: Valkey) -> None:
    """Another number is another place; one that is not there is told."""
    place = read_coordination(f"redis://127.0.0.1:{valkey.port}/7")
    store = ValkeyCounters(place, "numbered", seconds=PATIENT)
    await store.exchange([Ask("s", Rates(concurrency=1), 2, 1)])
    assert b"db7" in valkey.do("INFO", "keyspace")
    await store.close()
    told = await try_it(read_coordination(f"redis://127.0.0.1:{valkey.port}/77"))
    assert told == "it refuses SELECT (ERR)"


# --- TLS ------------------------------------------------------------------------------


async def test_tls(valkey: Valkey, tmp_path: Path) -> None:
    """Who shows a certificate that we trust, and of the right name, is believed."""
    server, _ = make_certificate(tmp_path, "localhost")
    async with TCPProxy(valkey.port, server) as proxy:
        there = f"localhost:{proxy.port}/0"
        trusting = f"?ssl_ca_certs={tmp_path / 'certificate.pem'}"
        assert not await try_it(read_coordination(f"valkeys://{there}{trusting}"))
        told = await try_it(read_coordination(f"rediss://{there}"))
        assert "certificate is not accepted" in told
        other = f"127.0.0.1:{proxy.port}/0{trusting}"
        assert "not accepted" in await try_it(read_coordination(f"valkeys://{other}"))
        assert await try_it(read_coordination(f"valkey://{there}"), 0.1)
        told = await try_it(read_coordination(f"valkeys://{there}?ssl_ca_certs=/no"))
        assert told == "the files for TLS cannot be used: No such file or directory"


async def test_tls_with_a_certificate_of_our_own(
    valkey: Valkey, tmp_path: Path
) -> None:
    """A server that wants to know who comes is shown it."""
    for name in ("localhost", "node"):
        (tmp_path / name).mkdir()
    server, _ = make_certificate(tmp_path / "localhost", "localhost")
    make_certificate(tmp_path / "node", "node")
    ours = tmp_path / "node" / "certificate.pem"
    server.load_verify_locations(ours)
    server.verify_mode = ssl.CERT_REQUIRED
    async with TCPProxy(valkey.port, server) as proxy:
        url = f"valkeys://localhost:{proxy.port}/"
        url += f"?ssl_ca_certs={tmp_path / 'localhost' / 'certificate.pem'}"
        assert await try_it(read_coordination(url))
        assert not await try_it(read_coordination(f"{url}&ssl_certfile={ours}"))


# --- strangers ------------------------------------------------------------------------


class Stranger:
    """A server that answers every command with the same."""

    def __init__(self, says: bytes, *, endless: bool = False) -> None:
        self._says = says
        self._endless = endless
        self._server: asyncio.Server

    async def __aenter__(self) -> Coordination:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return Coordination("127.0.0.1", port, username="u", password="hidden")

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await asyncio.sleep(0.05)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await reader.read(4096):
                says = self._says.replace(b"%", data.replace(b"\r\n", b" "))
                writer.write(says * max(1, data.count(b"EVALSHA")))
                while self._endless:
                    writer.write(self._says)
                    await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()


@each(
    ("says", "reason"),
    [
        (b"-ERR unknown command, with args beginning with: %\r\n", "AUTH (ERR)"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak the protocol"),
        (b"+OK\r\n+OK\r\n", "nobody has asked"),
        (b"+OK\r\n", "no answers of ours"),
        (b"*-1\r\n", "no answers of ours"),
        (b"$1\r\nx\r\n", "no answers of ours"),
        (b":7\r\n", "no answers of ours"),
    ],
)
async def test_stranger(says: bytes, reason: str) -> None:
    """What is no Valkey is found out; it gets nothing into what is told."""
    async with Stranger(says) as place:
        told = await try_it(place)
        assert reason in told
        assert "hid" not in told


async def test_stranger_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that never stops talking is not listened to for long."""
    monkeypatch.setattr(link_module, "MOST_BYTES", 100_000)
    says = b"$1000000000\r\n" + b"x" * 10_000
    async with Stranger(says, endless=True) as place:
        assert "nobody has asked" in await try_it(place)


async def test_name_that_means_nothing() -> None:
    """The reason is the resolver's."""
    assert "no connection: " in await try_it(Coordination("no.such.invalid", 1))


async def test_server_that_takes_connections_and_says_nothing() -> None:
    """It is waited for half a second, not longer."""
    async with TCPProxy(1) as proxy:
        proxy.is_deaf = True
        place = Coordination("127.0.0.1", proxy.port, password="hidden")
        assert "no answer within 0.5 seconds" in await try_it(place, 0.1)
        assert "no answer within" in await try_it(
            Coordination("127.0.0.1", proxy.port), 0.1
        )
        place = Coordination("127.0.0.1", proxy.port, is_tls=True)
        assert await try_it(place, 0.1) == "no connection within 0.5 seconds"
