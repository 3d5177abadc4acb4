"""Makers of pictures: their own documented calls, and OpenAI's led to them.

The providers are a fake that answers as each one's documentation shows.
"""

import base64
import http.client
import io
import json
from collections.abc import Iterator
from email.message import Message
from typing import Any

import openai
import pytest
from PIL import Image
from tests.conftest import StartPosthouse
from tests.fakes.steps import Behaviour, Request, Send, json_reply, reply
from tests.support.fake import ThreadedFake
from tests.support.posthouse import Posthouse

from posthouse.wire.multipart import Part, read_form

KEY = "sk-makers-0123456789abcdefghijklmnopqrstuvwxyzABCDE"
CONFIGURATION = """
[[channels]]
name = "ideogram"
provider = "ideogram"
base_url = "{origin}"
api_key = "ideogram-secret"
models = ["V_2", "V_3", "ideogram-describe"]

[[channels]]
name = "recraft"
provider = "recraft"
base_url = "{origin}"
api_key = "recraft-secret"
models = ["recraftv3"]

[[channels]]
name = "stability"
provider = "stability"
base_url = "{origin}"
api_key = "stability-secret"
models = ["stable-image-core", "stable-image-inpaint", "sd3.5-large"]

[[channels]]
name = "ark"
provider = "volcengine-ark"
base_url = "{origin}/api/v3"
api_key = "ark-secret"
models = ["doubao-seedream-4-0-250828"]

[[channels]]
name = "zhipu"
provider = "zhipu"
base_url = "{origin}/api/paas/v4"
api_key = "zhipu-secret"
models = ["cogview-4"]

[[channels]]
name = "google"
provider = "google"
base_url = "{origin}"
api_key = "google-secret"
models = ["gemini-2.5-flash-image"]

[[keys]]
name = "app"
key = "{key}"
balance_usd = "50"
"""


def png(colour: int = 0) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (8, 8), (colour, 0, 0)).save(held, "PNG")
    return held.getvalue()


PICTURE = png()
TEXT = base64.b64encode(PICTURE).decode()


class Makers:
    """Answers as each provider's documentation shows."""

    def __init__(self) -> None:
        self.origin = ""
        self.pictures = 0

    def __call__(self, request: Request) -> Behaviour:
        path = request.target.partition("?")[0]
        if path.startswith("/files/"):
            self.pictures += 1
            return _made(reply(200, PICTURE, content_type="binary/octet-stream"))
        return _made(json_reply(200, self.answer(path)))

    def answer(self, path: str) -> Any:
        url = f"{self.origin}/files/1.png"
        made: dict[str, Any] = {"image_id": "i", "url": url, "revised_prompt": None}
        usage = {"generated_images": 1, "output_tokens": 4096, "total_tokens": 4096}
        answers: dict[str, Any] = {
            "/describe": {"descriptions": [{"text": "A fox."}]},
            "/v1/ideogram-v3/": _ideograms(url),
            "/v1/images/generations": {"created": 1, "credits": 40, "data": [made]},
            "/v1/images/": {"created": 1, "credits": 10, "image": made},
            "/v2beta/": {"image": TEXT, "finish_reason": "SUCCESS", "seed": 1},
            "/api/v3/": {"model": "m", "created": 1, "data": [made], "usage": usage},
            "/api/paas/v4/": {"created": 1, "data": [{"url": url}]},
            "/v1beta/": _geminis(),
            "/": _ideograms(url),
        }
        return next(found for start, found in answers.items() if path.startswith(start))


def _ideograms(url: str) -> Any:
    made = {"prompt": "a red fox", "resolution": "1024x1024", "seed": 12}
    return {
        "created": "2026-01-01T00:00:00+00:00",
        "data": [
            {**made, "url": url, "is_image_safe": True},
            {**made, "url": None, "is_image_safe": False},
        ],
    }


def _geminis() -> Any:
    counts = [{"modality": "IMAGE", "tokenCount": 1290}]
    parts = [{"inlineData": {"mimeType": "image/png", "data": TEXT}}]
    return {
        "candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": 6,
            "candidatesTokenCount": 1290,
            "candidatesTokensDetails": counts,
        },
    }


def _made(data: bytes) -> Behaviour:
    return Behaviour("made", (Send(data),))


