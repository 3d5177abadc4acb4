"""Make the tokenizer's rank files from npm's `tiktoken` package.

The package holds OpenAI's byte-pair ranks as text. A rank file here is an xz
stream of: the splitting pattern's length (4 bytes, big-endian) and the pattern
in UTF-8, the number of tokens (4 bytes), one length byte for each token in the
order of rank, and the tokens' bytes one after the other.

    npm pack tiktoken && tar xzf tiktoken-*.tgz
    python tools/rank_files.py package/encoders src/posthouse/billing/ranks
"""

import base64
import json
import lzma
import sys
from pathlib import Path

ENCODINGS = ("o200k_base", "cl100k_base")


def read_ranks(text: str) -> list[bytes]:
    """Read lines of `! <first rank> <token> …`; give the tokens by rank."""
    tokens: list[bytes] = []
    for line in filter(None, text.split("\n")):
        _, first, *encoded = line.split(" ")
        if int(first) != len(tokens):
            raise ValueError(f"ranks jump from {len(tokens)} to {first}")
        tokens += [base64.b64decode(token) for token in encoded]
    return tokens


def rank_file(pattern: str, tokens: list[bytes]) -> bytes:
    """Write a rank file's bytes."""
    encoded = pattern.encode()
    content = b"".join(
        (
            len(encoded).to_bytes(4, "big"),
            encoded,
            len(tokens).to_bytes(4, "big"),
            bytes(len(token) for token in tokens),
            *tokens,
        )
    )
    return lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)


def main(source: Path, target: Path) -> None:
    """Convert every encoding."""
    for name in ENCODINGS:
        encoder = json.loads((source / f"{name}.json").read_text())
        tokens = read_ranks(encoder["bpe_ranks"])
        data = rank_file(encoder["pat_str"], tokens)
        (target / f"{name}.xz").write_bytes(data)
        print(f"{name}: {len(tokens)} tokens, {len(data)} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
