"""What the dialect's modules call things alike."""

from enum import Enum

NAME = "bedrock_converse"

SIGNED_BY = "anthropic_messages"
"""Who gives the signatures of thoughts: their values hold wherever Claude runs
(https://platform.claude.com/docs/en/build-with-claude/extended-thinking)."""

EMPTY_OBJECT = "{}"


class Family(Enum):
    """Whose words a model knows beside those of all."""

    CLAUDE = "claude"
    NOVA = "nova"
    GPT = "gpt"
    OTHER = ""


def family(model: str) -> Family:
    """Tell by a name, such as `eu.amazon.nova-lite-v1:0` or the end of an ARN."""
    name = model.rsplit("/", 1)[-1]
    return next(one for one in Family if one.value in name)