@pytest.fixture(scope="module")
def makers() -> Makers:
    return Makers()


@pytest.fixture(scope="module")
def fake(makers: Makers) -> Iterator[ThreadedFake]:
    with ThreadedFake(makers) as fake:
        makers.origin = fake.origin
        yield fake


@pytest.fixture(scope="module")
def posthouse(start_posthouse: StartPosthouse, fake: ThreadedFake) -> Posthouse:
    port = fake.origin.rpartition(":")[2]
    reachable = {
        "POSTHOUSE_EGRESS_ALLOW": "127.0.0.1",
        "POSTHOUSE_EGRESS_PORTS": port,
    }
    configuration = CONFIGURATION.format(origin=fake.origin, key=KEY)
    return start_posthouse(configuration, environment=reachable)


@pytest.fixture(scope="module")
def sdk(posthouse: Posthouse) -> Iterator[openai.OpenAI]:
    url = posthouse.url + "/v1"
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


def ask(
    posthouse: Posthouse, path: str, body: bytes, headers: dict[str, str]
) -> tuple[int, Message, bytes]:
    connection = http.client.HTTPConnection(posthouse.url[7:], timeout=20)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def form(**fields: Any) -> tuple[bytes, str]:
    """A form as curl writes it; bytes are files."""
    pieces = []
    for name, value in fields.items():
        file = '; filename="a.png"' if isinstance(value, bytes) else ""
        kind = "\r\nContent-Type: image/png" if file else ""
        head = f'--XyZ\r\nContent-Disposition: form-data; name="{name}"{file}{kind}'
        data = value if isinstance(value, bytes) else str(value).encode()
        pieces += [head.encode(), b"\r\n\r\n", data, b"\r\n"]
    return b"".join([*pieces, b"--XyZ--\r\n"]), "multipart/form-data; boundary=XyZ"


# --- their own calls --------------------------------------------------------------


def test_ideograms_documented_call(posthouse: Posthouse, fake: ThreadedFake) -> None:
    """The relay's prefix, the header of its documentation, its body to the letter."""
    body = (
        b'{"image_request":{"prompt":"red fox logo","model":"V_2",'
        b'"aspect_ratio":"ASPECT_16_9","magic_prompt_option":"OFF","num_images":2}}'
    )
    headers = {"Api-Key": KEY, "Content-Type": "application/json"}
    status, told, data = ask(posthouse, "/ideogram/generate", body, headers)
    assert (status, len(json.loads(data)["data"])) == (200, 2)
    sent = fake.everything[-1].request
    assert (sent.target, sent.body) == ("/generate", body)
    assert sent.header(b"api-key") == b"ideogram-secret"
    # One of the two was unsafe.
    record = posthouse.call(told["x-request-id"])
    assert (record["usage"], record["price_usd"]) == ({"image": 1}, "0.08")


