"""What the dialect's modules call things alike."""

NAME = "bedrock_converse"

SIGNED_BY = "anthropic_messages"
"""Who gives the signatures of thoughts: their values hold wherever Claude runs
(https://platform.claude.com/docs/en/build-with-claude/extended-thinking)."""

EMPTY_OBJECT = "{}"


def family(model: str) -> str:
    """Whose model it is: `anthropic`, `amazon`, `openai` …; "" is not known.

    A name is `anthropic.claude-…`, possibly with a region's prefix before it, or
    the end of an ARN that holds one.
    """
    for part in model.rsplit("/", 1)[-1].split(".")[:2]:
        if part in _FAMILIES:
            return part
    return ""


_FAMILIES = frozenset(
    {"anthropic", "amazon", "openai", "meta", "mistral", "deepseek", "qwen", "cohere"}
)
