"""The one door to JSON: the only module that calls a JSON library.

Rules: bytes in and bytes out; a number, string or order that we do not edit
survives to the letter (`Raw`); bad input raises `MalformedJSON` in bounded
time, whatever its depth or encoding. The lenient pair is for what sloppy
providers write (half a surrogate pair, bytes that are not UTF-8, NaN) and a
client's own parser may well take.
"""

import json as lenient  # noqa: TID251 - this module is the door
from codecs import utf_8_decode
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from posthouse.wire.json_shape import BadShape, check_shape

T = TypeVar("T")
Decoder = msgspec.json.Decoder

_UTF8_STEP = 256 * 1024
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
    except DECODE_ERRORS as error:
        raise MalformedJSON(reason_of(error)) from None


def fits(decoder: "Decoder[Any]", data: bytes | Raw) -> bool:
    """Whether `data` is what a decoder reads."""
    try:
        decoder.decode(data)
    except DECODE_ERRORS:
        return False
    return True


DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder's own `decode` raises, for hot paths."""


def reason_of(error: BaseException) -> str:
    """Say what one of DECODE_ERRORS means."""
    if isinstance(error, RecursionError):
        return "the JSON is nested too deeply"
    return str(error)


def decoder(kind: Any) -> "Decoder[Any]":
    """Make a decoder for a hot path; keep it in a module constant.

    `kind` may be a union, which Python's type system has no name for.
    """
    return msgspec.json.Decoder(kind)


def decode_envelope(data: bytes) -> Envelope:
    """Decode an object's top level only.

    Duplicate names collapse to the last value, which is the one that every
    later judgement and the re-encoded body then share. Raises MalformedJSON,
    also when the text is not UTF-8 anywhere inside, or deeper or fuller than
    `json_shape` allows.
    """
    try:
        check_shape(data)
        if not data.isascii():
            check_utf8(data)
        return _envelope_decoder.decode(data)
    except BadShape as error:
        raise MalformedJSON(str(error)) from None
    except DECODE_ERRORS as error:
        raise MalformedJSON(reason_of(error)) from None


def check_utf8(data: bytes) -> None:
    """Refuse bytes that are not UTF-8, which decoding to `Raw` overlooks.

    In steps, for the text of a large one may take four times its memory.
    Raises MalformedJSON.
    """
    if data.isascii():
        return
    at = 0
    while at < len(data):
        piece = data[at : at + _UTF8_STEP]
        try:
            _, taken = utf_8_decode(piece, "strict", at + len(piece) == len(data))
        except UnicodeDecodeError as error:
            raise MalformedJSON(
                f"the text is not UTF-8 at byte {at + error.start}"
            ) from None
        at += taken


def opens_with(value: Raw, token: bytes) -> bool:
    """Whether a value's text begins with a byte: `[` an array, `"` a string."""
    return memoryview(value)[0] == token[0]


encode: Callable[[Any], bytes] = _encoder.encode
"""Encode a value; `Raw` members are copied as they stand."""


def raw(value: Any) -> Raw:
    """Encode a value for use as an envelope's member."""
    return Raw(_encoder.encode(value))


def compact(data: bytes | Raw) -> bytes:
    """Leave out the white space between tokens, which stay to the letter.

    Raises MalformedJSON.
    """
    try:
        return msgspec.json.format(bytes(data), indent=-1)
    except DECODE_ERRORS as error:
        raise MalformedJSON(reason_of(error)) from None


def pretty(value: Any) -> str:
    """Encode a value for people: indented."""
    return msgspec.json.format(_encoder.encode(value), indent=2).decode()


def decode_leniently(data: bytes) -> Any:
    """Decode what Python's own parser takes; bad UTF-8 becomes U+FFFD.

    Control characters may stand in strings as they are. Raises MalformedJSON.
    """
    try:
        return lenient.loads(data.decode(errors="replace"), strict=False)
    except ValueError as error:
        raise MalformedJSON(str(error)) from None
    except RecursionError:
        raise MalformedJSON("the JSON is nested too deeply") from None


class Members(list[tuple[str, Any]]):
    """An object's members as they stand: a name may stand there twice."""


def decode_members(data: bytes) -> Any:
    """Decode with every object as `Members`, so that nothing collapses.

    Raises MalformedJSON.
    """
    try:
        check_shape(data)
        return lenient.loads(data.decode(), object_pairs_hook=Members)
    except (ValueError, BadShape) as error:
        raise MalformedJSON(str(error)) from None
    except RecursionError:
        raise MalformedJSON("the JSON is nested too deeply") from None


def decode_mended(data: bytes) -> Any:
    """Decode leniently what shall be written again.

    A half of a surrogate pair, which no encoder takes, becomes U+FFFD. Raises
    MalformedJSON.
    """
    value = decode_leniently(data)
    if b"\\u" not in data:
        return value
    return lenient.loads(mended(lenient.dumps(value, ensure_ascii=False)))


def mended(text: str) -> str:
    """A text whose halves of surrogate pairs are joined or become U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def encode_leniently(value: Any) -> bytes:
    """Encode what `decode_leniently` gave, in ASCII."""
    return lenient.dumps(value, separators=(",", ":")).encode()


def convert(value: Any, kind: type[T]) -> T:
    """Turn a decoded value into `kind`; raises MalformedJSON."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise MalformedJSON(str(error)) from None
