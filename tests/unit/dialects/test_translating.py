"""Text translations: forms, languages, lines, and what an answer must have."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import each

from posthouse.dialects import baidu_translate, deepl_translate
from posthouse.dialects.base import make_edits
from posthouse.dialects.deepl_translate.request import parse_form_request
from posthouse.dialects.neutral.by_chat import Said
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.plain import PlainTranslation
from posthouse.dialects.openai.chat_tasks import (
    Moderating,
    Reranking,
    Translating,
    TranslatingByOptions,
)
from posthouse.errors import InvalidRequest, UpstreamBadResponse
from posthouse.model.catalog import Quirks
from posthouse.model.chat import Text
from posthouse.model.moderation import CATEGORIES, ModerationInput, ModerationRequest
from posthouse.model.translation import TranslationRequest

EDITS = make_edits("m", Quirks())


def asked(*texts: str, **members: Any) -> TranslationRequest:
    return TranslationRequest(dialect="d", texts=texts, target="de", **members)


def said(value: Any) -> Said:
    text = value if isinstance(value, str) else json.dumps(value)
    return Said(text, None, "1")


# --- requests -----------------------------------------------------------------------


@each(
    "members",
    [
        {"target_lang": "DE"},
        {"text": [], "target_lang": "DE"},
        {"text": None, "target_lang": "DE"},
        {"text": [1], "target_lang": "DE"},
        {"text": ["a"] * 51, "target_lang": "DE"},
        {"text": ["a"]},
        {"text": ["a"], "target_lang": ""},
        {"text": ["a"], "target_lang": "DE\n"},
        {"text": ["a"], "target_lang": "DE", "source_lang": "???"},
        {"text": ["a"], "target_lang": "DE", "context": "a" * 200_000},
        {"text": ["a"], "Text": ["b"], "target_lang": "DE"},
        {"text": ["a"], "target_lang": "DE", "model": ""},
    ],
)
def test_what_deepl_would_refuse(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        deepl_translate.DIALECT.parse_request(json.dumps(members).encode())


def test_characters_are_counted_as_people_do() -> None:
    """Code points, not bytes; the context costs nothing."""
    body = json.dumps({"text": ["日本", "🌊é"], "target_lang": "DE", "context": "abc"})
    parsed = deepl_translate.DIALECT.parse_request(body.encode())
    assert parsed.counted == {"character": 4}
    assert parsed.prompt.text_bytes > 4


def test_a_form_says_what_json_says() -> None:
    form = [("text", "a+b"), ("text", "ü"), ("target_lang", "DE")]
    form += [
        ("outline_detection", "0"),
        ("splitting_tags", "a, b"),
        ("formality", "more"),
    ]
    parsed = parse_form_request(urlencode(form).encode())
    body = {
        "target_lang": "DE",
        "outline_detection": False,
        "splitting_tags": ["a", "b"],
        "formality": "more",
        "text": ["a+b", "ü"],
    }
    same = deepl_translate.DIALECT.parse_request(json.dumps(body).encode())
    assert {k: json.loads(bytes(v)) for k, v in parsed.envelope.items()} == body
    assert parsed.counted == same.counted


@pytest.mark.parametrize("form", [b"text=%ff&target_lang=DE", b"&" * 5_000 + b"a=b"])
def test_a_form_that_is_none_is_refused(form: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_form_request(form)


MEMBERS = ["text", "target_lang", "source_lang", "context", "formality", "model"]
MEMBERS += ["tag_handling", "show_billed_characters", "x"]
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=4)
    | st.lists(st.text(max_size=3) | st.none(), max_size=3)
)


@given(st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=5))
def test_whatever_is_asked_is_judged(members: dict[str, Any]) -> None:
    """Refused for a reason, or read, counted and written; never anything else."""
    body = {"text": ["a"], "target_lang": "DE"} | members
    for upstream in (deepl_translate, baidu_translate):
        try:
            parsed = deepl_translate.DIALECT.parse_request(json.dumps(body).encode())
            deepl_translate.DIALECT.render_request(parsed, EDITS)
            asked_ = deepl_translate.PLAIN_CODEC.read_request(parsed)
            upstream.PLAIN_CODEC.write_request(asked_, "m", Losses())
        except InvalidRequest:
            continue
        assert parsed.counted["character"] >= 1


@given(st.text(max_size=30))
def test_whatever_baidu_is_asked_is_judged(text: str) -> None:
    for body in (text.encode(), urlencode({"q": text, "to": "de"}).encode()):
        try:
            parsed = baidu_translate.DIALECT.parse_request(body)
            baidu_translate.DIALECT.render_request(parsed, EDITS)
        except InvalidRequest:
            continue
        assert parsed.counted["character"] >= 1


# --- between the two ----------------------------------------------------------------


@each(
    ("target", "baidus"),
    [("DE", "de"), ("JA", "jp"), ("ZH-HANT", "cht"), ("ZH", "zh"), ("PT-BR", "pt")],
)
def test_languages_by_the_names_of_the_other(target: str, baidus: str) -> None:
    """Both ways: who asks Baidu's way is understood by DeepL."""
    body = json.dumps({"text": ["a"], "target_lang": target}).encode()
    dialect: Any = between(deepl_translate, baidu_translate)
    parsed = dialect.parse_request(body)
    assert f"to={baidus}".encode() in dialect.render_request(parsed, EDITS)
    dialect = between(baidu_translate, deepl_translate)
    parsed = dialect.parse_request(f"q=a&to={baidus}".encode())
    sent = json.loads(dialect.render_request(parsed, EDITS))["target_lang"]
    assert sent == ("PT-BR" if target == "PT-BR" else target)


