"""What an operator takes away is gone within two seconds, without a restart."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.conftest import StartPosthouse
from tests.support.fake import ThreadedFake
from tests.support.guard import BODIES, KEY, SHORT, Guarded, error_of, modest

CHAT = "/v1/chat/completions"
WITHIN_SECONDS = 2.0
CHANNEL = """
[[channels]]
name = "{name}"
provider = "openai-compatible"
base_url = "{origin}/v1"
api_key = "{key}"
models = ["{model}"]
enabled = {enabled}
"""
KEYS = """
[[keys]]
name = "app"
key = "{key}"
{rights}

[[prices]]
model = "chat"
input = "{price}"
output = "{price}"

[[prices]]
model = "other"
free = true
"""
USUAL = {"rights": "", "price": "1.00", "enabled": "true", "key": "first-account-key"}


class Changing(Guarded):
    """A server whose configuration file is written anew."""

    version: str
    """Of the usual price."""

    def configure(self, **changes: str) -> None:
        """Write the file with these changes to the usual one, and have it read."""
        self.posthouse.configuration.write_text(configuration(self.fake, **changes))
        self.posthouse.process.send_signal(1)

    def status(self, key: str = "", model: str = "chat") -> int:
        """Ask once."""
        body = BODIES[CHAT].replace(b'"chat"', b'"%b"' % model.encode())
        return self.post(CHAT, body, key=key).status

    def within(self, seconds: float, done: Callable[[], Any]) -> None:
        """Ask again and again until it is so, at most so many seconds."""
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def configuration(fake: ThreadedFake, **changes: str) -> str:
    """The usual file with changes."""
    now = {**USUAL, **changes}
    text = CHANNEL.format(name="main", origin=fake.origin, model="chat", **now)
    other = {**now, "enabled": "true"}
    text += CHANNEL.format(name="other", origin=fake.origin, model="other", **other)
    return text + KEYS.format(**{**now, "key": KEY})


@pytest.fixture(scope="module")
def changing(start_posthouse: StartPosthouse) -> Iterator[Changing]:
    """A server that takes changes."""
    with ThreadedFake(modest) as fake:
        changing = Changing(start_posthouse(configuration(fake), SHORT), fake, KEY)
        changing.version = changing.record(changing.post(CHAT, BODIES[CHAT]))[
            "price_version"
        ]
        yield changing


@pytest.fixture(autouse=True)
def _back_to_usual(changing: Changing) -> Iterator[None]:
    """Every test leaves the usual file."""

    def is_usual() -> bool:
        reply = changing.post(CHAT, BODIES[CHAT])
        if reply.status != 200:
            return False
        return bool(changing.record(reply)["price_version"] == changing.version)

    yield
    changing.configure()
    changing.within(10, is_usual)


def test_a_revoked_key_is_refused_within_two_seconds(changing: Changing) -> None:
    """Although it is remembered and in use; from then on for good."""
    made = changing.posthouse.ask("key", "create", "leaving")["key"]
    assert changing.status(made) == 200
    code, _ = changing.posthouse.run("key", "revoke", "leaving")
    assert code == 0
    changing.within(WITHIN_SECONDS, lambda: changing.status(made) == 401)
    for _ in range(20):
        assert changing.status(made) == 401
    assert changing.status() == 200


def test_a_key_that_left_the_file_is_refused(changing: Changing) -> None:
    """And taken again when it comes back."""
    text = changing.posthouse.configuration.read_text()
    without = text.replace(KEY, "sk-another-0123456789abcdefghijklmnopqrstuvw")
    changing.posthouse.configuration.write_text(without)
    changing.posthouse.process.send_signal(1)
    changing.within(WITHIN_SECONDS, lambda: changing.status() == 401)
    changing.configure()
    changing.within(WITHIN_SECONDS, lambda: changing.status() == 200)


def test_rights_that_shrink_hold_at_once(changing: Changing) -> None:
    """Models, networks and expiry of a key that is in use."""
    assert changing.status(model="other") == 200
    changing.configure(rights='models = ["chat"]')
    changing.within(WITHIN_SECONDS, lambda: changing.status(model="other") == 404)
    changing.configure(rights='ips = ["192.0.2.0/24"]')
    changing.within(WITHIN_SECONDS, lambda: changing.status() == 403)
    changing.configure(rights="expires = 2020-01-01T00:00:00Z")
    changing.within(WITHIN_SECONDS, lambda: changing.status() == 401)


def test_a_disabled_channel_is_asked_no_more(changing: Changing) -> None:
    """Its models are gone, and nothing more arrives there."""
    changing.configure(enabled="false")
    changing.within(WITHIN_SECONDS, lambda: changing.status() == 404)
    before = len(changing.fake.everything)
    reply = changing.post(CHAT, BODIES[CHAT])
    assert error_of(reply)["code"] == "model_not_found"
    assert b'"id":"chat"' not in changing.get("/v1/models").body
    assert len(changing.fake.everything) == before


def test_a_provider_key_that_was_changed_is_used_no_more(changing: Changing) -> None:
    """The next call bears the new one, also on a connection that is open."""

    def used() -> bytes:
        changing.status()
        return changing.fake.everything[-1].headers[b"authorization"]

    assert used() == b"Bearer first-account-key"
    changing.configure(key="second-account-key")
    changing.within(WITHIN_SECONDS, lambda: used() == b"Bearer second-account-key")
    assert {used() for _ in range(10)} == {b"Bearer second-account-key"}


def test_a_price_that_was_changed_is_a_new_version(changing: Changing) -> None:
    """Calls before it keep theirs; both versions are kept with their amounts."""
    before = changing.record(changing.post(CHAT, BODIES[CHAT]))
    changing.configure(price="3.00")
    latest: dict[str, Any] = {}

    def changed() -> bool:
        latest.update(changing.record(changing.post(CHAT, BODIES[CHAT])))
        return bool(latest["price_version"] != before["price_version"])

    changing.within(WITHIN_SECONDS, changed)
    assert latest["price"] == 3 * before["price"] > 0
    assert latest["usage"] == before["usage"]
    versions = changing.rows("SELECT version FROM price_versions")
    assert {(before["price_version"],), (latest["price_version"],)} <= set(versions)
    again = changing.rows("SELECT price FROM calls WHERE id = ?", before["id"])
    assert again == [(before["price"],)]


def test_a_faulty_file_changes_nothing(changing: Changing) -> None:
    """The last good one stays, to the last price."""
    before = changing.record(changing.post(CHAT, BODIES[CHAT]))
    log = changing.posthouse.log
    refused = log.read_text().count('refused"')
    changing.configure(price="-1")
    changing.within(10, lambda: log.read_text().count('refused"') > refused)
    after = changing.record(changing.post(CHAT, BODIES[CHAT]))
    for name in ("price", "price_version", "usage", "channel"):
        assert after[name] == before[name]
