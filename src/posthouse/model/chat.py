"""A chat in the neutral form: what every chat dialect is read into and written from.

Rules. A request, a reply or an event names the dialect that it was read from,
and `extras`, wherever they stand, are that dialect's members which have no
counterpart here, as they stood: its own writer puts them back, any other one
reports them. Absent and null are `None`; a default is never filled in by a
reader. Arguments of tools are JSON text to the letter. Results of tools stand
in messages of their own, those of one turn in one message; the first system
messages are what dialects with a separate system prompt have there.
"""

from enum import StrEnum
from typing import Any

from msgspec import Struct

from posthouse.model.usage import ReportedUsage

Extras = dict[str, Any]


class Signature(Struct, frozen=True, omit_defaults=True):
    """A provider's own proof over what its model thought, opaque to all others."""

    by: str
    """The dialect in which it was given: no other one can use it."""
    value: str


class CacheMark(Struct, frozen=True, omit_defaults=True):
    """The prompt up to here shall be kept by the provider."""

    ttl: str | None = None
    """`5m` or `1h`; None leaves it to the provider."""


class Media(Struct, frozen=True, omit_defaults=True):
    """Where the bytes of a picture, sound or file are; one of the four is set."""

    url: str | None = None
    data: str | None = None
    """Base64, without a `data:` prefix."""
    file_id: str | None = None
    text: str | None = None
    """A file that is plain text."""
    media_type: str | None = None


class Citation(Struct, frozen=True, omit_defaults=True):
    """What a text rests on."""

    url: str | None = None
    title: str | None = None
    quote: str | None = None
    document: int | None = None
    """Index among the request's documents."""
    start: int | None = None
    """Of the cited place: in the answer's text where there is a `url`, else in
    the document; counted in characters."""
    end: int | None = None
    extras: Extras = {}


# --- parts --------------------------------------------------------------------------


class Text(Struct, frozen=True, tag="text", omit_defaults=True):
    """Words."""

    text: str
    citations: tuple[Citation, ...] = ()
    cache: CacheMark | None = None
    signature: Signature | None = None
    extras: Extras = {}

    def is_plain(self) -> bool:
        """Whether words are all there is."""
        return self == Text(self.text)


class Image(Struct, frozen=True, tag="image", omit_defaults=True):
    """A picture."""

    source: Media
    detail: str | None = None
    """`low`, `high`, `auto` or `original`."""
    cache: CacheMark | None = None
    signature: Signature | None = None
    extras: Extras = {}


class Audio(Struct, frozen=True, tag="audio", omit_defaults=True):
    """Speech or sound; in a stream its base64 comes piece by piece."""

    source: Media
    id: str | None = None
    transcript: str | None = None
    expires_at: int | None = None
    """Unix seconds until which a provider knows it by its id."""
    extras: Extras = {}


class Video(Struct, frozen=True, tag="video", omit_defaults=True):
    """A film."""

    source: Media
    cache: CacheMark | None = None
    extras: Extras = {}


class Document(Struct, frozen=True, tag="document", omit_defaults=True):
    """A file to be read: PDF, plain text and their like."""

    source: Media
    title: str | None = None
    """Its name or title."""
    context: str | None = None
    citations: bool | None = None
    """Whether the answer shall cite it."""
    cache: CacheMark | None = None
    extras: Extras = {}


class Thinking(Struct, frozen=True, tag="thinking", omit_defaults=True):
    """What the model thought before it spoke; possibly only its signature."""

    text: str = ""
    signature: Signature | None = None
    redacted: bool = False
    """The signature is all there is: the thoughts are withheld."""
    summary: bool = False
    """It is a summary of the thoughts."""
    id: str | None = None
    extras: Extras = {}


class Refusal(Struct, frozen=True, tag="refusal", omit_defaults=True):
    """The model's words when it declines."""

    text: str
    extras: Extras = {}


class ToolCall(Struct, frozen=True, tag="tool_call", omit_defaults=True):
    """A call of one of the caller's tools."""

    id: str
    name: str
    arguments: str
    """JSON text; of a custom tool, its input as it is."""
    custom: bool = False
    """The tool takes text instead of JSON."""
    legacy: bool = False
    """OpenAI's `function_call`, which has no id."""
    cache: CacheMark | None = None
    signature: Signature | None = None
    extras: Extras = {}


class ToolResult(Struct, frozen=True, tag="tool_result", omit_defaults=True):
    """What a tool call came to."""

    call_id: str
    content: "tuple[Part, ...]" = ()
    name: str | None = None
    """The tool's, where the dialect tells it."""
    is_error: bool | None = None
    custom: bool = False
    legacy: bool = False
    cache: CacheMark | None = None
    extras: Extras = {}


class Foreign(Struct, frozen=True, tag="foreign", omit_defaults=True):
    """A block that only its own dialect has, whole: server tools and their results."""

    kind: str
    value: Extras
    harmless: bool = False
    """Left out elsewhere without changing what is asked: it is history."""


Part = (
    Text
    | Image
    | Audio
    | Video
    | Document
    | Thinking
    | Refusal
    | ToolCall
    | ToolResult
    | Foreign
)


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    """Holds nothing but results of tools."""


