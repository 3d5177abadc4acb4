"""Every route that can cost money, with a request that the sandbox serves.

`docs/reference/routes.md` lists all routes; a POST that stands neither here nor among
those that cost nothing fails the suite. Each row is asked for more than its key can
pay, and with numbers that nobody means.
"""

import io
import json
import wave
from typing import Any

from msgspec import Struct

from posthouse.wire.multipart import Form, Part, render_form

JSON = "application/json"
TEXT = "How far is it?"
LINK = "https://pictures.example/1.png"
RECRAFTS = {"created": 1, "credits": 40, "data": [{"image_id": "i", "url": LINK}]}
STABILITYS = {"image": "AAAA", "finish_reason": "SUCCESS", "seed": 1}
MESSAGES = [{"role": "user", "content": TEXT}]
CONTENTS = [{"role": "user", "parts": [{"text": TEXT}]}]
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
)
"""A picture of one pixel."""


class Billable(Struct, frozen=True):
    """A route, and how it is asked for something that costs money."""

    path: str
    """As it is called."""
    body: bytes
    content_type: str = JSON
    route: str = ""
    """As `docs/reference/routes.md` has it, where that is a prefix."""
    members: tuple[str, ...] = ()
    """Of its JSON, those that hold numbers."""
    provider: str = "sandbox"
    """Who serves it; any other is played by a fake that gives `reply`."""
    reply: dict[str, Any] = {}

    @property
    def listed(self) -> str:
        """Its name on the page of routes."""
        return self.route or self.path

    def request(self, key: str, members: dict[str, str] | None = None) -> bytes:
        """The bytes of a call, with further members as JSON texts."""
        body = self.body
        for name, text in (members or {}).items():
            body = body[:-1] + b', "%b": %b}' % (name.encode(), text.encode())
        head = [
            f"POST {self.path} HTTP/1.1",
            "Host: gateway",
            f"Authorization: Bearer {key}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()


def _sound() -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8_000)
        sound.writeframes(bytes(16_000))
    return held.getvalue()


def _form(path: str, *parts: Part, **more: str) -> Billable:
    payload = render_form(Form(parts))
    reply = STABILITYS if more.get("provider") == "stability" else {}
    kind = payload.content_type.decode()
    return Billable(path, payload.data, kind, reply=reply, **more)


def _picture(name: str) -> Part:
    return Part(name, PIXEL, "pixel.png", b"image/png")


