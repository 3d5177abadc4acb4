"""Things that are kept at the sandbox, by the vendors' SDKs and two tenants."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import anthropic
import openai
import pytest
from tests.conftest import StartPosthouse
from tests.support.posthouse import Posthouse

KEYS = {
    name: f"sk-things-{name}-0123456789abcdefghijklmnopqrstuv"
    for name in ("one", "two")
}
CONFIGURATION = """
[[channels]]
name = "sandbox"
provider = "sandbox"

[[keys]]
name = "one"
key = "{one}"
balance_usd = "1"

[[keys]]
name = "two"
key = "{two}"
balance_usd = "1"
"""

OpenAIs = Callable[[str], openai.OpenAI]


@pytest.fixture(scope="module")
def server(start_posthouse: StartPosthouse) -> Posthouse:
    """The sandbox and two who try it."""
    return start_posthouse(CONFIGURATION.format(**KEYS))


@pytest.fixture
def client(server: Posthouse) -> Iterator[OpenAIs]:
    """Makes OpenAI's clients."""
    with ExitStack() as open_ones:

        def make(name: str) -> openai.OpenAI:
            found = openai.OpenAI(
                base_url=f"{server.url}/v1",
                api_key=KEYS[name],
                max_retries=0,
                default_headers={"x-posthouse-channel": "sandbox"},
            )
            return open_ones.enter_context(found)

        yield make


def test_vector_stores_and_their_files(client: OpenAIs) -> None:
    one, two = client("one"), client("two")
    made = [one.vector_stores.create(name=f"store {n}") for n in range(5)]
    listed = [store.id for store in one.vector_stores.list(limit=2)]
    assert listed == [store.id for store in reversed(made)]
    assert list(two.vector_stores.list()) == []
    store = one.vector_stores.update(made[0].id, name="another name")
    assert one.vector_stores.retrieve(store.id).name == "another name"
    file = one.files.create(file=("a.txt", b"some text"), purpose="assistants")
    assert one.files.content(file.id).content == b"some text"
    one.vector_stores.files.create(file_id=file.id, vector_store_id=store.id)
    [within] = one.vector_stores.files.list(store.id)
    assert within.model_extra is not None
    assert within.model_extra["file_id"] == file.id
    with pytest.raises(openai.NotFoundError):
        two.vector_stores.retrieve(store.id)
    theirs = two.vector_stores.create()
    with pytest.raises(openai.NotFoundError):
        two.vector_stores.files.create(file_id=file.id, vector_store_id=theirs.id)
    assert one.vector_stores.delete(store.id).deleted
    with pytest.raises(openai.NotFoundError):
        one.vector_stores.retrieve(store.id)
    assert len(list(one.vector_stores.list())) == 4


def test_vector_stores_of_files_that_are_kept_here(server: Posthouse) -> None:
    """One id names the file, here and in the store."""
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=KEYS["one"], max_retries=0
    ) as client:
        file = client.files.create(file=("a.txt", b"some text"), purpose="assistants")
        store = client.vector_stores.create(file_ids=[file.id])
        assert store.model_extra is not None
        assert store.model_extra["file_ids"] == [file.id]
        within = client.vector_stores.files.create(
            file_id=file.id, vector_store_id=store.id
        )
        assert within.model_extra is not None
        assert within.model_extra["file_id"] == file.id
        assert client.files.delete(file.id).deleted
        with pytest.raises(openai.NotFoundError):
            client.vector_stores.create(file_ids=[file.id])


def test_conversations_and_their_items(client: OpenAIs) -> None:
    one, two = client("one"), client("two")
    conversation = one.conversations.create(metadata={"topic": "x"})
    item = one.conversations.items.create(
        conversation.id,
        items=[{"type": "message", "role": "user", "content": "Hello"}],
    )
    assert item.model_extra is not None
    assert len(list(one.conversations.items.list(conversation.id))) == 1
    with pytest.raises(openai.NotFoundError):
        two.conversations.items.list(conversation.id)
    with pytest.raises(openai.NotFoundError):
        two.conversations.update(conversation.id, metadata={})
    assert one.conversations.delete(conversation.id).deleted


def test_containers_and_evals(client: OpenAIs) -> None:
    one = client("one")
    container = one.containers.create(name="room")
    assert [found.id for found in one.containers.list()] == [container.id]
    file = one.containers.files.create(container.id, file=("b.bin", b"\x00\xff"))
    content = one.containers.files.content.retrieve(file.id, container_id=container.id)
    assert content.content == b"\x00\xff"
    one.containers.delete(container.id)
    assert list(one.containers.list()) == []


def test_anthropics_things(server: Posthouse) -> None:
    with ExitStack() as open_ones:
        one, two = (
            open_ones.enter_context(
                anthropic.Anthropic(base_url=server.url, api_key=key, max_retries=0)
            )
            for key in KEYS.values()
        )
        made = [one.beta.vaults.create(display_name=f"vault {n}") for n in range(3)]
        listed = [vault.id for vault in one.beta.vaults.list(limit=2)]
        assert listed == [vault.id for vault in reversed(made)]
        assert list(two.beta.vaults.list()) == []
        with pytest.raises(anthropic.NotFoundError) as error:
            two.beta.vaults.retrieve(made[0].id)
        assert isinstance(error.value.body, dict)
        assert error.value.body["type"] == "error"
        one.beta.vaults.delete(made[0].id)
        assert len(list(one.beta.vaults.list())) == 2
