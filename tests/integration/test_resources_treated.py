"""Things that chats and responses name and leave: the same owners, the same places."""

import io
import json
import re
import wave
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.conftest import StartPosthouse
from tests.integration.test_resources import KEYS, World, configuration
from tests.support.fake import ThreadedFake
from tests.support.kept import Kept

RESPONSES = "/responses"
CHATS = "/chat/completions"


@pytest.fixture(scope="module")
def world(start_posthouse: StartPosthouse) -> Iterator[World]:
    """Three accounts at two channels."""
    kept = Kept()
    with ThreadedFake(kept) as provider:
        found = start_posthouse(
            configuration(provider.origin), {"POSTHOUSE_UNPRICED_ROUTES": "allow"}
        )
        yield World(found, kept)


def named(name: str) -> list[dict[str, Any]]:
    """Bodies of responses that name a thing, each in another place."""
    return [
        {"conversation": name},
        {"conversation": {"id": name}},
        {"prompt": {"id": name}},
        {"input": [{"type": "item_reference", "id": name}]},
        # A reference need not say that it is one.
        {"input": [{"id": name}]},
        {"input": [{"type": None, "id": name}]},
        {"input": [{"type": "image_generation_call", "id": name}]},
        {"input": [{"type": "code_interpreter_call", "container_id": name}]},
    ]


@pytest.mark.parametrize("place", range(8))
def test_anothers_thing_and_an_unknown_one_are_not_there(
    world: World, place: int
) -> None:
    theirs = world.make("two", "/conversations")
    for name in (theirs, "conv_unknown_0001"):
        before = len(world.kept.requests)
        body = {"model": "m-one", "input": "Hello", **named(name)[place]}
        answer = world.ask("one", "POST", RESPONSES, body)
        assert answer.status_code == 404, answer.text
        assert len(world.kept.requests) == before
    own = world.make("one", "/conversations")
    body = {"model": "m-one", "input": "Hello", **named(own)[place]}
    answer = world.ask("one", "POST", RESPONSES, body)
    assert answer.status_code == 200, answer.text


def test_what_is_sent_once_more_names_nothing(world: World) -> None:
    """A message or a picture that stands there whole has an id all the same."""
    said = [{"type": "output_text", "text": "Hello", "annotations": []}]
    items = [
        {"type": "message", "id": "msg_0001", "role": "assistant", "content": said},
        {"id": "msg_0002", "role": "assistant", "content": said},
        {"type": "image_generation_call", "id": "ig_0001", "result": "AAAA"},
    ]
    body = {"model": "m-one", "input": items}
    answer = world.ask("one", "POST", RESPONSES, body)
    assert answer.status_code == 200, answer.text


def test_escapes_hide_nothing(world: World) -> None:
    theirs = world.make("two", "/conversations")
    for member in (
        '"conv\\u0065rsation":"%s"',
        '"conversation":{"\\u0069d":"%s"}',
        '"input":[{"type":"item\\u005freference","id":"%s"}]',
        '"input":[{"\\u0069d":"%s"}]',
        '"input":[{"content":[{"type":"input_file","file\\u005fid":"%s"}]}]',
    ):
        before = len(world.kept.requests)
        answer = world.ask(
            "one",
            "POST",
            RESPONSES,
            content='{"model":"m-one","input":"x",' + member % theirs + "}",
        )
        assert answer.status_code in (400, 404), member
        assert len(world.kept.requests) == before


def test_a_call_goes_where_its_things_are(world: World) -> None:
    """Also to the one credential that reaches them."""
    own = world.make("one", "/conversations")
    made_by = Kept.account(world.kept.requests[-1])
    for _ in range(4):
        body = {"model": "m-one", "input": "Hello", "conversation": own}
        assert world.ask("one", "POST", RESPONSES, body).status_code == 200
        assert Kept.account(world.kept.requests[-1]) == made_by