class Message(Struct, frozen=True, omit_defaults=True):
    """One turn."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None
    extras: Extras = {}

    def words(self) -> str | None:
        """What is said, if it is one plain text and there is nothing beside it."""
        if len(self.parts) != 1:
            return None
        only = self.parts[0]
        if type(only) is Text and self == Message(self.role, (Text(only.text),)):
            return only.text
        return None


# --- a request ----------------------------------------------------------------------


class FunctionTool(Struct, frozen=True, tag="function", omit_defaults=True):
    """A tool that the caller runs, with JSON arguments."""

    name: str
    description: str | None = None
    parameters: Extras | None = None
    """JSON schema; None where it takes none."""
    strict: bool | None = None
    legacy: bool = False
    """One of OpenAI's `functions`: calls of it are told as `function_call`."""
    cache: CacheMark | None = None
    extras: Extras = {}


class CustomTool(Struct, frozen=True, tag="custom", omit_defaults=True):
    """A tool that the caller runs, with text for input."""

    name: str
    description: str | None = None
    format: Extras | None = None
    """What the text must look like: `type`, and of a grammar `syntax` and
    `definition`."""
    extras: Extras = {}


class ServerTool(Struct, frozen=True, tag="server", omit_defaults=True):
    """A tool that the provider runs."""

    kind: str
    """`web_search`, or the dialect's own name for what has no counterpart."""
    max_uses: int | None = None
    allowed_domains: tuple[str, ...] = ()
    blocked_domains: tuple[str, ...] = ()
    value: Extras = {}
    """As its own dialect had it, whole."""
    optional: bool = False
    """One of several tools, and not called for: its absence may be told instead
    of refused."""


Tool = FunctionTool | CustomTool | ServerTool


class ToolUse(StrEnum):
    """Whether tools are to be called."""

    AUTO = "auto"
    REQUIRED = "required"
    NONE = "none"


class ToolChoice(Struct, frozen=True, omit_defaults=True):
    """Which tools may or must be called; `names` narrow it, empty means any."""

    use: ToolUse
    names: tuple[str, ...] = ()
    extras: Extras = {}


class OutputKind(StrEnum):
    """What an answer must look like."""

    TEXT = "text"
    JSON = "json"
    """Some JSON object."""
    SCHEMA = "schema"


class OutputFormat(Struct, frozen=True, omit_defaults=True):
    """What an answer must look like, and its schema if it has one."""

    kind: OutputKind
    schema: Extras | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class Reasoning(Struct, frozen=True, omit_defaults=True):
    """How much the model shall think, in the words that the caller used."""

    enabled: bool | None = None
    effort: str | None = None
    """`none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`."""
    budget: int | None = None
    """Tokens; -1 leaves it to the model."""
    adaptive: bool = False
    """The model decides for itself whether to think."""
    show: bool | None = None
    """Whether the thoughts, or a summary of them, are wanted."""
    summary: str | None = None
    """`auto`, `concise` or `detailed`."""


class Sampling(Struct, frozen=True, omit_defaults=True):
    """How tokens are drawn."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


class AudioOutput(Struct, frozen=True, omit_defaults=True):
    """Speech that is asked for."""

    voice: Any = None
    format: str | None = None


class ChatRequest(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a caller asks."""

    dialect: str
    """What it was read from."""
    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    sampling: Sampling = Sampling()
    output_limit: int | None = None
    """Tokens."""
    choices: int | None = None
    output_format: OutputFormat | None = None
    reasoning: Reasoning | None = None
    modalities: tuple[str, ...] = ()
    """`text`, `audio`, `image`; empty leaves it to the model."""
    audio: AudioOutput | None = None
    user: str | None = None
    """The end user, by whatever name the caller has for one."""
    service_tier: str | None = None
    cache_key: str | None = None
    stream: bool = False
    include_usage: bool = False
    """Whether a stream shall tell its usage, where that is a choice."""
    served: Extras = {}
    """The dialect's members that are answered here and never lost elsewhere: what
    its replies say again, what its clients are owed whoever answers."""
    extras: Extras = {}


# --- a reply ------------------------------------------------------------------------


class FinishReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    STOP_SEQUENCE = "stop_sequence"
    LENGTH = "length"
    CONTEXT_LENGTH = "context_length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"
    PAUSE = "pause"
    """A server tool takes long: the caller sends the turn back to go on."""
    MALFORMED_CALL = "malformed_call"
    """The model's tool call could not be read."""
    OTHER = "other"


class Finish(Struct, frozen=True, omit_defaults=True):
    """Why an answer ended, with what the dialect says beside."""

    reason: FinishReason
    stop_sequence: str | None = None
    extras: Extras = {}


class Choice(Struct, frozen=True, omit_defaults=True):
    """One of the answers."""

    index: int
    parts: tuple[Part, ...]
    finish: Finish | None
    logprobs: tuple[Extras, ...] | None = None
    """Tokens in OpenAI's shape: `token`, `logprob`, `bytes`, `top_logprobs`."""
    extras: Extras = {}


class ChatReply(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a model answered."""

    dialect: str
    """What it was read from."""
    id: str | None = None
    model: str | None = None
    created: int | None = None
    """Unix seconds."""
    choices: tuple[Choice, ...]
    usage: ReportedUsage | None = None
    service_tier: str | None = None
    extras: Extras = {}
