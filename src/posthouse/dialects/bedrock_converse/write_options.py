"""What a request says about its answer, written for a provider.

Source: `InferenceConfiguration`, `OutputConfig` and `ServiceTier` of botocore 1.44.5.
What only some models know goes into `additionalModelRequestFields`, by the words of
whose model it is: Anthropic's
(https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html),
Amazon's (https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html)
and OpenAI's.
"""

from typing import Any

from posthouse.dialects.bedrock_converse.names import Family, family
from posthouse.dialects.neutral.claude_thinking import (
    BUDGETS,
    LEAST_BUDGET,
    display,
    effort_of,
    is_off,
)
from posthouse.dialects.neutral.codec import Losses
from posthouse.model.chat import (
    ChatRequest,
    OutputFormat,
    OutputKind,
    Reasoning,
    ToolUse,
)
from posthouse.model.traits import ThinkingOff, ThinkingStyle, Traits
from posthouse.wire import json

Block = dict[str, Any]

_TIERS = frozenset({"default", "flex", "priority", "reserved"})
_NOT_SAMPLED = ("frequency_penalty", "presence_penalty", "seed", "logit_bias")
_TOLD = ("logprobs", "top_logprobs")
_STOP_PATH = "/stop_sequence"
"""Where Anthropic's models say at which sequence they stopped."""


