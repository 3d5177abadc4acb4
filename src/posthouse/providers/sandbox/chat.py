"""Chat: reads the request and decides what each choice will say.

`chat_reply` writes the choices down, as one document or as a stream.
"""

from msgspec import Struct

from posthouse.providers.sandbox import checks, conversation, sound, tokens, tools
from posthouse.providers.sandbox.checks import Body
from posthouse.providers.sandbox.conversation import Conversation
from posthouse.providers.sandbox.directives import Directives, first_text, from_prompt
from posthouse.providers.sandbox.refusal import RequestRefused
from posthouse.providers.sandbox.structured import structured
from posthouse.wire import json

CONTEXT = 128_000
MAX_OUTPUT = 16_384
SPOKEN_TOKENS = 2_000
"""What a spoken answer counts as when a reply's size is judged."""
QUOTE = 400
"""Characters of the prompt that an answer repeats."""
THOUGHT = (
    "The sandbox is asked to think. It looks at the last message, finds no model to "
    "ask, and decides to say so."
)
REFUSAL = "The sandbox was asked to refuse, so it refuses."
FILLER = "The sandbox goes on as long as it was told to. "
TIERS = ("auto", "default", "flex", "scale", "priority", "fast")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


class Answer(Struct, frozen=True):
    """What one choice says, and what it costs in tokens."""

    content: str | None = None
    refusal: str | None = None
    reasoning: str = ""
    calls: tuple[tools.Call, ...] = ()
    finish: str = "stop"
    tokens: int = 0
    """Tokens of everything above."""


class Chat(Struct, frozen=True):
    """A request, read and answered."""

    model: str
    answers: list[Answer]
    conversation: Conversation
    legacy: bool
    """Whether calls go out as the deprecated `function_call`."""
    audio: str
    """Format of the spoken answer; empty means text."""
    top_logprobs: int
    """How many alternatives each token shows; -1 is no log probabilities."""
    predicted: str
    tier: str
    include_usage: bool


def answer(body: Body, directives: Directives) -> Chat:
    """Answer a chat; raises RequestRefused."""
    model = checks.model(body)
    chat = conversation.read(body)
    _, chat.prompt = from_prompt(chat.prompt, Directives())
    chat.tokens += sum(
        tokens.count(json.encode(body[name]).decode())
        for name in ("tools", "functions", "response_format")
        if body.get(name)
    )
    reasoning = "reasoning" in directives.behaviours
    limit = output_limit(body, reasoning=reasoning)
    if chat.tokens > CONTEXT:
        raise checks.too_long("messages", chat.tokens, CONTEXT)
    checks.sampling(body)
    checks.option(body, "reasoning_effort", EFFORTS)
    checks.option(body, "verbosity", ("low", "medium", "high"))
    calls, legacy = decide_calls(body, chat, directives)
    text = words(body, chat, directives)
    count = checks.integer(body, "n", 1, 128) or 1
    whole = Answer(
        content=None if calls else text,
        refusal=REFUSAL if "refusal" in directives.behaviours else None,
        reasoning=THOUGHT if reasoning else "",
        calls=tuple(calls),
        finish="content_filter"
        if "content-filter" in directives.behaviours
        else "stop",
    )
    answers = [
        limited(numbered(whole, index, body), checks.stops(body), limit)
        for index in range(count)
    ]
    top = top_logprobs(body)
    audio = audio_format(body)
    checks.reply_size(
        sum(one.tokens for one in answers) * (1 + max(top, 0))
        + (count * SPOKEN_TOKENS if audio else 0)
    )
    return Chat(
        model=model,
        answers=answers,
        conversation=chat,
        legacy=legacy,
        audio=audio,
        top_logprobs=top,
        predicted=first_text((checks.member(body, "prediction") or {}).get("content")),
        tier=service_tier(body),
        include_usage=checks.include_usage(body),
    )


def output_limit(body: Body, *, reasoning: bool) -> int:
    """Read the limit on output tokens."""
    old = checks.integer(body, "max_tokens", 1, 2**31)
    new = checks.integer(body, "max_completion_tokens", 1, 2**31)
    if old is not None and reasoning:
        raise checks.unsupported(
            "max_tokens", "is not taken by this model; use 'max_completion_tokens'"
        )
    if old is not None and new is not None:
        raise checks.unsupported(
            "max_tokens", "cannot stand beside 'max_completion_tokens'"
        )
    limit = new if new is not None else old
    if limit is not None and limit > MAX_OUTPUT:
        raise RequestRefused(
            f"Invalid limit: this model gives at most {MAX_OUTPUT} output tokens, "
            f"{limit} were asked for.",
            code="invalid_value",
            param="max_completion_tokens" if new is not None else "max_tokens",
        )
    return MAX_OUTPUT if limit is None else limit


