"""Takes a request apart and hands it to the operation it is for.

Order: the model's directives, then those at the prompt's start, then the
answer, then the faults that were asked for. A fault is played even when the
request itself is wrong, as it would be by a provider that is broken.
"""

from collections.abc import Callable
from typing import Any

from posthouse.model.exchange import Script, UpstreamRequest
from posthouse.providers.sandbox import (
    chat,
    chat_reply,
    completions,
    embeddings,
    faults,
    images,
    moderations,
    reranking,
    speech,
    transcription,
    translations,
    usages,
)
from posthouse.providers.sandbox.checks import Body
from posthouse.providers.sandbox.directives import (
    Directives,
    first_text,
    from_model,
    from_prompt,
)
from posthouse.providers.sandbox.forms import read_form_body
from posthouse.providers.sandbox.identity import CREATED, Identity, identify
from posthouse.providers.sandbox.refusal import RequestRefused
from posthouse.providers.sandbox.reply import (
    Pace,
    Reply,
    json_reply,
    render,
    stream_reply,
)
from posthouse.providers.sandbox.shelf import Shelf
from posthouse.wire import json
from posthouse.wire.multipart import is_form

SHELF = Shelf()
"""What callers of this process keep here."""
MODELS = (
    "sandbox",
    "sandbox-slow",
    "sandbox-reasoning",
    "sandbox-embedding",
    "sandbox-moderation",
    "sandbox-rerank",
    "sandbox-translation",
    "sandbox-image",
    "sandbox-image-tokens",
    "sandbox-speech",
    "sandbox-speech-tokens",
    "sandbox-transcription",
    "sandbox-transcription-tokens",
    "sandbox-realtime",
)


def play(request: UpstreamRequest) -> Script:
    """Answer a request as a provider would: raw HTTP/1.1 with its delays.

    Never raises: what cannot be answered is answered with an error, as a
    provider does.
    """
    try:
        return answer(request)
    except RequestRefused as refused:
        return render(refused.reply(), Pace())


def answer(request: UpstreamRequest) -> Script:
    """Answer a request; raises RequestRefused."""
    path = request.target.partition("?")[0].partition("/v1/")[2]
    if request.method == "GET" and path == "models":
        return render(models(), Pace())
    if path not in OPERATIONS:
        return render(SHELF.answer(request), Pace())
    if request.method != "POST":
        raise RequestRefused(f"{request.method} is not taken here.", status=405)
    body = read_any_body(request)
    directives = read_directives(body)
    if directives.status:
        return render(faults.error_reply(directives.status), directives.pace)
    identity = identify(request.body)
    if not directives.fault:
        return render(OPERATIONS[path](body, directives, identity), directives.pace)
    try:
        reply = OPERATIONS[path](body, directives, identity)
    except RequestRefused as refused:
        reply = refused.reply()
    return faults.FAULTS[directives.fault](reply, directives.pace)


def read_any_body(request: UpstreamRequest) -> Body:
    """Decode a request's body, JSON or a form."""
    kind = next((v for name, v in request.headers if name == b"content-type"), b"")
    if is_form(kind):
        return read_form_body(kind, request.body)
    return read_body(request.body)


def read_body(data: bytes) -> Body:
    """Decode a request's body."""
    try:
        return json.decode(data, dict[str, Any])
    except json.MalformedJSON:
        raise RequestRefused("The request's body is not a JSON object.") from None


def read_directives(body: Body) -> Directives:
    """Read the directives of the model's name and of the prompt."""
    model = body.get("model")
    found = from_model(model) if isinstance(model, str) else Directives()
    return from_prompt(prompt_of(body), found)[0]


def prompt_of(body: Body) -> str:
    """Give the last user message's text, or a prompt's or input's first."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        asked = (body.get(name) for name in ("prompt", "input", "query", "text"))
        return first_text(next(filter(None, asked), None))
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            return first_text(message.get("content"))
    return ""


def models() -> Reply:
    """List the sandbox's models."""
    listed = [
        {"id": name, "object": "model", "created": CREATED, "owned_by": "sandbox"}
        for name in MODELS
    ]
    return json_reply({"object": "list", "data": listed})


def reply_to_chat(body: Body, directives: Directives, identity: Identity) -> Reply:
    """Answer a chat."""
    answered = chat.answer(body, directives)
    if body.get("stream"):
        chunks = chat_reply.chunks(answered, identity)
        return stream_reply(usages.distorted_chunks(chunks, directives))
    document = chat_reply.document(answered, identity)
    return json_reply(usages.distorted(document, directives))


def reply_to_completion(
    body: Body, directives: Directives, identity: Identity
) -> Reply:
    """Answer a completion."""
    answered = completions.answer(body, directives)
    if body.get("stream"):
        chunks = completions.chunks(answered, identity)
        return stream_reply(usages.distorted_chunks(chunks, directives))
    document = completions.document(answered, identity)
    return json_reply(usages.distorted(document, directives))


def reply_to_embedding(body: Body, directives: Directives, _: Identity) -> Reply:
    """Answer an embedding request."""
    return json_reply(usages.distorted(embeddings.answer(body), directives))


def reply_to_moderation(body: Body, _: Directives, identity: Identity) -> Reply:
    """Answer a moderation request."""
    return json_reply(moderations.answer(body, identity))


def reply_to_rerank(body: Body, directives: Directives, _: Identity) -> Reply:
    """Answer a rerank request."""
    return json_reply(usages.distorted(reranking.answer(body), directives))


def reply_to_translation(body: Body, _: Directives, __: Identity) -> Reply:
    """Answer a translation request."""
    return json_reply(translations.answer(body))


OPERATIONS: dict[str, Callable[[Body, Directives, Identity], Reply]] = {
    "chat/completions": reply_to_chat,
    "completions": reply_to_completion,
    "embeddings": reply_to_embedding,
    "moderations": reply_to_moderation,
    "rerank": reply_to_rerank,
    "translate": reply_to_translation,
    "images/generations": images.generate,
    "images/edits": images.edit,
    "images/variations": images.vary,
    "audio/speech": speech.speak,
    "audio/transcriptions": transcription.transcribe,
    "audio/translations": transcription.translate,
}