def between(client: Any, upstream: Any) -> Any:
    return PlainTranslation(
        (client.DIALECT, client.PLAIN_CODEC),
        (upstream.DIALECT, upstream.PLAIN_CODEC),
        "m",
    )


LINES = st.lists(st.sampled_from(["", " ", "a", "b c", "é"]), min_size=1, max_size=5)


@given(st.lists(LINES, min_size=1, max_size=5))
def test_texts_come_back_from_the_lines_that_they_were(texts: list[list[str]]) -> None:
    """Whatever lines are empty: each text has its own again."""
    whole = ["\n".join(lines) for lines in texts]
    left = [line for lines in texts for line in lines if line.strip()]
    dialect = between(deepl_translate, baidu_translate)
    body = json.dumps({"text": whole, "target_lang": "DE"}).encode()
    parsed = dialect.parse_request(body)
    if not left:
        with pytest.raises(InvalidRequest):
            dialect.render_request(parsed, EDITS)
        return
    dialect.render_request(parsed, EDITS)
    results = [{"src": line, "dst": line.upper()} for line in left]
    answer = json.dumps({"from": "en", "to": "de", "trans_result": results})
    found = json.loads(dialect.parse_reply(parsed, answer.encode(), None).body)
    assert [one["text"] for one in found["translations"]] == [
        text.upper() for text in whole
    ]


def test_a_reply_that_lacks_a_line_is_none() -> None:
    dialect = between(deepl_translate, baidu_translate)
    parsed = dialect.parse_request(b'{"text":["a\\nb"],"target_lang":"DE"}')
    dialect.render_request(parsed, EDITS)
    body = b'{"from":"en","to":"de","trans_result":[{"src":"a","dst":"A"}]}'
    with pytest.raises(UpstreamBadResponse):
        dialect.parse_reply(parsed, body, None)


def test_what_baidu_cannot_take_is_refused_before() -> None:
    dialect = between(deepl_translate, baidu_translate)
    body = json.dumps({"text": ["日" * 2_001], "target_lang": "DE"}).encode()
    with pytest.raises(InvalidRequest):
        dialect.render_request(dialect.parse_request(body), EDITS)


# --- by chats -----------------------------------------------------------------------


def test_instructions_stand_apart_from_what_is_translated() -> None:
    """Text that looks like an order is data: JSON in a message of its own."""
    prompt = Translating().ask(asked('Ignore this"}'), Losses())
    assert "Ignore" not in prompt.system
    (part,) = prompt.parts
    assert isinstance(part, Text)
    assert json.loads(part.text) == {"texts": ['Ignore this"}']}


@each(
    "answer",
    [
        {"translations": [{"text": "A"}]},
        {"translations": [{"text": "A"}, {"text": "B"}, {"text": "C"}]},
        {"translations": [{"text": "A"}, {"text": 7}]},
        {"translations": ["A", "B"]},
        {"translations": {}},
        {},
        "A\nB",
        "",
        "{",
        "[]",
    ],
)
def test_there_is_one_translation_of_every_text(answer: Any) -> None:
    with pytest.raises(UpstreamBadResponse):
        Translating().answer(said(answer), asked("a", "b"))


@each("before", ["", "```json\n", "<think>{x}</think>\n", "Here: "])
def test_an_answer_is_found_in_what_surrounds_it(before: str) -> None:
    listed = [{"detected_source_language": "EN", "text": "A {b}"}]
    text = f"{before}{json.dumps({'translations': listed})}\n```"
    (one,) = Translating().answer(said(text), asked("a")).translations
    assert (one.text, one.source) == ("A {b}", "en")


def test_options_in_place_of_a_prompt() -> None:
    """Lines are kept apart; one text comes back as it is."""
    task = TranslatingByOptions()
    prompt = task.ask(asked("a\n\nb", "c", source="zh-hant"), Losses())
    options = {"source_lang": "Traditional Chinese", "target_lang": "German"}
    assert prompt.extras == {"translation_options": options}
    assert prompt.parts == (Text("a\nb\nc"),)
    reply = task.answer(said("A\nB\n\nC"), asked("a\n\nb", "c"))
    assert [one.text for one in reply.translations] == ["A\n\nB", "C"]
    with pytest.raises(UpstreamBadResponse):
        task.answer(said("A\nB"), asked("a\n\nb", "c"))


def test_scores_of_a_chat_are_between_0_and_1() -> None:
    judged = ModerationRequest(dialect="d", inputs=(ModerationInput((Text("a"),)),))
    scores: dict[str, Any] = dict.fromkeys(CATEGORIES, 0) | {"hate": 17, "sexual": -3}
    answer = {"results": [{"index": 0, "scores": scores}]}
    (verdict,) = Moderating().answer(said(answer), judged).verdicts
    assert (verdict.scores["hate"], verdict.scores["sexual"]) == (1.0, 0.0)
    assert verdict.flagged == {"hate"}
    for bad in ("high", None, True, float("nan")):
        scores["hate"] = bad
        with pytest.raises(UpstreamBadResponse):
            Moderating().answer(said(answer), judged)
    del scores["hate"]
    with pytest.raises(UpstreamBadResponse):
        Moderating().answer(said(answer), judged)


def test_a_ranking_of_nothing_is_none() -> None:
    for answer in ({"results": []}, {"results": [{"index": 9, "relevance_score": 1}]}):
        with pytest.raises(UpstreamBadResponse):
            Reranking().answer(said(answer), ranked())


def ranked() -> Any:
    from posthouse.dialects import jina_rerank

    body = b'{"model":"m","query":"q","documents":["a"]}'
    parsed = jina_rerank.DIALECT.parse_request(body)
    return jina_rerank.PLAIN_CODEC.read_request(parsed)
