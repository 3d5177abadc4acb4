"""Files and uploads, by the SDKs of those whose APIs they are."""

import hashlib
import io
from collections.abc import Iterator

import anthropic
import httpx2
import openai
import pytest
from tests.acceptance.configuration import KEYS
from tests.conftest import StartPosthouse
from tests.support.posthouse import Posthouse

TIMEOUT = 20.0
CONFIGURATION = f"""
[[channels]]
name = "sandbox"
provider = "sandbox"

[[keys]]
name = "app"
key = "{KEYS["app"]}"
balance_usd = "1"

[[keys]]
name = "other"
key = "{KEYS["poor"]}"
balance_usd = "1"
"""
QUOTA, LARGEST = 4 * 2**20, 2 * 2**20
PDF = b"%PDF-1.4 a small one"


@pytest.fixture(scope="module")
def server(start_posthouse: StartPosthouse) -> Posthouse:
    """A Posthouse that keeps little."""
    return start_posthouse(
        CONFIGURATION,
        {
            "POSTHOUSE_FILES_QUOTA_BYTES": str(QUOTA),
            "POSTHOUSE_FILE_MAX_BYTES": str(LARGEST),
            "POSTHOUSE_FILE_INPUT_BYTES": str(2**20),
        },
    )


@pytest.fixture
def app(server: Posthouse) -> Iterator[openai.OpenAI]:
    """A caller, whose files are gone afterwards."""
    with _client(server, "app") as client:
        yield client
        for file in client.files.list():
            client.files.delete(file.id)


@pytest.fixture
def other(server: Posthouse) -> Iterator[openai.OpenAI]:
    """A caller of another account."""
    with _client(server, "poor") as client:
        yield client


@pytest.fixture
def claude(server: Posthouse) -> Iterator[anthropic.Anthropic]:
    """The first caller, by Anthropic's SDK."""
    with anthropic.Anthropic(
        base_url=server.url, api_key=KEYS["app"], max_retries=0, timeout=TIMEOUT
    ) as client:
        yield client


def _client(server: Posthouse, key: str) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=server.url + "/v1",
        api_key=KEYS[key],
        max_retries=0,
        timeout=TIMEOUT,
    )


