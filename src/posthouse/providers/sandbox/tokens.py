"""The sandbox's count of tokens: one for every four characters begun.

The rule is simple so that a developer can foretell usage, limits and prices.
Parts that are not text have a fixed count.
"""

TOKEN_CHARACTERS = 4
MAX_REPLY_TOKENS = 20_000
"""For all choices of one reply together: the sandbox shares its process with
everybody's calls, so no reply may take long to make."""
MESSAGE_TOKENS = 3
"""What a message costs beside its text."""
IMAGE_TOKENS = 85
AUDIO_TOKENS = 50
FILE_TOKENS = 100


def count(text: str) -> int:
    """Count the tokens of `text`."""
    return -(-len(text) // TOKEN_CHARACTERS)


def split(text: str) -> list[str]:
    """Cut `text` into its tokens; joined they are the text again."""
    return [
        text[start : start + TOKEN_CHARACTERS]
        for start in range(0, len(text), TOKEN_CHARACTERS)
    ]


def cut(text: str, tokens: int) -> str:
    """Give the first `tokens` tokens of `text`."""
    return text[: max(tokens, 0) * TOKEN_CHARACTERS]
