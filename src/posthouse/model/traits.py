"""What a model at one provider can and cannot do, as far as translation asks.

Declared by provider and by model in `catalog/*.toml`; what is not declared is
taken to be as the newest models of the dialect have it.
"""

from enum import StrEnum

from msgspec import Struct


class ThinkingStyle(StrEnum):
    """How a model is told how much to think."""

    NATIVE = "native"
    """As the dialect's newest models take it."""
    BUDGET = "budget"
    """By a number of tokens."""
    SWITCH = "switch"
    """On or off: `thinking.type` (Zhipu, Moonshot, Ark, DeepSeek)."""
    FLAG = "flag"
    """On or off: `enable_thinking` (Qwen and what serves it)."""
    NONE = "none"
    """It cannot be told."""


class ThinkingOff(StrEnum):
    """How a model of Anthropic's is told not to think."""

    DISABLED = "disabled"
    """By that word."""
    BETWEEN_TOOLS = "between_tools"
    """It still may, between one tool and the next."""
    NEVER = "never"
    """It cannot be told: it always does, possibly little."""


class Replay(StrEnum):
    """Whether thoughts of earlier turns go back to the model."""

    NEVER = "never"
    TOOLS = "tools"
    """Only those since the last message of the user's, with their tool calls."""
    ALWAYS = "always"


class CacheMarks(StrEnum):
    """How a provider is told to keep a prompt, where the dialect has no one word."""

    NONE = "none"
    """It cannot be told."""
    CONTROL = "control"
    """`cache_control` on parts (OpenRouter, DashScope)."""
    BREAKPOINT = "breakpoint"
    """`prompt_cache_breakpoint` on parts (OpenAI)."""


class Traits(Struct, frozen=True, forbid_unknown_fields=True):
    """What translation must know of a target."""

    model: str = ""
    """Its name there."""
    max_output: int = 0
    """Tokens; 0 is not known."""
    thinking: ThinkingStyle = ThinkingStyle.NATIVE
    thinking_range: tuple[int, int] | None = None
    """The least and the greatest budget, in tokens."""
    replay: Replay = Replay.NEVER
    """Of thoughts without a signature."""
    schema: bool = True
    """Answers can be held to a JSON schema."""
    json_mode: bool = True
    image_urls: bool = True
    """Pictures may be URLs; otherwise they are fetched and sent whole."""
    developer: bool = False
    """Knows the role of developers apart from the system's."""
    choices: bool = True
    """Gives several answers at once, where the dialect has a word for it."""
    new_output_limit: bool = False
    """Wants `max_completion_tokens`."""
    cache_marks: CacheMarks = CacheMarks.NONE
    """In OpenAI's chat, where each provider has a word of its own."""
    custom_tools: bool = False
    """Tools may take text instead of JSON; otherwise they become functions."""
    text_parts: bool = True
    """What is said may be a list of texts; otherwise they are joined."""
    sampling: bool = True
    """Temperature, `top_p` and `top_k` can be chosen."""
    thinking_off: ThinkingOff = ThinkingOff.DISABLED
    forced_tools: bool = True
    """Tools can be called for; otherwise the model is only asked to call them."""
    system: bool = True
    """Takes a system prompt (Gemini; models that only draw and Gemma take none)."""
    schema_subset: bool = False
    """Takes schemas only in OpenAPI's subset (Gemini, before it had JSON schema)."""
    token_input: bool = True
    """Embeds tokens as well as texts."""
    dimensions: bool = True
    """The length of its embeddings can be chosen."""
    translates: bool = False
    """Takes `translation_options` in place of a prompt (Qwen-MT)."""
