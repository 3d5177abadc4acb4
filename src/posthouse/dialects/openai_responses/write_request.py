"""A request in the neutral form, written for a provider of Responses.

What is asked is never stored there (`store` is false), for nobody but Posthouse
could ask for it again; so reasoning comes encrypted, to be sent back. Of OpenAI's
chat, members that have the same meaning here keep their names. `stop`, and more
than one choice, have no counterpart and are refused; what only steers sampling is
left out.

Sources: `ResponseCreateParams` of OpenAI's Python SDK, 3.54; OpenAI's guide
"Migrate to the Responses API" (2026).
"""

from typing import Any

from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.openai_responses.parts import NAME
from posthouse.dialects.openai_responses.read_request import LOGPROBS
from posthouse.dialects.openai_responses.tools import write_choice, write_tools
from posthouse.dialects.openai_responses.usage import write_tier
from posthouse.dialects.openai_responses.write_items import ItemWriter
from posthouse.model.chat import (
    ChatRequest,
    Message,
    OutputFormat,
    OutputKind,
    Reasoning,
    Role,
    Text,
)
from posthouse.model.traits import ThinkingStyle, Traits
from posthouse.wire import json

_FAMILY = "openai_chat"
LONGEST_IDENTIFIER = 64
"""Characters of a `safety_identifier`."""
LEAST_OUTPUT = 16
"""Tokens; OpenAI refuses a lower limit."""
_SAME = frozenset(
    {
        "metadata",
        "moderation",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
    }
)
"""Members of OpenAI's chat that mean the same here."""
_EFFORT_OF_BUDGET = ((2_048, "low"), (8_192, "medium"))
"""Up to so many tokens; more is high."""

Body = dict[str, Any]


def write_request(chat: ChatRequest, traits: Traits, losses: Losses) -> Body:
    """Write a request's body; raises InvalidRequest."""
    own = chat.dialect == NAME
    body: Body = {"model": traits.model or chat.model}
    messages = chat.messages
    if messages and is_instruction(messages[0]):
        body["instructions"] = messages[0].parts[0].text  # type: ignore[union-attr]  # judged so
        messages = messages[1:]
    body["input"] = ItemWriter(chat, traits, losses).write(messages)
    tools = write_tools(chat, losses, custom=own or traits.custom_tools)
    if tools:
        body["tools"] = tools
    _set(
        body,
        "tool_choice",
        write_choice(chat, losses, custom=own or traits.custom_tools)
        if tools or own
        else None,
    )
    if tools or own:
        _set(body, "parallel_tool_calls", chat.parallel_tool_calls)
    _write_sampling(body, chat, traits, losses)
    _write_limits(body, chat, traits, losses)
    _write_reasoning(body, chat.reasoning, traits, losses)
    if chat.output_format is not None:
        _write_format(body, chat, traits, losses)
    if chat.user is not None:
        body[_user_member(chat)] = chat.user
    _set(body, "service_tier", _tier(chat, losses))
    _set(body, "prompt_cache_key", chat.cache_key)
    if chat.stream:
        body["stream"] = True
    if own:
        _write_own(body, chat)
    else:
        _write_others(body, chat, traits, losses)
    return body


def is_instruction(message: Message) -> bool:
    """Whether a message can be the instructions: the system's, of one plain text."""
    if message.role is not Role.SYSTEM or len(message.parts) != 1:
        return False
    part = message.parts[0]
    return message == Message(Role.SYSTEM, (part,)) and part == Text(
        part.text if isinstance(part, Text) else ""
    )


def _user_member(chat: ChatRequest) -> str:
    """The name for the end user: the newer one, where it can stand."""
    fits = len(chat.user or "") <= LONGEST_IDENTIFIER
    both = "safety_identifier" in chat.extras
    return "safety_identifier" if fits and not both else "user"


def _set(body: Body, name: str, value: Any) -> None:
    if value is not None:
        body[name] = value


def _write_sampling(
    body: Body, chat: ChatRequest, traits: Traits, losses: Losses
) -> None:
    sampling = chat.sampling
    for name in ("temperature", "top_p"):
        value = getattr(sampling, name)
        if traits.sampling or chat.dialect == NAME:
            _set(body, name, value)
        elif value is not None:
            losses.drop(name)
    _set(body, "top_logprobs", sampling.top_logprobs)
    if sampling.logprobs:
        body["include"] = [LOGPROBS]
    if sampling.stop:
        losses.refuse("stop", "This model takes no stop sequences")
    for name in (
        "top_k",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "logit_bias",
    ):
        if getattr(sampling, name) not in (None, 0, {}):
            losses.drop(name)


def _tier(chat: ChatRequest, losses: Losses) -> str | None:
    tier = write_tier(chat.service_tier, own=chat.dialect == NAME)
    if tier is None and chat.service_tier is not None:
        losses.drop("service_tier")
    elif tier != chat.service_tier:
        losses.change("service_tier")
    return tier


