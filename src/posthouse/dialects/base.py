"""What every dialect gives: the envelope of a request, taps on replies.

A dialect's package offers a `DIALECT` object of the `Dialect` protocol, and
`corrected` (see `Corrected`) if providers' rows may declare replies of their own
that it mends. When client and upstream speak the same dialect, the request's
envelope is spliced and the reply's bytes pass; the taps only read along. Chat
dialects offer a `CODEC` as well (`dialects.neutral.codec`), which leads into
every other one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct, structs
from typing_extensions import override

from posthouse.errors import PosthouseError, UnsupportedMediaType, UpstreamFault
from posthouse.model.call import Affinity, Operation
from posthouse.model.catalog import ErrorCodes, Quirks, Replies
from posthouse.model.chat import ChatRequest, Media
from posthouse.model.usage import ReportedUsage
from posthouse.wire.json import Envelope
from posthouse.wire.multipart import JSON, Form, Payload
from posthouse.wire.sse import Frame, SSEDecoder, comment

Headers = tuple[tuple[bytes, bytes], ...]


class PromptSize(Struct, frozen=True, gc=False):
    """What a prompt amounts to before anybody has counted its tokens."""

    text_bytes: int = 0
    messages: int = 0
    images: int = 0
    audio_parts: int = 0
    files: int = 0
    audio_seconds: int = 0
    """Of all its sound together, where that is known; 0 is not."""

    @property
    def has_media(self) -> bool:
        """Whether text is not all there is."""
        return bool(self.images or self.audio_parts or self.files)


class Reading(Struct):
    """What translations into other dialects keep of one request."""

    chat: ChatRequest | None = None
    """The request in the neutral form, once it has been read."""
    media: dict[str, Media] = {}
    """By URL, what was fetched for providers who fetch nothing."""
    losses: dict[str, tuple[str, ...]] = {}
    """By dialect, what providers who speak it are not told (`Losses.told`)."""
    asked: Any = None
    """What is no chat in its kind's neutral form, once it has been read."""
    texts: tuple[str, ...] = ()
    """What tokens to embed stand for, where a provider takes only texts."""
    sent: dict[str, "ParsedRequest"] = {}
    """By dialect, what that has become in it."""
    masks: dict[int, bytes] = {}
    """By the grey of what may change, a mask for makers who have it so."""


class Later(Struct, frozen=True, gc=False):
    """What is worked out when it is asked for; equal to another of equal things."""

    work_out: Callable[..., Any]
    things: tuple[Any, ...]

    def __call__(self) -> Any:
        """Work it out."""
        return self.work_out(*self.things)


class Judged(Struct, frozen=True, gc=False):
    """An envelope, and all that stands in it, decoded."""

    envelope: Envelope
    asked: Any


class ParsedRequest(Struct, frozen=True):
    """A client's request, judged as far as routing and money need it."""

    operation: Operation
    envelope: Envelope
    model: str
    stream: bool
    prompt: PromptSize
    affinity: Affinity
    """What calls of one conversation have in common, at most 4 KiB of it."""
    choices: int = 1
    """How many answers are asked for; each is billed."""
    output_limit: int | None = None
    """Tokens per choice that the client allows; None leaves it to the model."""
    include_usage: bool = False
    """Whether the client wants the stream's usage frame."""
    other_models: tuple[str, ...] = ()
    """Every further model that the body names."""
    service_tier: str | None = None
    searches: int = 0
    """Web searches that the call may make and that are priced apiece."""
    wants_base64: bool | None = None
    """Embeddings: the encoding asked for; None where there is none."""
    without_searches: "ParsedRequest | None" = None
    """The same call without its searches, where they are one offer among others."""
    dropped: tuple[str, ...] = ()
    """What was left out of it before any provider was chosen, as `Losses` tells."""
    kept: Reading | None = None
    """What translations keep of it; None while there was none."""
    counted: dict[str, int] = {}
    """By unit, what it will be billed for beside tokens: pictures asked for,
    characters of the text, seconds of the sound …; unless the reply says
    otherwise (`ReportedUsage.counted`)."""
    counts_roughly: bool = False
    """`counted` is estimated: a reply that tells another number is believed."""
    judged: Judged | None = None
    """All of it as it was decoded to be judged, where it is little and usual: who
    reads the request for a translation need not decode it again."""
    plain: bool = False
    """It is words and how to answer them: no media, no tools, nothing that names
    other things than the model or that is priced apart."""
    form: Form | None = None
    """The body, where it came as a form; the envelope then has its texts."""
    target: str = ""
    """Path and query behind the channel's base path, in place of the row's."""
    token_input: bool = False
    """Embeddings: what is to be embedded are tokens, not texts."""
    worded_limit: int = 0
    """Tokens of the answer, if a model that chats has to give it in words."""

    @property
    def asked(self) -> Any:
        """What was `judged`, if it is this envelope still; None where there is none."""
        judged = self.judged
        return judged.asked if judged and judged.envelope is self.envelope else None

    @property
    def reading(self) -> Reading:
        """What translations keep of it."""
        if self.kept is None:
            structs.force_setattr(self, "kept", Reading())
        return self.kept  # type: ignore[return-value]  # set above


