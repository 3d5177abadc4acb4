"""Nothing that lives in a serving process shows a secret when it is printed.

After calls of every kind each object of ours in memory is asked for its repr, as a
log line or an exception of somebody's would.
"""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fakes import openai
from tests.fakes.upstream import FakeUpstream
from tests.faults.asked import FORMS, ask
from tests.faults.channels import channel
from tests.faults.station import KEY, KEYS, play, running
from tests.security import canaries

from posthouse.model.exchange import Timeouts, UpstreamRequest
from posthouse.upstream.proxied import parse_proxy

ACCOUNT = canaries.PROVIDERS["openai"]
SECRETS = (ACCOUNT, canaries.PASSWORD, canaries.HEADER, canaries.SECRET)


def ours() -> Iterator[Any]:
    """Give every object of a type of ours, also those that no collector tracks."""
    seen: set[int] = set()
    gc.unfreeze()  # What was there before the first test is looked at too.
    left = gc.get_objects()
    gc.freeze()
    while left:
        thing = left.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if str(type(thing).__module__).startswith("posthouse"):
            yield thing
            left += gc.get_referents(thing)
        elif isinstance(thing, dict | list | tuple):
            left += [
                inner
                for inner in gc.get_referents(thing)
                if str(type(inner).__module__).startswith("posthouse")
            ]


def test_no_object_shows_a_secret(tmp_path: Path) -> None:
    """Neither the operator's nor, but for a request's own head, a caller's."""

    async def test() -> None:
        async with FakeUpstream(openai.answer) as provider:
            proxy = f"http://operator:{canaries.PASSWORD}@127.0.0.1:9"
            headers = {"X-Organisation": canaries.HEADER}
            text = KEYS + channel("a", provider.origin, headers=headers)
            text += channel("b", provider.origin, models=["proxied"], proxy=proxy)
            for name in ("a", "b"):
                text = text.replace(f"sk-provider-{name}", ACCOUNT)
            async with running(tmp_path, text, secret=canaries.SECRET) as station:
                for operation, stream in FORMS:
                    seen = await ask(station, operation, stream=stream)
                    assert seen.status == 200
                assert (await ask(station, model="proxied")).status == 502
                told = provider.served[0].headers[b"authorization"].decode()
                assert ACCOUNT in told
                looked_at = set()
                for thing in ours():
                    kind, shown = type(thing).__name__, repr(thing)
                    looked_at.add(kind)
                    assert not any(secret in shown for secret in SECRETS), kind
                    assert KEY not in shown, kind
                expected = {"Settings", "Channel", "Prepared", "Proxy", "RoutingTable"}
                assert expected <= looked_at

    play(test)


def test_what_is_sent_is_not_shown() -> None:
    """Requests come and go too fast to be found in memory."""
    headers = ((b"authorization", ACCOUNT.encode()),)
    proxy = f"http://operator:{canaries.PASSWORD}@proxy.test:8080"
    request = UpstreamRequest(
        "POST",
        "https://api.test",
        f"/v1?key={ACCOUNT}",
        headers,
        b"",
        Timeouts(),
        proxy,
    )
    assert repr(request) == "UpstreamRequest('POST', 'https://api.test')"
    assert repr(parse_proxy(proxy)) == "Proxy('http', 'proxy.test', 8080)"
