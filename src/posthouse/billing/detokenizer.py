"""The text that tokens stand for, for providers of embeddings who take only text.

Clients cut texts by the encoding of OpenAI's embedding models, whatever the model is
called: so do OpenAI's own and LangChain. Only its table of tokens is loaded, when
the first are to be read: a few megabytes, off the event loop.
"""

import threading
from collections.abc import Iterable, Sequence

from posthouse.billing.tokenizer import OLDER_ENCODING, read_ranks
from posthouse.errors import InvalidRequest

_tables: list[list[bytes]] = []
_loading = threading.Lock()


def texts_of_tokens(inputs: Iterable[Sequence[int]]) -> tuple[str, ...]:
    """Give each input's text; blocks, and raises InvalidRequest for what is no token.

    A character that was cut apart becomes U+FFFD.
    """
    table = _table()
    return tuple(_text(table, tokens) for tokens in inputs)


def _text(table: list[bytes], tokens: Sequence[int]) -> str:
    if not all(0 <= token < len(table) for token in tokens):
        raise InvalidRequest(
            "This model embeds texts, and some of the tokens stand for none",
            param="input",
            code="invalid_value",
        )
    return b"".join([table[token] for token in tokens]).decode(errors="replace")


def _table() -> list[bytes]:
    """The table, loaded once however many threads ask."""
    if not _tables:
        with _loading:
            if not _tables:
                _tables.append(read_ranks(OLDER_ENCODING)[1])
    return _tables[0]