class OptionWriter:
    """Writes what is not the prompt."""

    def __init__(
        self, chat: ChatRequest, traits: Traits, losses: Losses, *, unthinking: bool
    ) -> None:
        """Begin a request.

        Args:
            chat: the request.
            traits: what the model can.
            losses: is told what is left out or changed.
            unthinking: a chain of calls, which goes on here, began without thoughts.
        """
        self._unthinking = unthinking
        self._chat = chat
        self._traits = traits
        self._losses = losses
        self._family = family(traits.model)
        self._fields: Block = {}
        """Those that only some models know."""
        self._output: Block = {}
        self._budgeted = False
        """Whether a number of tokens is for thoughts."""
        self.advice: list[str] = []
        """What has no member, in words for the model."""

    def write(self) -> Block:
        """Give the members."""
        self._refuse_impossible()
        thinks = self._write_thinking()
        config = self._sampling(thinks=thinks)
        body: Block = {"inferenceConfig": config} if config else {}
        self._write_format()
        if self._output:
            body["outputConfig"] = self._output
        if self._fields:
            body["additionalModelRequestFields"] = self._fields
        if "stopSequences" in config and self._family is Family.CLAUDE:
            body["additionalModelResponseFieldPaths"] = [_STOP_PATH]
        self._write_caller(body)
        return body

    def _refuse_impossible(self) -> None:
        chat = self._chat
        if chat.choices is not None and chat.choices > 1:
            self._losses.change("n")
        for kind in chat.modalities:
            if kind != "text":
                self._losses.refuse("modalities", "This model answers in text alone.")
        if chat.audio is not None:
            self._losses.drop("audio")

    # --- sampling ---------------------------------------------------------------

    def _sampling(self, *, thinks: bool) -> Block:
        sampling, losses = self._chat.sampling, self._losses
        self._tell_sampling()
        config: Block = {}
        limit = self._limit()
        if limit is None and self._budgeted:
            # Thoughts count as output: the usual limit might leave no room for them.
            limit = self._traits.max_output or None
        if limit is not None:
            config["maxTokens"] = limit
        free = self._traits.sampling and not thinks
        for name, member in (("temperature", "temperature"), ("top_p", "topP")):
            value = getattr(sampling, name)
            if value is None:
                continue
            if free:
                config[member] = self._bounded(name, value)
            else:
                losses.drop(name)
        if sampling.top_k is not None:
            self._write_top_k(sampling.top_k, free=free)
        if sampling.stop:
            config["stopSequences"] = list(sampling.stop)
        return config

    def _tell_sampling(self) -> None:
        """Tell what no model here knows."""
        for name in (*_NOT_SAMPLED, *_TOLD):
            value = getattr(self._chat.sampling, name)
            if value if name in _TOLD else value is not None:
                self._losses.drop(name)

    def _limit(self) -> int | None:
        limit, most = self._chat.output_limit, self._traits.max_output
        if limit is not None and most and limit > most:
            self._losses.change("max_tokens")
            return most
        return limit

    def _bounded(self, name: str, value: float) -> float:
        if 0 <= value <= 1:
            return value
        self._losses.change(name)
        return min(max(value, 0), 1)

    def _write_top_k(self, value: int, *, free: bool) -> None:
        if free and self._family is Family.CLAUDE:
            self._fields["top_k"] = value
        elif free and self._family is Family.NOVA:
            self._fields["inferenceConfig"] = {"topK": value}
        else:
            self._losses.drop("top_k")

    # --- thinking ---------------------------------------------------------------

    def _write_thinking(self) -> bool:
        """Write how much the model shall think; tell whether one of Claude's does."""
        reasoning = self._chat.reasoning
        if reasoning is None:
            return False
        off = is_off(reasoning)
        cannot = self._cannot_think() or self._forces_a_tool()
        if off:
            if self._family is Family.CLAUDE:
                self._off()
            return False
        if self._family is Family.CLAUDE and not cannot:
            if self._traits.thinking is ThinkingStyle.BUDGET:
                return self._by_budget(reasoning)
            return self._by_effort(reasoning)
        if self._family is Family.NOVA and not cannot:
            told = {"type": "enabled", "maxReasoningEffort": self._effort(reasoning)}
            self._fields["reasoningConfig"] = told
        elif self._family is Family.GPT and not cannot:
            self._fields["reasoning_effort"] = self._effort(reasoning)
        else:
            self._losses.drop("reasoning")
        return False

    def _cannot_think(self) -> bool:
        style = self._traits.thinking
        if self._family is Family.CLAUDE and style is ThinkingStyle.BUDGET:
            return self._unthinking
        return style is ThinkingStyle.NONE

    def _forces_a_tool(self) -> bool:
        choice = self._chat.tool_choice
        forced = choice is not None and choice.use is ToolUse.REQUIRED
        claude = self._family is Family.CLAUDE
        return (
            claude and forced and bool(self._chat.tools) and self._traits.forced_tools
        )

    def _off(self) -> None:
        """Have it not think; the models that always do, little."""
        off = self._traits.thinking_off
        if self._traits.thinking is ThinkingStyle.NONE:
            return
        if off is not ThinkingOff.DISABLED:
            self._losses.change("reasoning")
        if off is ThinkingOff.NEVER:
            self._output["effort"] = "low"
        elif self._traits.thinking is not ThinkingStyle.BUDGET:
            self._fields["thinking"] = {"type": off.value}

    def _by_effort(self, reasoning: Reasoning) -> bool:
        self._fields["thinking"] = {"type": "adaptive"} | display(reasoning)
        effort = reasoning.effort
        if effort is None and (reasoning.budget or 0) > 0:
            self._losses.change("reasoning")
            effort = effort_of(reasoning.budget or 0)
        if effort == "minimal":
            self._losses.change("reasoning")
            effort = "low"
        if effort is not None:
            self._output["effort"] = effort
        return True

    def _by_budget(self, reasoning: Reasoning) -> bool:
        budget = reasoning.budget
        if budget is None or budget < 0:
            self._losses.change("reasoning")
            budget = BUDGETS.get(reasoning.effort or "medium", BUDGETS["medium"])
        most = (self._limit() or self._traits.max_output or budget + 1) - 1
        bounded = min(max(budget, LEAST_BUDGET), most)
        if bounded < LEAST_BUDGET:
            # The answer's limit leaves no room for thoughts.
            self._losses.drop("reasoning")
            return False
        if bounded != budget:
            self._losses.change("reasoning")
        self._fields["thinking"] = {"type": "enabled", "budget_tokens": bounded}
        self._budgeted = True
        return True

    def _effort(self, reasoning: Reasoning) -> str:
        """An effort of three, as Amazon's models and OpenAI's know them."""
        effort = reasoning.effort
        if effort is None and (reasoning.budget or 0) > 0:
            effort = effort_of(reasoning.budget or 0)
        known = {"minimal": "low", "xhigh": "high", "max": "high"}
        told = known.get(effort or "medium", effort or "medium")
        if told != reasoning.effort:
            self._losses.change("reasoning")
        return told

    # --- the form of the answer -------------------------------------------------

    def _write_format(self) -> None:
        wanted = self._chat.output_format
        if wanted is None or wanted.kind is OutputKind.TEXT:
            return
        if wanted.kind is OutputKind.SCHEMA and self._traits.schema:
            self._output["textFormat"] = _text_format(wanted)
            return
        self._losses.change("response_format")
        if wanted.kind is OutputKind.JSON:
            self.advice.append("Answer with nothing but a JSON object.")
            return
        schema = json.encode(wanted.schema or {}).decode()
        self.advice.append(
            "Answer with nothing but a JSON value that conforms to this JSON "
            f"schema:\n{schema}"
        )

    # --- who asks ---------------------------------------------------------------

    def _write_caller(self, body: Block) -> None:
        chat, losses = self._chat, self._losses
        if chat.user is not None:
            losses.drop("user")
        if chat.cache_key is not None:
            losses.drop("prompt_cache_key")
        tier = (chat.service_tier or "auto").lower()
        if tier in _TIERS:
            body["serviceTier"] = {"type": tier}
        elif tier not in ("auto", "standard", "standard_only"):
            losses.drop("service_tier")
        for name in chat.extras:
            losses.drop(name)


def _text_format(wanted: OutputFormat) -> Block:
    """Write a schema, which stands there as text."""
    schema: Block = {"schema": json.encode(wanted.schema or {}).decode()}
    if wanted.name is not None:
        schema["name"] = wanted.name
    if wanted.description is not None:
        schema["description"] = wanted.description
    return {"type": "json_schema", "structure": {"jsonSchema": schema}}