def test_a_file_comes_back_as_it_was(app: openai.OpenAI) -> None:
    """Made, described, listed, read and deleted."""
    content = bytes(range(256)) * 1000
    made = app.files.create(
        file=("../a b.bin", content),
        purpose="user_data",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert made.filename == "a b.bin"
    assert made.bytes == len(content)
    assert made.expires_at is not None
    assert made.expires_at - made.created_at == 3600
    assert app.files.retrieve(made.id) == made
    assert [file.id for file in app.files.list()] == [made.id]
    assert app.files.content(made.id).read() == content
    assert app.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        app.files.retrieve(made.id)


def test_a_list_comes_in_pages(app: openai.OpenAI) -> None:
    """In both orders, and for one purpose alone."""
    purposes = ["user_data", "vision", "user_data", "vision", "user_data"]
    made = [
        app.files.create(file=(f"{n}.txt", b"x"), purpose=purpose).id  # type: ignore[arg-type]  # from a list
        for n, purpose in enumerate(purposes)
    ]
    assert [file.id for file in app.files.list(limit=2)] == made[::-1]
    assert [file.id for file in app.files.list(limit=3, order="asc")] == made
    assert [file.id for file in app.files.list(purpose="vision")] == made[3:0:-2]
    page = app.files.list(limit=2, after=made[3])
    assert [file.id for file in page.data] == [made[2], made[1]]
    assert page.has_more


def test_to_everybody_else_it_does_not_exist(
    app: openai.OpenAI, other: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    """By whichever API and method."""
    file = app.files.create(file=("a.pdf", PDF), purpose="user_data").id
    for ask in (other.files.retrieve, other.files.content, other.files.delete):
        with pytest.raises(openai.NotFoundError):
            ask(file)
    assert list(other.files.list()) == []
    with pytest.raises(openai.BadRequestError, match="no file"):
        _chat(other, file)
    upload = app.uploads.create(
        bytes=3, filename="a", mime_type="text/plain", purpose="user_data"
    )
    with pytest.raises(openai.NotFoundError):
        other.uploads.parts.create(upload.id, data=b"abc")
    with pytest.raises(openai.NotFoundError):
        other.uploads.cancel(upload.id)
    app.uploads.cancel(upload.id)
    assert claude.beta.files.retrieve_metadata(file).size_bytes == len(PDF)


def test_anthropics_clients_have_the_same_files(
    app: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    """Made, listed page by page, read and deleted."""
    made = [
        claude.beta.files.upload(file=(f"{n}.pdf", PDF, "application/pdf"))
        for n in range(3)
    ]
    assert made[0].mime_type == "application/pdf"
    assert made[0].downloadable
    names = [file.id for file in made[::-1]]
    assert [file.id for file in claude.beta.files.list(limit=2)] == names
    assert [file.id for file in app.files.list()] == names
    assert claude.beta.files.download(names[0]).read() == PDF
    assert claude.beta.files.delete(names[0]).type == "file_deleted"
    with pytest.raises(anthropic.NotFoundError):
        claude.beta.files.retrieve_metadata(names[0])


def test_older_clients_of_anthropics_name_the_page_s_neighbours(
    claude: anthropic.Anthropic, app: openai.OpenAI, server: Posthouse
) -> None:
    """By `before_id` and `after_id`."""
    made = [claude.beta.files.upload(file=(f"{n}", b"x")).id for n in range(5)][::-1]

    def ask(query: str) -> dict[str, object]:
        reply = httpx2.get(
            f"{server.url}/v1/files?{query}",
            headers={"x-api-key": KEYS["app"], "anthropic-version": "2023-06-01"},
        )
        page: dict[str, object] = reply.json()
        return page

    def names(page: dict[str, object]) -> list[str]:
        data = page["data"]
        assert isinstance(data, list)
        return [file["id"] for file in data]

    page = ask(f"limit=2&after_id={made[0]}")
    assert (names(page), page["has_more"]) == (made[1:3], True)
    page = ask(f"limit=2&before_id={made[4]}")
    assert (names(page), page["has_more"]) == (made[2:4], True)
    page = ask(f"limit=2&before_id={made[1]}")
    assert (names(page), page["has_more"]) == (made[:1], False)
    assert names(ask(f"ids={made[1]}&ids={made[3]}&ids=file-none")) == [
        made[1],
        made[3],
    ]


def test_uploads_come_in_parts(app: openai.OpenAI) -> None:
    """In any order; what is put together must be what was to come."""
    content = b"first-second-third"
    upload = app.uploads.create(
        bytes=len(content),
        filename="parts.txt",
        mime_type="text/plain",
        purpose="user_data",
    )
    parts = {
        data: app.uploads.parts.create(upload.id, data=data).id
        for data in (b"-third", b"first", b"-second")
    }
    order = [parts[b"first"], parts[b"-second"], parts[b"-third"]]
    with pytest.raises(openai.BadRequestError, match="18"):
        app.uploads.complete(upload.id, part_ids=order[:2])
    with pytest.raises(openai.BadRequestError, match="md5"):
        app.uploads.complete(upload.id, part_ids=order, md5="0" * 32)
    with pytest.raises(openai.BadRequestError, match="part_ids"):
        app.uploads.complete(upload.id, part_ids=[order[0], order[0], order[1]])
    with pytest.raises(openai.APIStatusError) as refused:
        app.uploads.parts.create(upload.id, data=b"more than there is room for")
    assert refused.value.status_code == 413
    checksum = hashlib.md5(content, usedforsecurity=False).hexdigest()
    done = app.uploads.complete(upload.id, part_ids=order, md5=checksum)
    assert done.status == "completed"
    assert done.file is not None
    assert app.files.content(done.file.id).read() == content
    with pytest.raises(openai.BadRequestError, match="completed"):
        app.uploads.parts.create(upload.id, data=b"late")


def test_an_upload_can_be_given_up(app: openai.OpenAI) -> None:
    """Then it takes no more parts, and its room is free again."""
    size = LARGEST
    for _ in range(4):
        upload = app.uploads.create(
            bytes=size, filename="a", mime_type="text/plain", purpose="user_data"
        )
        app.uploads.parts.create(upload.id, data=b"some")
        assert app.uploads.cancel(upload.id).status == "cancelled"
        with pytest.raises(openai.BadRequestError, match="cancelled"):
            app.uploads.parts.create(upload.id, data=b"late")


def test_an_account_has_so_much_room(app: openai.OpenAI, other: openai.OpenAI) -> None:
    """What is too large, or too much, is refused; others have their own room."""
    with pytest.raises(openai.APIStatusError) as refused:
        app.files.create(file=io.BytesIO(bytes(LARGEST + 1)), purpose="user_data")
    assert refused.value.status_code == 413
    whole = bytes(LARGEST - 2**18)
    first = app.files.create(file=whole, purpose="user_data")
    app.files.create(file=whole, purpose="user_data")
    with pytest.raises(openai.BadRequestError) as full:
        app.files.create(file=whole, purpose="user_data")
    assert full.value.code == "storage_quota_exceeded"
    upload = app.uploads.create(
        bytes=2**18, filename="a", mime_type="text/plain", purpose="user_data"
    )
    with pytest.raises(openai.BadRequestError) as full:
        # What an upload may bring counts from its beginning.
        app.files.create(file=bytes(2**19), purpose="user_data")
    assert full.value.code == "storage_quota_exceeded"
    app.uploads.cancel(upload.id)
    theirs = other.files.create(file=whole, purpose="user_data")
    other.files.delete(theirs.id)
    app.files.delete(first.id)
    app.files.create(file=whole, purpose="user_data")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"purpose": ""},
        {"purpose": "batch_output"},
        {"purpose": "user_data", "expires_after[anchor]": "created_at"},
        {
            "purpose": "user_data",
            "expires_after[anchor]": "created_at",
            "expires_after[seconds]": "5",
        },
    ],
)
def test_what_is_said_of_a_file_is_judged(
    fields: dict[str, str], server: Posthouse, app: openai.OpenAI
) -> None:
    """And nothing is kept of what is refused."""
    reply = httpx2.post(
        f"{server.url}/v1/files",
        headers={"authorization": f"Bearer {KEYS['app']}"},
        data=fields,
        files={"file": ("a.txt", b"abc")},
    )
    assert reply.status_code == 400
    assert list(app.files.list()) == []