class Edits(Struct, frozen=True):
    """What is changed in a body on its way to one channel."""

    model: str
    quirks: Quirks
    set: Mapping[str, Any]
    drop: tuple[str, ...]
    model_only: bool
    """Nothing else is ever changed in a body that asks for no stream."""


def make_edits(
    model: str,
    quirks: Quirks,
    members: Mapping[str, Any] | None = None,
    drop: tuple[str, ...] = (),
) -> Edits:
    """Join what the provider's quirks change and the members an operator sets."""
    model_only = quirks == _NO_QUIRKS and not members and not drop
    return Edits(model, quirks, members or {}, drop, model_only)


_NO_QUIRKS = Quirks()


class ParsedReply(Struct, frozen=True):
    """A whole reply, read along."""

    body: bytes
    """As the client shall have it."""
    usage: ReportedUsage | None
    service_tier: str | None
    output_text: Callable[[], str]
    """Reads what was produced, for counting where the usage does not tell."""
    content_type: bytes = JSON
    headers: Headers = ()
    """What else the client's reply has."""


class StreamTap(Protocol):
    """Reads a stream along, frame by frame; holds no terminal state back."""

    usage: ReportedUsage | None
    service_tier: str | None
    finished: bool
    """Every choice has told its finish reason."""
    output_bytes: int
    """Bytes of content seen so far."""
    each: Sequence[ReportedUsage | None] = ()
    """Of every request, where several bring one stream; None has told none."""
    stream_headers: Headers | None = None
    """What the client's reply has in place of its manners' headers."""

    def feed(self, raw: bytes, data: bytes) -> "TappedFrame":
        """Judge one frame; raises UpstreamFault for an error object in it."""

    def output_text(self) -> str:
        """What was produced so far; of much, an even sample (see `compact`)."""

    def compact(self) -> None:
        """Keep less, if it is much: called every now and then, not per frame."""

    def close(self) -> "TappedFrame | None":
        """The provider has closed: the terminal frame if that ends a stream well.

        None if the stream should have gone on.
        """

    def error_frame(self, error: PosthouseError) -> bytes:
        """Tell the client of an error after its reply has begun."""

    def cut_off_frames(self, error: PosthouseError) -> tuple[bytes, bytes]:
        """End the answer as if its length limit were met, and say why.

        Gives the frame that ends the choices, and the terminal one.
        """


class TappedFrame(Struct, frozen=True, gc=False):
    """What becomes of one frame."""

    raw: bytes
    """The bytes for the client; b"" drops the frame."""
    content: bool = False
    """It carries something of the answer."""
    terminal: bool = False
    """It ends the stream."""


class Frames(Protocol):
    """Cuts the bytes of a provider's stream into frames."""

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes; give the frames that they complete.

        Raises FrameTooLarge.
        """

    def close(self) -> list[Frame]:
        """End the stream; a last frame that only lacks its end still counts."""


class Manners(Struct, frozen=True):
    """How a dialect's clients are spoken to, whatever is said."""

    render_error: Callable[[PosthouseError], tuple[int, Headers, bytes]]
    """Status, headers and body of a reply that is an error."""
    error_frame: Callable[[PosthouseError], bytes]
    """Tells of an error in a stream that has begun."""
    stream_headers: Headers = (
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),
    )
    keep_alive: bytes = comment(b"keep-alive")
    """What a stream says while there is nothing to say; b"" is that it is silent,
    and its head waits for what it brings."""