SAMPLING = ("temperature", "top_p", "seed")
BILLABLE = (
    Billable(
        "/v1/chat/completions",
        _json({"model": "sandbox", "messages": MESSAGES, "max_tokens": 50}),
        members=("n", "max_completion_tokens", *SAMPLING),
    ),
    Billable(
        "/v1/completions",
        _json({"model": "sandbox", "prompt": TEXT, "max_tokens": 50}),
        members=("n", "best_of", "echo", *SAMPLING),
    ),
    Billable(
        "/v1/embeddings",
        _json({"model": "sandbox-embedding", "input": TEXT}),
        members=("dimensions",),
    ),
    Billable("/v1/moderations", _json({"model": "sandbox-moderation", "input": TEXT})),
    Billable(
        "/openai/deployments/sandbox/chat/completions",
        _json({"messages": MESSAGES, "max_tokens": 50}),
        route="/openai/deployments/",
        members=("n", *SAMPLING),
    ),
    Billable(
        "/v1/responses",
        _json({"model": "sandbox", "input": TEXT, "max_output_tokens": 50}),
        members=("top_logprobs", "max_tool_calls", *SAMPLING),
    ),
    Billable(
        "/v1/messages",
        _json({"model": "sandbox", "messages": MESSAGES, "max_tokens": 50}),
        members=("top_k", "temperature", "top_p"),
    ),
    Billable(
        "/v1beta/models/sandbox:generateContent",
        _json({"contents": CONTENTS}),
        route="/v1beta/models/",
    ),
    Billable(
        "/v1beta/models/sandbox-embedding:embedContent",
        _json({"content": CONTENTS[0]}),
        route="/v1beta/models/",
        members=("outputDimensionality",),
    ),
    Billable(
        "/v1/models/sandbox:generateContent",
        _json({"contents": CONTENTS}),
        route="/v1/models/",
    ),
    Billable(
        "/v1/images/generations",
        _json({"model": "sandbox-image", "prompt": TEXT}),
        members=("n", "size", "output_compression", "partial_images"),
    ),
    _form(
        "/v1/images/edits",
        Part("model", b"sandbox-image"),
        Part("prompt", TEXT.encode()),
        _picture("image"),
    ),
    _form("/v1/images/variations", Part("model", b"sandbox-image"), _picture("image")),
    Billable(
        "/v1/audio/speech",
        _json({"model": "sandbox-speech", "input": TEXT, "voice": "alloy"}),
        members=("speed",),
    ),
    _form(
        "/v1/audio/transcriptions",
        Part("model", b"sandbox-transcription"),
        Part("file", _sound(), "sound.wav", b"audio/wav"),
    ),
    _form(
        "/v1/audio/translations",
        Part("model", b"sandbox-transcription"),
        Part("file", _sound(), "sound.wav", b"audio/wav"),
    ),
    Billable(
        "/v1/rerank",
        _json({"model": "sandbox-rerank", "query": TEXT, "documents": ["a", "b"]}),
        members=("top_n", "max_chunks_per_doc"),
    ),
    Billable(
        "/v2/rerank",
        _json({"model": "sandbox-rerank", "query": TEXT, "documents": ["a", "b"]}),
        members=("top_n", "max_tokens_per_doc"),
    ),
    Billable(
        "/v2/translate",
        _json({"model": "sandbox-translation", "text": [TEXT], "target_lang": "FR"}),
    ),
    Billable(
        "/v1/translations",
        _json(
            {"model": "sandbox-translation", "text": [TEXT], "target_language": "fr"}
        ),
    ),
    Billable(
        "/api/trans/vip/translate",
        b"model=sandbox-translation&q=apple&from=en&to=zh",
        "application/x-www-form-urlencoded",
    ),
    Billable(
        "/api/v3/images/generations",
        _json({"model": "sandbox-image", "prompt": TEXT}),
        members=("seed", "guidance_scale", "size"),
    ),
    Billable(
        "/api/paas/v4/images/generations",
        _json({"model": "sandbox-image", "prompt": TEXT}),
        members=("size",),
    ),
    Billable(
        "/api/v1/services/aigc/multimodal-generation/generation",
        _json(
            {
                "model": "qwen-image",
                "input": {"messages": [{"role": "user", "content": [{"text": TEXT}]}]},
            }
        ),
        provider="dashscope-native",
        reply={
            "output": {
                "choices": [
                    {
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": [{"image": LINK}]},
                    }
                ]
            },
            "usage": {"image_count": 1},
            "request_id": "r",
        },
    ),
    Billable(
        "/ideogram/generate",
        _json({"image_request": {"model": "V_3", "prompt": TEXT}}),
        route="/ideogram/",
        provider="ideogram",
        reply={
            "created": "2026-01-01T00:00:00+00:00",
            "data": [{"url": LINK, "is_image_safe": True, "prompt": TEXT, "seed": 1}],
        },
    ),
    Billable(
        "/recraft/v1/images/generations",
        _json({"model": "recraftv3", "prompt": TEXT}),
        route="/recraft/",
        members=("n", "random_seed"),
        provider="recraft",
        reply=RECRAFTS,
    ),
    Billable(
        "/recraftAI/v1/images/generations",
        _json({"model": "recraftv3", "prompt": TEXT}),
        route="/recraftAI/",
        provider="recraft",
        reply=RECRAFTS,
    ),
    *(
        _form(path, Part("prompt", TEXT.encode()), route=route, provider="stability")
        for path, route in (
            ("/v2beta/stable-image/generate/core", "/v2beta/stable-image/"),
            ("/stability/v2beta/stable-image/generate/core", "/stability/"),
        )
    ),
    Billable(
        "/v1/responses/compact",
        _json({"model": "gpt-4o", "input": TEXT}),
        route="/v1/responses/",
        provider="openai",
        reply={
            "id": "cmp_1",
            "object": "response.compaction",
            "output": [],
            "usage": {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12},
        },
    ),
    Billable(
        "/v1/generation/stable-diffusion-xl-1024-v1-0/text-to-image",
        _json({"text_prompts": [{"text": TEXT}], "samples": 1}),
        route="/v1/generation/",
        provider="stability",
        reply={"artifacts": [{"base64": "AAAA", "finishReason": "SUCCESS"}]},
    ),
)
"""One or several of each route."""
FREE = {
    "/v1/messages/count_tokens": "counting costs nothing",
    "/v1/files": "keeping files costs nothing; there is a quota",
    "/v1/uploads": "the same, in parts",
    "/v1/uploads/": "the same, in parts",
    "/v1/batches": "each of its lines is a call of its own route",
    "/v1/batches/": "cancelling",
    "/v1/messages/batches": "each of its requests is a call of its own",
    "/v1/messages/batches/": "cancelling",
    "/v1/realtime/client_secrets": "its sessions are billed",
    "/v1/realtime/transcription_sessions": "its sessions are billed",
    "/v1/realtime/": "refused",
    "/v2/usage": "figures",
    "/v2/languages": "names of languages",
    "/v1/": "priced route by route: tests of what is relayed as it stands",
}
"""Routes that take a POST and never charge, or elsewhere; why."""