def test_ideograms_form_of_its_third_version(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    body, kind = form(
        prompt="a fox", rendering_speed="QUALITY", style_reference_images=PICTURE
    )
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": kind}
    path = "/ideogram/v1/ideogram-v3/generate"
    status, told, _ = ask(posthouse, path, body, headers)
    sent = fake.everything[-1].request
    assert (status, sent.target) == (200, "/v1/ideogram-v3/generate")
    assert PICTURE in sent.body
    record = posthouse.call(told["x-request-id"])
    assert (record["requested_model"], record["price_usd"]) == ("V_3", "0.09")


def test_recrafts_documented_calls(posthouse: Posthouse, fake: ThreadedFake) -> None:
    """Its documentation shows OpenAI's SDK with its own base URL."""
    with openai.OpenAI(base_url=posthouse.url + "/recraft/v1", api_key=KEY) as client:
        made = client.images.with_raw_response.generate(
            prompt="fox icon", extra_body={"style": "vector_illustration"}
        )
        assert (made.parse().data or [])[0].url
        assert fake.everything[-1].request.json["style"] == "vector_illustration"
        record = posthouse.call(made.headers["x-request-id"])
        assert (record["requested_model"], record["price_usd"]) == ("recraftv3", "0.08")
        vector = client.post(
            path="/images/vectorize",
            cast_to=object,
            options={"headers": {"Content-Type": "multipart/form-data"}},
            files={"file": PICTURE},
        )
    assert isinstance(vector, dict)
    assert vector["image"]["url"]
    sent = fake.everything[-1].request
    assert sent.target == "/v1/images/vectorize"
    assert sent.header(b"authorization") == b"Bearer recraft-secret"


@pytest.mark.parametrize("accept", ["image/*", "application/json"])
def test_stabilitys_documented_call(
    posthouse: Posthouse, fake: ThreadedFake, accept: str
) -> None:
    """A picture where it is accepted, JSON where that is."""
    body, kind = form(prompt="a fox", output_format="png", none=b"")
    headers = {
        "Authorization": f"Bearer {KEY}",
        "Content-Type": kind,
        "Accept": accept,
    }
    path = "/v2beta/stable-image/generate/core"
    status, told, data = ask(posthouse, path, body, headers)
    assert status == 200
    assert fake.everything[-1].request.header(b"accept") == b"application/json"
    if accept == "image/*":
        assert (told["content-type"], data) == ("image/png", PICTURE)
        assert (told["finish-reason"], told["seed"]) == ("SUCCESS", "1")
    else:
        assert json.loads(data)["finish_reason"] == "SUCCESS"
    assert posthouse.call(told["x-request-id"])["price_usd"] == "0.03"


def test_what_is_at_no_path_of_theirs_is_not_relayed(posthouse: Posthouse) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    for path in ("/ideogram/admin", "/recraft/v1/users/me", "/stability/v1/user"):
        status, _, _ = ask(posthouse, path, b"{}", headers)
        assert status == 404, path


# --- OpenAI's calls ---------------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        ("V_2", "0.08"),
        ("recraftv3", "0.04"),
        ("stable-image-core", "0.03"),
        ("doubao-seedream-4-0-250828", None),
        ("cogview-4", None),
        ("gemini-2.5-flash-image", "0.0387018"),
    ],
    ids=lambda case: case[0],
)
@pytest.mark.parametrize("form", ["b64_json", "url"])
def test_openais_sdk_at_every_maker(
    posthouse: Posthouse, sdk: openai.OpenAI, case: tuple[str, str | None], form: Any
) -> None:
    """The form that is asked for comes, whatever the maker gives."""
    model, price = case
    reply = sdk.images.with_raw_response.generate(
        model=model, prompt="a fox", size="1024x1024", response_format=form
    )
    made = (reply.parse().data or [])[0]
    if form == "b64_json":
        assert made.url is None
        assert base64.b64decode(made.b64_json or "") == PICTURE
    else:
        assert made.b64_json is None
        assert (made.url or "").startswith("http://127.0.0.1:")
    record = posthouse.call(reply.headers["x-request-id"])
    assert record["usage"]["image"] == 1
    assert price is None or record["price_usd"] == price


def test_several_pictures_of_a_model_that_makes_one(
    posthouse: Posthouse, sdk: openai.OpenAI, fake: ThreadedFake
) -> None:
    """As many requests, and as many are billed."""
    before = len(fake.everything)
    reply = sdk.images.with_raw_response.generate(
        model="gemini-2.5-flash-image", prompt="a fox", n=3
    )
    assert len(reply.parse().data or []) == 3
    assert len(fake.everything) - before == 3
    record = posthouse.call(reply.headers["x-request-id"])
    assert record["usage"] == {"input": 18, "image_output": 3870, "image": 3}
    assert record["price_usd"] == "0.1161054"


def test_a_stream_of_a_maker_that_has_none_has_the_whole_picture(
    posthouse: Posthouse, sdk: openai.OpenAI
) -> None:
    # The last of them gives a URL, for which the event has no place.
    asked = (("gemini-2.5-flash-image", 2), ("stable-image-core", 1), ("cogview-4", 2))
    for model, count in asked:
        raw = sdk.images.with_raw_response.generate(
            model=model, prompt="a fox", stream=True, n=count
        )
        events = list(raw.parse())
        assert [event.type for event in events] == [
            "image_generation.completed"
        ] * count
        assert base64.b64decode(events[0].b64_json) == PICTURE
        record = posthouse.call(raw.headers["x-request-id"])
        assert record["usage"]["image"] == count