def decide_calls(
    body: Body, chat: Conversation, directives: Directives
) -> tuple[list[tools.Call], bool]:
    """Decide on tool calls, and whether they are the deprecated kind."""
    parallel = checks.boolean(body, "parallel_tool_calls") is not False
    offered = tools.read_tools(body)
    choice = tools.read_choice(body, offered)
    functions = tools.read_functions(body)
    if functions and not offered:
        choice = tools.read_function_call(body, functions)
        return tools.decide(choice, chat, directives, parallel=False), True
    return tools.decide(choice, chat, directives, parallel=parallel), False


def words(body: Body, chat: Conversation, directives: Directives) -> str:
    """Write the answer's text."""
    form = checks.member(body, "response_format") or {}
    kinds = ("text", "json_object", "json_schema")
    kind = checks.option(form, "type", kinds) or "text"
    if kind == "json_schema":
        return structured(checks.member(form, "json_schema") or {}, chat.prompt)
    if kind == "json_object":
        if not chat.says_json:
            raise RequestRefused(
                "The messages must hold the word 'json' when 'response_format' is "
                "of type 'json_object'.",
                param="messages",
            )
        return json.encode({"sandbox": True, "prompt": chat.prompt[:QUOTE]}).decode()
    if directives.length is not None:
        size = directives.length * tokens.TOKEN_CHARACTERS
        return (FILLER * (size // len(FILLER) + 1))[:size]
    return chat.prompt if "echo" in directives.behaviours else sentences(chat)


def sentences(chat: Conversation) -> str:
    """Say what came in, so that a developer sees it."""
    said = ["This is the Posthouse sandbox; no model was asked."]
    if chat.results:
        said.append(f"The tool said: {quote(chat.results[-1])}")
    if chat.prompt:
        said.append(f"You wrote: {quote(chat.prompt)}")
    if chat.system:
        said.append(f"Your instructions: {quote(chat.system)}")
    if chat.media:
        listed = ", ".join(
            f"{count} {name}{'s' if count > 1 else ''}"
            for name, count in chat.media.items()
        )
        said.append(f"You sent {listed}.")
    return " ".join(said)


def quote(text: str) -> str:
    """Repeat a text, cut where it is long."""
    return text if len(text) <= QUOTE else text[:QUOTE] + "…"


def numbered(whole: Answer, index: int, body: Body) -> Answer:
    """Make the choices after the first differ, unless they are JSON."""
    form = (body.get("response_format") or {}).get("type", "text")
    if index == 0 or whole.content is None or form != "text":
        return whole
    return Answer(
        content=f"{whole.content} (choice {index})",
        refusal=whole.refusal,
        reasoning=whole.reasoning,
        finish=whole.finish,
    )


def limited(whole: Answer, stops: tuple[str, ...], limit: int) -> Answer:
    """Apply stop sequences and the limit on tokens; count what is left."""
    if whole.refusal is not None:
        whole = Answer(refusal=whole.refusal, reasoning=whole.reasoning)
    content, finish = whole.content, whole.finish
    places = [content.find(stop) for stop in stops if content and stop in content]
    if content and places:
        content = content[: min(places)]
    if content and finish == "content_filter":
        content = tokens.cut(content, tokens.count(content) // 2)
    if whole.calls:
        finish = "tool_calls"
    reasoning = tokens.cut(whole.reasoning, limit)
    left = limit - tokens.count(reasoning)
    texts = [text for text in (content, whole.refusal) if text is not None]
    texts += [call.text for call in whole.calls]
    kept = []
    for text in texts:
        kept.append(tokens.cut(text, left))
        left -= tokens.count(kept[-1])
    if kept != texts or reasoning != whole.reasoning:
        finish = "length"
    rest = iter(kept)
    return Answer(
        content=None if content is None else next(rest),
        refusal=None if whole.refusal is None else next(rest),
        reasoning=reasoning,
        calls=tuple(
            tools.Call(call.kind, call.name, text)
            for call, text in zip(whole.calls, rest, strict=False)
            if text
        ),
        finish=finish,
        tokens=limit - left,
    )


def audio_format(body: Body) -> str:
    """Read whether the answer is spoken, and in which format."""
    modalities = checks.array(body, "modalities") or ["text"]
    if "audio" not in modalities:
        return ""
    wanted = checks.member(body, "audio")
    if wanted is None:
        raise checks.missing("audio")
    form = checks.option(wanted, "format", sound.FORMATS)
    if form is None:
        raise checks.missing("audio.format")
    if body.get("stream") and form != "pcm16":
        raise checks.invalid_value("audio.format", form, ("pcm16",))
    return form


def top_logprobs(body: Body) -> int:
    """Read how many alternatives each token is to show; -1 for none at all."""
    wanted = checks.boolean(body, "logprobs")
    top = checks.integer(body, "top_logprobs", 0, 20)
    if top is not None and not wanted:
        raise RequestRefused(
            "'top_logprobs' is only allowed when 'logprobs' is enabled.",
            param="top_logprobs",
        )
    return (top or 0) if wanted else -1


def service_tier(body: Body) -> str:
    """Read the tier to name in the reply."""
    tier = checks.option(body, "service_tier", TIERS)
    named = {"fast": "priority", "auto": "default"}
    return named.get(tier, tier) if tier else "default"