def error_headers(error: PosthouseError) -> Headers:
    """The headers of an error that the SDKs of all dialects understand."""
    headers = [(b"content-type", b"application/json")]
    if error.retry_after is not None:
        seconds = max(1, -int(-error.retry_after // 1))
        headers.append((b"retry-after", str(seconds).encode()))
    if error.should_retry is not None:
        headers.append((b"x-should-retry", str(error.should_retry).lower().encode()))
    return tuple(headers)


class Dialect(Protocol):
    """One wire language, for clients and upstreams alike. Pure."""

    name: str
    manners: Manners
    frames: Callable[[], Frames] = SSEDecoder
    """Begins to cut a provider's stream."""
    judged_aside: int = 256 * 1024
    """Bytes from which a body is judged in a thread, so that nobody waits for it."""

    def parse_request(self, body: bytes) -> ParsedRequest:
        """Read a client's request; raises InvalidRequest."""

    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        """Write the request for an upstream that speaks this dialect."""

    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        """Read an upstream's whole reply; raises UpstreamFault.

        `public_model` replaces the model's name where it is not None.
        """

    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        """Make a tap for one stream; None where the operation has no streams."""

    def parse_error(self, status: int, body: bytes) -> UpstreamFault:
        """Judge an upstream's error reply."""

    def prompt_text(self, request: ParsedRequest) -> str:
        """The prompt's text, for counting where no usage was given."""


class Answer(Struct, frozen=True):
    """A provider's whole reply of status 200."""

    headers: Sequence[tuple[bytes, bytes]]
    """Names in lower case."""
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """Give a header's value."""
        return next((value for other, value in self.headers if other == name), None)


class MediaDialect(Dialect):
    """A dialect in which bodies may be forms, and replies sound or pictures.

    Its replies are read together with their headers. A dialect that takes forms has
    `parse_form(content_type, body)` as well.
    """

    def parse_form(self, content_type: bytes, body: bytes) -> ParsedRequest:  # noqa: ARG002 - for those that take forms
        """Read a client's request that is a form; raises InvalidRequest.

        See `dialects.neutral.forms`.
        """
        raise UnsupportedMediaType

    def render_body(self, request: ParsedRequest, edits: Edits) -> Payload:
        """Write the request for an upstream that speaks this dialect."""
        raise NotImplementedError

    def parse_answer(
        self, request: ParsedRequest, answer: Answer, public_model: str | None
    ) -> ParsedReply:
        """Read an upstream's whole reply; raises UpstreamFault.

        See `parse_reply`.
        """
        raise NotImplementedError

    def tap_answer(
        self,
        request: ParsedRequest,  # noqa: ARG002 - for those that have streams
        headers: Sequence[tuple[bytes, bytes]],  # noqa: ARG002
        public_model: str | None,  # noqa: ARG002
    ) -> StreamTap | None:
        """Make a tap for a stream that begins with these headers.

        None where it comes in one piece, whatever the client has asked for: it is
        read by `parse_answer` then, and its body ends the client's stream.
        """
        return None

    def frames_of(self, request: ParsedRequest) -> Frames:  # noqa: ARG002 - for some
        """Begin to cut the stream that a request brings."""
        return self.frames()

    def target_of(self, request: ParsedRequest) -> str:
        """Path and query behind the channel's base path; "" is the row's."""
        return request.target

    @override
    def render_request(self, request: ParsedRequest, edits: Edits) -> bytes:
        return self.render_body(request, edits).data

    @override
    def parse_reply(
        self, request: ParsedRequest, body: bytes, public_model: str | None
    ) -> ParsedReply:
        return self.parse_answer(request, Answer((), body), public_model)

    @override
    def tap_stream(
        self, request: ParsedRequest, public_model: str | None
    ) -> StreamTap | None:
        return self.tap_answer(request, (), public_model)


def write_body(dialect: Dialect, request: ParsedRequest, edits: Edits) -> Payload:
    """Write a request in any dialect."""
    if isinstance(dialect, MediaDialect):
        return dialect.render_body(request, edits)
    return Payload(JSON, dialect.render_request(request, edits))


def read_answer(
    dialect: Dialect, request: ParsedRequest, answer: Answer, public_model: str | None
) -> ParsedReply:
    """Read a whole reply in any dialect; raises UpstreamFault."""
    if isinstance(dialect, MediaDialect):
        return dialect.parse_answer(request, answer, public_model)
    return dialect.parse_reply(request, answer.body, public_model)


class Corrected(Protocol):
    """Makes a dialect as one provider's row says that it speaks it."""

    def __call__(
        self,
        replies: Replies | None,
        errors: ErrorCodes | None,
        *,
        model: str,
        clock: Callable[[], float],
    ) -> Dialect:
        """Give the dialect of one target, whose model has this name."""
