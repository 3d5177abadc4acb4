"""The one door to JSON: the only module that calls a JSON library.

Rules: bytes in and bytes out; a number, string or order that we do not edit
survives to the letter (`Raw`); bad input raises `MalformedJSON` in bounded
time, whatever its depth or encoding.
"""

from typing import Any, TypeVar

import msgspec
from msgspec import Raw

T = TypeVar("T")
Decoder = msgspec.json.Decoder

_encoder = msgspec.json.Encoder()
_envelope_decoder = msgspec.json.Decoder(dict[str, Raw])

Envelope = dict[str, Raw]
"""A JSON object's top level: names decoded, values as they stood."""


class MalformedJSON(ValueError):
    """The bytes are not the JSON that was asked for; str() says where and why."""


def decode(data: bytes | Raw, kind: type[T]) -> T:
    """Decode `data` into `kind`; raises MalformedJSON."""
    return decode_with(msgspec.json.Decoder(kind), data)


def decode_with(decoder: "Decoder[T]", data: bytes | Raw) -> T:
    """Decode with a decoder made once by `decoder`; raises MalformedJSON."""
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedJSON(str(error)) from None
    except RecursionError:
        raise MalformedJSON("the JSON is nested too deeply") from None


def decoder(kind: Any) -> "Decoder[Any]":
    """Make a decoder for a hot path; keep it in a module constant.

    `kind` may be a union, which Python's type system has no name for.
    """
    return msgspec.json.Decoder(kind)


def decode_envelope(data: bytes) -> Envelope:
    """Decode an object's top level only.

    Duplicate names collapse to the last value, which is the one that every
    later judgement and the re-encoded body then share. Raises MalformedJSON,
    also when the text is not UTF-8 anywhere inside.
    """
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise MalformedJSON(
                f"the body is not UTF-8 at byte {error.start}"
            ) from None
    return decode_with(_envelope_decoder, data)


def encode(value: Any) -> bytes:
    """Encode a value; `Raw` members are copied as they stand."""
    return _encoder.encode(value)


def raw(value: Any) -> Raw:
    """Encode a value for use as an envelope's member."""
    return Raw(_encoder.encode(value))


def pretty(value: Any) -> str:
    """Encode a value for people: indented."""
    return msgspec.json.format(_encoder.encode(value), indent=2).decode()
