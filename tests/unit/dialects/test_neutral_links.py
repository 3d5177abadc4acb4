"""Links in a user's words: what counts as one, and what it becomes."""

from tests.support.cases import each

from posthouse.dialects.neutral.links import MOST_LINKS, links_in, with_linked
from posthouse.model.chat import (
    Audio,
    ChatRequest,
    Document,
    Image,
    Media,
    Message,
    Role,
    Text,
)


def chat(*words: str, role: Role = Role.USER) -> ChatRequest:
    """A chat whose messages say these words."""
    messages = tuple(Message(role, (Text(text),)) for text in words)
    return ChatRequest(dialect="openai_chat", model="m", messages=messages)


@each(
    ("text", "expected"),
    [
        ("see https://a.example/cat.png please", ["https://a.example/cat.png"]),
        ("![x](https://a.example/cat.PNG)", ["https://a.example/cat.PNG"]),
        ("看 https://a.example/猫.pdf。", ["https://a.example/猫.pdf"]),
        ("http://a.example/b.csv?x=1, and", ["http://a.example/b.csv?x=1"]),
        (
            "https://a.example/a.png https://a.example/a.png",
            ["https://a.example/a.png"],
        ),
        ("https://a.example/page and https://a.example/", []),
        ("https://[broken/a.png", []),
        ("ftp://a.example/a.png file:///etc/passwd.txt", []),
        ("no link.png at all", []),
    ],
)
def test_what_is_a_link_to_a_file(text: str, expected: list[str]) -> None:
    assert list(links_in(chat(text))) == expected


def test_only_the_users_last_message_counts() -> None:
    """What stands in earlier turns has been read, or is somebody else's words."""
    assert links_in(chat("https://a.example/a.png", "and now?")) == ()
    assert links_in(chat("https://a.example/a.png", role=Role.ASSISTANT)) == ()


def test_there_are_not_too_many() -> None:
    many = " ".join(f"https://a.example/{n}.png" for n in range(MOST_LINKS + 3))
    assert len(links_in(chat(many))) == MOST_LINKS


def test_what_a_link_becomes() -> None:
    asked = chat("look: https://a.example/x")
    fetched = {
        "https://a.example/a.png": Media(data="AA==", media_type="image/png"),
        "https://a.example/b.pdf": Media(data="AQ==", media_type="application/pdf"),
        "https://a.example/c.mp3": Media(data="Ag==", media_type="Audio/MPEG; x=y"),
        "https://a.example/d.txt": Media(data="Aw==", media_type="text/plain"),
        "https://a.example/e.png": Media(data="BA==", media_type="application/zip"),
        "https://a.example/f.png": Media(data="BA=="),
    }
    filled, added = with_linked(asked, fetched)
    assert [type(part) for part in added] == [Image, Document, Audio, Document]
    assert filled.messages[-1].parts == (asked.messages[-1].parts[0], *added)
    assert [part.title for part in added if isinstance(part, Document)] == [
        "b.pdf",
        "d.txt",
    ]
    assert with_linked(asked, {}) == (asked, ())