def _write_limits(
    body: Body, chat: ChatRequest, traits: Traits, losses: Losses
) -> None:
    limit = chat.output_limit
    if limit is not None:
        fitting = max(limit, LEAST_OUTPUT)
        if traits.max_output:
            fitting = min(fitting, traits.max_output)
        if fitting != limit and chat.dialect != NAME:
            losses.change("max_tokens")
            limit = fitting
        body["max_output_tokens"] = limit
    if (chat.choices or 1) > 1:
        losses.change("n")
    if chat.audio is not None or "audio" in chat.modalities:
        losses.refuse("modalities", "This model does not speak")
    if "image" in chat.modalities:
        losses.refuse("modalities", "This model gives no pictures")


def _write_reasoning(
    body: Body, reasoning: Reasoning | None, traits: Traits, losses: Losses
) -> None:
    if reasoning is None:
        return
    if traits.thinking is ThinkingStyle.NONE:
        losses.drop("reasoning")
        return
    out: Body = {}
    _set(out, "effort", _effort(reasoning, losses))
    summary = reasoning.summary or ("auto" if reasoning.show else None)
    _set(out, "summary", summary)
    body["reasoning"] = out


def _effort(reasoning: Reasoning, losses: Losses) -> str | None:
    """How much to think, in the words of this dialect."""
    if reasoning.effort is not None:
        return reasoning.effort
    if reasoning.enabled is False or reasoning.budget == 0:
        return "none"
    budget = reasoning.budget
    if budget is None or budget < 0:
        return None
    losses.change("reasoning.budget")
    for most, effort in _EFFORT_OF_BUDGET:
        if budget <= most:
            return effort
    return "high"


def _write_format(
    body: Body, chat: ChatRequest, traits: Traits, losses: Losses
) -> None:
    """Say what an answer must look like, in words where the model needs them."""
    form = chat.output_format or OutputFormat(OutputKind.TEXT)
    if chat.dialect != NAME and form.kind is not OutputKind.TEXT:
        advice = ""
        if form.kind is OutputKind.SCHEMA and not traits.schema:
            losses.change("response_format")
            schema = json.encode(form.schema or {}).decode()
            advice = f"Answer with nothing but JSON that conforms to:\n{schema}"
            form = OutputFormat(OutputKind.JSON)
        elif form.kind is OutputKind.JSON and not _speaks_of_json(body):
            # OpenAI refuses to write JSON that no message has spoken of.
            advice = "Answer with nothing but a JSON object."
        if advice:
            said = {"type": "message", "role": "system", "content": advice}
            body["input"] = [said, *body["input"]]
        if form.kind is OutputKind.JSON and not traits.json_mode:
            losses.change("response_format")
            return
    body["text"] = {"format": write_format(form)}


def _speaks_of_json(body: Body) -> bool:
    return b"json" in json.encode(body["input"]).lower()


def write_format(form: OutputFormat) -> Body:
    """Write what an answer must look like."""
    match form.kind:
        case OutputKind.TEXT:
            return {"type": "text"}
        case OutputKind.JSON:
            return {"type": "json_object"}
        case OutputKind.SCHEMA:
            out: Body = {
                "type": "json_schema",
                "name": form.name or "answer",
                "schema": form.schema if form.schema is not None else {},
            }
            _set(out, "description", form.description)
            _set(out, "strict", form.strict)
            return out


def _write_others(
    body: Body, chat: ChatRequest, traits: Traits, losses: Losses
) -> None:
    """Write another dialect's members, as far as they have a meaning here."""
    body["store"] = False
    if traits.thinking is not ThinkingStyle.NONE:
        # Models that do not reason refuse to be asked for it.
        body["include"] = [*body.get("include", ()), "reasoning.encrypted_content"]
    for name, value in chat.extras.items():
        if chat.dialect == _FAMILY and name == "verbosity":
            body.setdefault("text", {})["verbosity"] = value
        elif chat.dialect == _FAMILY and name in _SAME:
            body[name] = value
        else:
            losses.drop(name)


def _write_own(body: Body, chat: ChatRequest) -> None:
    """Put back what this dialect alone has."""
    include = [
        *body.pop("include", ()),
        *chat.served.get("include", ()),
        *chat.extras.get("include", ()),
    ]
    for name, value in (*chat.served.items(), *chat.extras.items()):
        if name in ("include", "namespaces"):
            continue
        if name == "verbosity":
            body["text"] = {**body.get("text", {}), name: value}
        elif name in ("text", "reasoning") and isinstance(value, dict):
            body[name] = {**body.get(name, {}), **value}
        else:
            body[name] = value
    if include:
        body["include"] = include