def test_nothing_that_a_browser_would_run_is_given(
    app: openai.OpenAI, server: Posthouse
) -> None:
    """Whatever was said of it, and however it is called."""
    name = 'a"; x=\r\nset-cookie: b=c\n.html'
    made = app.files.create(file=(name, b"<script>", "text/html"), purpose="user_data")
    reply = httpx2.get(
        f"{server.url}/v1/files/{made.id}/content",
        headers={"authorization": f"Bearer {KEYS['app']}"},
    )
    assert reply.content == b"<script>"
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-disposition"].startswith("attachment;")
    assert "set-cookie" not in reply.headers


def _chat(client: openai.OpenAI, file: str) -> str | None:
    reply = client.chat.completions.create(
        model="sandbox",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "file", "file": {"file_id": file}},
                ],
            }
        ],
    )
    return reply.choices[0].message.content


def test_calls_may_name_files(app: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    """In the dialect of each of the three, whatever the provider knows of it."""
    file = app.files.create(file=("a.pdf", PDF), purpose="user_data").id
    assert "You sent 1 file" in (_chat(app, file) or "")
    response = app.responses.create(
        model="sandbox",
        input=[
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is this?"},
                    {"type": "input_file", "file_id": file},
                ],
            }
        ],
    )
    assert "You sent 1 file" in response.output_text
    message = claude.beta.messages.create(
        model="sandbox",
        max_tokens=100,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "document", "source": {"type": "file", "file_id": file}}
                ],
            }
        ],
    )
    block = message.content[0]
    assert block.type == "text"
    assert "You sent 1 file" in block.text


def test_names_of_no_file_are_told(
    app: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    """In the caller's own dialect; so are files that are too large for a call."""
    with pytest.raises(openai.BadRequestError) as refused:
        _chat(app, "file-none")
    assert refused.value.code == "file_not_found"
    with pytest.raises(anthropic.BadRequestError, match="file-none"):
        claude.beta.messages.create(
            model="sandbox",
            max_tokens=100,
            messages=[
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image",
                            "source": {"type": "file", "file_id": "file-none"},
                        }
                    ],
                }
            ],
        )
    large = app.files.create(file=("a.pdf", bytes(2**20 + 1)), purpose="user_data").id
    with pytest.raises(openai.BadRequestError) as refused:
        _chat(app, large)
    assert refused.value.code == "files_too_large"