def test_things_on_two_channels_are_told_apart(world: World) -> None:
    first = world.make("one", "/conversations")
    second = world.make(
        "one", "/conversations", headers={"x-posthouse-channel": "second"}
    )
    body = {"model": "m-one", "input": "x", "conversation": first}
    body["prompt"] = {"id": second}
    answer = world.ask("one", "POST", RESPONSES, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "objects_on_several_channels"


def test_a_model_must_be_where_the_things_are(world: World) -> None:
    there = {"x-posthouse-channel": "second"}
    second = world.make("one", "/conversations", headers=there)
    before = len(world.kept.requests)
    body = {"model": "m-one", "input": "x", "conversation": second}
    answer = world.ask("one", "POST", RESPONSES, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "objects_on_several_channels"
    assert answer.json()["error"]["param"] == "model"
    assert len(world.kept.requests) == before


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_response_leaves_is_its_callers(world: World, stream: bool) -> None:
    own = world.make("one", "/conversations")
    body = {"model": "m-one", "input": "x", "conversation": own, "stream": stream}
    answer = world.ask("one", "POST", RESPONSES, body)
    assert answer.status_code == 200
    container = [path for _, path in world.kept.things if "/containers/" in path][-1]
    assert world.ask("one", "GET", container).status_code == 200
    assert world.ask("two", "GET", container).status_code == 404
    listed = world.ask("one", "GET", "/containers").json()["data"]
    assert container.rpartition("/")[2] in [one["id"] for one in listed]


@pytest.mark.parametrize("stream", [False, True])
def test_chats_that_are_stored_are_listed(world: World, stream: bool) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    body = {"model": "m-one", "messages": messages, "store": True, "stream": stream}
    answer = world.ask("one", "POST", CHATS, body)
    assert answer.status_code == 200, answer.text
    path = [path for _, path in world.kept.things if path.startswith(CHATS)][-1]
    name = path.rpartition("/")[2]
    assert name in answer.text
    assert world.ask("one", "GET", path).json()["id"] == name
    assert world.ask("two", "GET", path).status_code == 404
    listed = world.ask("one", "GET", CHATS).json()["data"]
    assert name in [one["id"] for one in listed]
    changed = world.ask("one", "POST", path, {"metadata": {"a": "b"}})
    assert changed.status_code == 200
    assert world.ask("one", "DELETE", path).status_code == 200
    assert world.ask("one", "GET", path).status_code == 404


def test_a_response_is_asked_for_with_the_credential_that_made_it(
    world: World,
) -> None:
    for number in range(6):
        body = {"model": "m-one", "input": f"Hello {number}"}
        session = {"x-session-id": f"session-{number}"}
        made = world.ask("one", "POST", RESPONSES, body, headers=session)
        made_by = Kept.account(world.kept.requests[-1])
        name = made.json()["id"]
        assert world.ask("one", "GET", f"{RESPONSES}/{name}").status_code == 200
        assert Kept.account(world.kept.requests[-1]) == made_by
        body["previous_response_id"] = name
        follows = world.ask("one", "POST", RESPONSES, body)
        assert follows.status_code == 200
        assert Kept.account(world.kept.requests[-1]) == made_by


# --- voices and sounds ------------------------------------------------------------

SPEECH = "/audio/speech"
SOUND = {"voice": "alloy", "format": "pcm16"}


def spoken(voice: Any) -> dict[str, Any]:
    """A request for speech."""
    said = {"input": "Hello", "response_format": "pcm"}
    return {"model": "m-one", **said, "voice": voice}


def chatting(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A chat that ends with a question."""
    asked = {"role": "user", "content": "And then?"}
    return {"model": "m-one", "messages": [*messages, asked], **more}


def test_voices_are_their_makers(world: World) -> None:
    theirs = world.make("two", "/audio/voices")
    own = world.make("one", "/audio/voices")
    for voice in (theirs, {"id": theirs}, "voice_nobodys", {"id": "voice_nobodys"}):
        asked = ((SPEECH, spoken(voice)), (CHATS, chatting(audio={"voice": voice})))
        for path, body in asked:
            before = len(world.kept.requests)
            answer = world.ask("one", "POST", path, body)
            assert answer.status_code == 404, (path, voice, answer.text)
            assert len(world.kept.requests) == before
    hidden = {**spoken("alloy"), "Voice": theirs}
    assert world.ask("one", "POST", SPEECH, hidden).status_code == 404
    for voice in (own, {"id": own}, "alloy", "longxiaochun_v2"):
        for path, body in (
            (SPEECH, spoken(voice)),
            (CHATS, chatting(audio={**SOUND, "voice": voice})),
        ):
            answer = world.ask("one", "POST", path, body)
            assert answer.status_code == 200, (path, voice, answer.text)


@pytest.mark.parametrize("stream", [False, True])
def test_sounds_of_a_chat_are_its_callers(world: World, stream: bool) -> None:
    more = {"modalities": ["text", "audio"], "stream": stream}
    made = world.ask("two", "POST", CHATS, chatting(audio=SOUND, **more))
    assert made.status_code == 200, made.text
    [name] = set(re.findall("audio_[0-9a-f]+", made.text))
    made_by = Kept.account(world.kept.requests[-1])
    earlier = {"role": "assistant", "audio": {"id": name}}
    before = len(world.kept.requests)
    answer = world.ask("one", "POST", CHATS, chatting(earlier))
    assert answer.status_code == 404, answer.text
    assert len(world.kept.requests) == before
    for _ in range(3):
        answer = world.ask("two", "POST", CHATS, chatting(earlier))
        assert answer.status_code == 200, answer.text
        assert Kept.account(world.kept.requests[-1]) == made_by
    # What was made otherwise has a name that says nothing.
    unknown = {"role": "assistant", "audio": {"id": "audio"}}
    assert world.ask("one", "POST", CHATS, chatting(unknown)).status_code == 200
    listed = world.ask("two", "GET", CHATS).json()["data"]
    assert listed == [] or name not in json.dumps(listed)


# --- further places ---------------------------------------------------------------


def test_members_that_nobody_knows_are_read_as_well(world: World) -> None:
    theirs = world.make("two", "/conversations")
    found = {"type": "file_search_call", "results": [{"file_id": theirs}]}
    embedding = {"model": "m-one", "input": "x"}
    block = {"type": "container_upload", "file_id": theirs}
    uploaded = {"role": "user", "content": [block]}
    for path, body in (
        (RESPONSES, {"model": "m-one", "input": [found]}),
        (RESPONSES, {"model": "m-one", "input": "x", "Conversation": theirs}),
        ("/embeddings", {**embedding, "file_id": theirs}),
        ("/embeddings", {**embedding, "more": {"FILE_IDS": [theirs]}}),
        (CHATS, chatting(assistant_id=theirs)),
        ("/messages", {"model": "m-claude", "max_tokens": 9, "messages": [uploaded]}),
        ("/images/generations", {**embedding, "prompt": "x", "file_id": theirs}),
        (
            "/images/edits",
            {"model": "m-one", "prompt": "x", "images": [{"file_id": theirs}]},
        ),
    ):
        before = len(world.kept.requests)
        answer = world.ask("one", "POST", path, body)
        assert answer.status_code in (400, 404), (path, body, answer.text)
        assert len(world.kept.requests) == before
    own = world.make("one", "/conversations")
    answer = world.ask("one", "POST", "/embeddings", {**embedding, "file_id": own})
    assert answer.status_code == 200, answer.text


def wave_of(samples: int) -> bytes:
    """Silence."""
    written = io.BytesIO()
    with wave.open(written, "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * samples))
    return written.getvalue()


PICTURE = ("a.png", bytes.fromhex("89504e470d0a1a0a"), "image/png")
FORMS: list[tuple[str, list[tuple[str, Any]]]] = [
    ("/images/edits", [("image[file_id]", (None, "{id}"))]),
    ("/images/edits", [("image", PICTURE), ("mask[file_id]", (None, "{id}"))]),
    ("/images/edits", [("image", PICTURE), ("image", (None, "{id}"))]),
    ("/images/edits", [("image", PICTURE), ("images[][file_id]", (None, "{id}"))]),
    ("/images/edits", [("image", PICTURE), ("images", (None, '[{"file_id":"{id}"}]'))]),
    ("/images/edits", [("image", PICTURE), ("n", ("n.txt", b"9"))]),
    ("/images/edits", [("image", PICTURE), ("n[]", (None, "9"))]),
    ("/images/edits", [("image", PICTURE), ("N", (None, "9"))]),
    ("/images/edits", [("image", PICTURE), ("IMAGE", PICTURE)]),
    ("/images/edits", [("image", PICTURE), ("model[]", (None, "m-two"))]),
    ("/images/edits", [("image", PICTURE), ("model", ("m.txt", b"m-two"))]),
    ("/images/variations", [("image", PICTURE), ("Image[]", PICTURE)]),
    ("/audio/transcriptions", [("FILE", ("a.wav", b"x"))]),
    ("/audio/transcriptions", [("file[]", ("a.wav", b"x"))]),
]


def test_forms_hold_nothing_that_is_not_judged(world: World) -> None:
    """Nor what is judged in one place and read in another."""
    theirs = world.make("two", "/conversations")
    for path, parts in FORMS:
        filled = [
            (name, (None, value[1].replace("{id}", theirs)))
            if value[0] is None
            else (name, value)
            for name, value in parts
        ]
        sound = ("file", ("a.wav", wave_of(1_600), "audio/wav"))
        more = [sound] if "audio" in path else [("prompt", (None, "x"))]
        whole = [("model", (None, "m-one")), *more, *filled]
        if ("model", ("m.txt", b"m-two")) in filled:
            whole = whole[1:]
        before = len(world.kept.requests)
        answer = httpx2.post(
            f"{world.posthouse.url}/v1{path}",
            headers={"authorization": f"Bearer {KEYS['one']}"},
            files=whole,
            timeout=30,
        )
        assert answer.status_code in (400, 404), (path, filled, answer.text)
        assert len(world.kept.requests) == before, (path, filled)
