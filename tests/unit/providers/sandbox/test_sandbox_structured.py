"""Structured outputs of the sandbox: as many entries as a prompt in JSON asks for."""

from typing import Any

from posthouse.dialects.neutral.by_chat import Said
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.openai.chat_tasks import TASKS
from posthouse.model.chat import Text
from posthouse.model.moderation import ModerationInput, ModerationRequest
from posthouse.model.rerank import RerankItem, RerankRequest
from posthouse.model.translation import TranslationRequest
from posthouse.providers.sandbox.structured import MOST, structured
from posthouse.wire import json

WORDS = ("one", "two\nlines", '{"three": [1, 2]}')
LIST = {
    "type": "object",
    "properties": {
        "found": {
            "type": "array",
            "items": {"type": "object", "properties": {"index": {"type": "integer"}}},
        }
    },
}


def made(schema: Any, prompt: str) -> Any:
    return json.decode_leniently(
        structured({"name": "it", "schema": schema}, prompt).encode()
    )


def test_the_sandbox_stands_in_as_other_chat_models_do() -> None:
    """It ranks, translates and judges whatever number of things."""
    for count in range(1, len(WORDS) + 1):
        texts = WORDS[:count]
        items = tuple(RerankItem(json.raw(text), text) for text in texts)
        inputs = tuple(ModerationInput((Text(text),)) for text in texts)
        query = RerankItem(json.raw("one"), "one")
        for kind, asked in (
            ("rerank", RerankRequest(dialect="", query=query, documents=items)),
            ("translation", TranslationRequest(dialect="", texts=texts, target="de")),
            ("moderation", ModerationRequest(dialect="", inputs=inputs)),
        ):
            task = TASKS[kind]
            told = task.ask(asked, Losses())
            prompt = "\n".join(part.text for part in told.parts)
            said = structured({"name": "it", "schema": told.schema}, prompt)
            answer = task.answer(Said(said, None, "id"), asked)
            entries = {
                "rerank": "results",
                "translation": "translations",
                "moderation": "verdicts",
            }
            assert len(getattr(answer, entries[kind])) == count


def test_lists_are_as_long_as_the_prompt_has_things() -> None:
    """A document a line, or a list in one; never more than is sensible."""
    for prompt, length in (
        ("Hello", 1),
        ("{not json", 1),
        ('{"a": 1}', 1),
        ('{"a": 1}\n{"a": 2}', 2),
        ('{"a": "x", "b": [1, 2, 3]}', 3),
        ('{"a": []}', 1),
        (json.encode({"a": [0] * (MOST + 1)}).decode(), MOST),
    ):
        [*found] = made(LIST, prompt)["found"]
        assert len(found) == length
        if length > 1:
            assert [one["index"] for one in found] == list(range(length))


def test_a_schema_s_own_bounds_stay() -> None:
    """Nor is a list changed that is of no objects."""
    prompt = '{"a": [1, 2, 3]}'
    for name, value, length in (("maxItems", 2, 1), ("minItems", 2, 2)):
        bound = json.decode_leniently(json.encode(LIST))
        bound["properties"]["found"][name] = value
        assert len(made(bound, prompt)["found"]) == length
    plain = {"properties": {"a": {"type": "array", "items": {"type": "string"}}}}
    assert made(plain, prompt) == {"a": ["sample a"]}
    assert made({"type": "object", "properties": True}, prompt) == {}