def test_an_edit_by_url_reaches_a_maker_that_takes_bytes(
    posthouse: Posthouse, fake: ThreadedFake, makers: Makers
) -> None:
    body = {
        "model": "sd3.5-large",
        "prompt": "a hat",
        "images": [{"image_url": f"{fake.origin}/files/1.png"}],
    }
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    path = "/v1/images/edits"
    status, _, data = ask(posthouse, path, json.dumps(body).encode(), headers)
    assert status == 200, data
    sent = fake.everything[-1].request
    assert sent.target == "/v2beta/stable-image/generate/sd3"
    assert PICTURE in sent.body


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest/", "http://localhost:1/", "file:///etc/passwd"],
)
def test_an_edit_by_url_leads_nowhere_private(posthouse: Posthouse, url: str) -> None:
    body = {
        "model": "sd3.5-large",
        "prompt": "a hat",
        "images": [{"image_url": url}],
    }
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    path = "/v1/images/edits"
    status, told, _ = ask(posthouse, path, json.dumps(body).encode(), headers)
    assert status == 400
    record = posthouse.call(told["x-request-id"])
    assert record["price_usd"] == "0.00"


def test_a_mask_is_told_as_each_maker_has_it(
    sdk: openai.OpenAI, posthouse: Posthouse, fake: ThreadedFake
) -> None:
    """OpenAI's are transparent where the picture changes, others' black or white."""
    held = io.BytesIO()
    mask = Image.new("RGBA", (8, 8), (9, 9, 9, 255))
    mask.putpixel((3, 5), (9, 9, 9, 0))
    mask.save(held, "PNG")
    for model, changes in (
        ("V_2", 0),
        ("V_3", 0),
        ("recraftv3", 255),
        ("stable-image-inpaint", 255),
    ):
        sdk.images.edit(
            model=model, image=PICTURE, mask=held.getvalue(), prompt="a hat"
        )
        sent = next(
            one.request
            for one in reversed(fake.everything)
            if one.request.method == "POST"
        )
        kind = dict(sent.headers)[b"content-type"]
        part = read_form(kind, sent.body).first("mask")
        assert isinstance(part, Part)
        turned = Image.open(io.BytesIO(part.value))
        assert (turned.mode, turned.size) == ("L", (8, 8)), model
        assert turned.getpixel((3, 5)) == changes, model
        assert turned.getpixel((5, 3)) == 255 - changes, model


def test_a_mask_that_is_broken_is_refused(sdk: openai.OpenAI) -> None:
    held = io.BytesIO()
    Image.new("RGBA", (8, 8)).save(held, "PNG")
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.images.edit(
            model="V_2", image=PICTURE, mask=held.getvalue()[:50], prompt="a hat"
        )
    assert (caught.value.param, caught.value.code) == ("mask", "invalid_image_file")


@pytest.mark.parametrize(
    ("body", "price"),
    [
        ({"model": "V_3", "quality": "hd"}, "0.09"),
        ({"model": "V_3", "rendering_speed": "TURBO"}, "0.03"),
        ({"model": "recraftv3", "style": "vector_illustration"}, "0.08"),
    ],
)
def test_a_maker_is_paid_by_its_own_words(
    posthouse: Posthouse, body: dict[str, str], price: str
) -> None:
    """What decides the price is what the maker was told."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    data = json.dumps({"prompt": "a fox", **body}).encode()
    status, told, _ = ask(posthouse, "/v1/images/generations", data, headers)
    assert status == 200
    assert posthouse.call(told["x-request-id"])["price_usd"] == price


def test_pictures_beside_a_prompt_reach_a_maker_that_takes_them(
    posthouse: Posthouse, fake: ThreadedFake
) -> None:
    """As callers of Ark write it, also for makers who take bytes."""
    url = f"{fake.origin}/files/1.png"
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    for model in ("doubao-seedream-4-0-250828", "gemini-2.5-flash-image"):
        data = json.dumps({"model": model, "prompt": "a hat", "image": [url]}).encode()
        status, _, found = ask(posthouse, "/v1/images/generations", data, headers)
        assert status == 200, found
        sent = fake.everything[-1].request.json
        if "image" in sent:
            assert sent["image"] == url
        else:
            assert sent["contents"][0]["parts"][0]["inlineData"]["data"] == TEXT
