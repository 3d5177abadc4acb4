"""A client's Responses request, read into the neutral form.

Normal form: `input` of one text is a message of it, `instructions` a first
message of the system's; `user` and `safety_identifier` are one, as whom the end
user is known by. What is answered here, whoever the provider is, stands in
`served`: what a reply says again, whether it is stored, and what it follows.

Sources: `ResponseCreateParams` of OpenAI's Python SDK, 3.54; codex-rs,
`codex-api/src/common.rs` (2026).
"""

from typing import Any

from msgspec import structs

from posthouse.dialects.base import ParsedRequest
from posthouse.dialects.neutral.members import Members, invalid
from posthouse.dialects.openai_responses.history import RESOLVED
from posthouse.dialects.openai_responses.names import Namespaces
from posthouse.dialects.openai_responses.parts import NAME
from posthouse.dialects.openai_responses.read_items import ItemReader
from posthouse.dialects.openai_responses.tools import read_choice, read_tools
from posthouse.dialects.openai_responses.usual_request import READ, read_usual
from posthouse.errors import InvalidRequest
from posthouse.model.chat import (
    ChatRequest,
    Extras,
    Message,
    OutputFormat,
    OutputKind,
    Reasoning,
    Role,
    Sampling,
    Text,
    ToolChoice,
    ToolUse,
)
from posthouse.wire import json
from posthouse.wire.json import Envelope, MalformedJSON

_SERVED = ("background", "metadata", "store", "stream_options")
"""What is answered here, or asks for nothing that matters elsewhere."""
_KEPT_THERE = {
    "prompt": "prompt templates",
    "conversation": "conversations",
}
LOGPROBS = "message.output_text.logprobs"
_GIVEN_ANYWAY = frozenset({LOGPROBS, "reasoning.encrypted_content"})


def read_request(request: ParsedRequest) -> ChatRequest:
    """Read a request; raises InvalidRequest."""
    envelope = request.envelope
    chat = read_usual(request)
    if chat is None:
        return _read_members(request)
    if envelope.keys() <= READ:
        return chat
    further = {name: value for name, value in envelope.items() if name not in READ}
    members = Members(_decoded(further), "", invalid)
    _refuse_kept_there(members)
    return _with_options(chat, members, ItemReader(Namespaces()))


def _read_members(request: ParsedRequest) -> ChatRequest:
    """Read whatever there is, member by member."""
    members = Members(_decoded(request.envelope), "", invalid)
    members.take("model")
    members.take("stream")
    _refuse_kept_there(members)
    items = ItemReader(Namespaces())
    messages = [*_instructions(members), *items.read(_input(members))]
    chat = ChatRequest(
        dialect=NAME,
        model=request.model,
        messages=tuple(messages),
        sampling=Sampling(
            temperature=members.number("temperature"), top_p=members.number("top_p")
        ),
        output_limit=members.whole("max_output_tokens"),
        service_tier=members.text("service_tier"),
        stream=request.stream,
    )
    return _with_options(chat, members, items)


def _with_options(
    chat: ChatRequest, members: Members, items: ItemReader
) -> ChatRequest:
    """Add tools, what the answer shall be like, and what nobody knows.

    `items` has read the conversation, with the tools and namespaces in it.
    """
    namespaces = items.namespaces
    choice = read_choice(members.take("tool_choice"), namespaces)
    values = [*members.array("tools"), *items.tools]
    tools = read_tools(values, namespaces, forced=_forces_server_tool(choice))
    served = _served(members) | namespaces.served()
    return structs.replace(
        chat,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=members.flag("parallel_tool_calls"),
        sampling=structs.replace(
            chat.sampling,
            logprobs=_asks_for_logprobs(members),
            top_logprobs=members.whole("top_logprobs"),
        ),
        output_format=_output_format(members),
        reasoning=_reasoning(members),
        user=_user(members),
        cache_key=members.text("prompt_cache_key"),
        served=served | _include(members),
        extras=members.extras(),
    )


def _decoded(envelope: Envelope) -> dict[str, Any]:
    """Decode an envelope whole; raises InvalidRequest."""
    try:
        value = json.decode(json.encode(envelope), dict[str, Any])
    except MalformedJSON as error:
        raise InvalidRequest(
            f"We could not parse the JSON body of your request: {error}",
            code="invalid_json",
        ) from None
    return value


def _refuse_kept_there(members: Members) -> None:
    """Refuse what refers to something that another provider keeps."""
    for name, words in _KEPT_THERE.items():
        if members.take(name) is not None:
            raise InvalidRequest(
                f"This model's provider keeps no {words}",
                param=name,
                code="unsupported_by_model",
            )
    resolved = members.take(RESOLVED)
    if members.peek("previous_response_id") is not None and not resolved:
        raise InvalidRequest(
            "The previous response is not kept where this model can be told of it",
            param="previous_response_id",
            code="unsupported_by_model",
        )


def _instructions(members: Members) -> list[Message]:
    text = members.text("instructions")
    return [] if text is None else [Message(Role.SYSTEM, (Text(text),))]


def _input(members: Members) -> list[Any]:
    value = members.take("input")
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": value}]
    if value is None:
        return []
    if isinstance(value, list):
        return value
    raise members.wrong("input", "a string or an array")


def _forces_server_tool(choice: ToolChoice | None) -> bool:
    return (
        choice is not None
        and choice.use is ToolUse.REQUIRED
        and "type" in choice.extras
    )


def _served(members: Members) -> Extras:
    """Take what is answered here."""
    served = {name: members.take(name) for name in _SERVED}
    served["previous_response_id"] = members.text("previous_response_id")
    if members.peek("truncation") == "disabled":
        served["truncation"] = members.take("truncation")
    return {name: value for name, value in served.items() if value is not None}


def _asks_for_logprobs(members: Members) -> bool | None:
    include = members.peek("include")
    return True if isinstance(include, list) and LOGPROBS in include else None


def _include(members: Members) -> Extras:
    """Keep what more shall be told; of what is told anyway, nothing is lost."""
    include = members.texts("include")
    others = [name for name in include if name not in _GIVEN_ANYWAY]
    if others:
        members.put_back("include", others)
    given = [name for name in include if name in _GIVEN_ANYWAY and name != LOGPROBS]
    return {"include": given} if given else {}


def _output_format(members: Members) -> OutputFormat | None:
    text = members.inner("text")
    if text is None:
        return None
    form = text.inner("format")
    # A chat's member of that name means the same.
    members.put_back("verbosity", text.text("verbosity"))
    if text.extras():
        members.put_back("text", text.extras())
    if form is None:
        return None
    kind = form.text("type")
    match kind:
        case "text":
            return OutputFormat(OutputKind.TEXT)
        case "json_object":
            return OutputFormat(OutputKind.JSON)
        case "json_schema":
            return OutputFormat(
                OutputKind.SCHEMA,
                form.object("schema"),
                form.text("name"),
                form.text("description"),
                form.flag("strict"),
            )
        case _:
            raise form.wrong("type", "'text', 'json_object' or 'json_schema'")


def _reasoning(members: Members) -> Reasoning | None:
    reasoning = members.inner("reasoning")
    if reasoning is None:
        return None
    effort = reasoning.text("effort")
    summary = reasoning.text("summary")
    older = reasoning.text("generate_summary")
    if reasoning.extras():
        members.put_back("reasoning", reasoning.extras())
    return Reasoning(effort=effort, summary=summary or older)


def _user(members: Members) -> str | None:
    """Take the name of the end user; a second one is left to the extras."""
    user = members.text("user")
    if user is not None:
        return user
    return members.text("safety_identifier")
