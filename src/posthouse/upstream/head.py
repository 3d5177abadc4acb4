"""A reply's head as bytes, cut out and split without a call per field.

Pure. For bytes that httptools (llhttp without leniencies) has accepted: it
refuses folded lines, bare CR or LF and space before a colon, so every CRLF in a
head ends a line, and the first empty line ends the head.
"""

Headers = list[tuple[bytes, bytes]]
"""Names in lower case, in the order of the wire."""

_END = b"\r\n\r\n"
_STATUS_LINE = b"H"


def cut_head(data: bytes, interims: int) -> bytes:
    """Give a head's lines but for its end: each field stands behind a CRLF.

    Args:
        data: what arrived up to the head's end at least.
        interims: how many whole heads, without bodies, stand before it.
    """
    if not interims and data.startswith(_STATUS_LINE):
        return data[: data.find(_END)]
    # Line ends before a status line are ignored by the parser.
    begin = data.find(_STATUS_LINE)
    for _ in range(interims):
        begin = data.find(_STATUS_LINE, data.find(_END, begin) + len(_END))
    return data[begin : data.find(_END, begin)]


def split_head(head: bytes) -> Headers:
    """Give the fields of what `cut_head` gave."""
    fields: Headers = []
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields
