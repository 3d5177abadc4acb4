"""Pictures asked for in one dialect and made by a provider of another.

A dialect's package offers a `PLAIN_CODEC` that is an `ImageCodec`. Providers who take
nothing but bytes are given what the caller's URLs lead to, which the relay fetches
before; a provider who makes one picture at a time is asked as often as there shall be
pictures (`SeveralImages`).
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import structs
from typing_extensions import override

from posthouse.dialects.base import (
    Answer,
    Dialect,
    Edits,
    ParsedReply,
    ParsedRequest,
    Reading,
    read_answer,
)
from posthouse.dialects.neutral.codec import Losses
from posthouse.dialects.neutral.plain import PlainCodec, PlainTranslation
from posthouse.dialects.neutral.usage import summed_usage
from posthouse.errors import InvalidRequest, UpstreamBadResponse
from posthouse.model.image import ImageReply, ImageRequest, MadePicture, Picture
from posthouse.model.usage import ReportedUsage
from posthouse.wire.multipart import Part, Payload
from posthouse.wire.pictures import EXTENSIONS, has_transparency, picture_type

MOST_PICTURES = 10
"""Requests that one call may become."""
_FETCHED = ("http://", "https://")
_UNKNOWN_TYPE = "application/octet-stream"


class ImageCodec(PlainCodec[ImageRequest, ImageReply]):
    """One dialect of pictures; see `PlainCodec` for what each method promises.

    Of those that are spoken behind us alone, nothing is read that clients wrote.
    """

    kind = "image"
    most = MOST_PICTURES
    """Pictures that one request may ask for."""
    takes_urls = True
    """Providers fetch what the caller's URLs lead to."""
    mask_changes: int | None = None
    """The grey of what may change, in masks; None: they are transparent there."""

    @override
    def read_request(self, request: ParsedRequest) -> ImageRequest:
        raise InvalidRequest(
            "This model cannot be asked in this way",
            param="model",
            code="unsupported_operation",
        )

    @override
    def write_reply(
        self, answered: ImageReply, request: ParsedRequest, model: str
    ) -> Payload:
        raise InvalidRequest(
            "This model cannot be asked in this way",
            param="model",
            code="unsupported_operation",
        )


class ImageTranslation(PlainTranslation[ImageRequest, ImageReply]):
    """See `Dialect` for what each method promises."""

    _upstream_codec: ImageCodec

    def __init__(
        self,
        client: tuple[Dialect, ImageCodec],
        upstream: tuple[Dialect, ImageCodec],
        model: str,
        *,
        clock: Callable[[], float],
    ) -> None:
        """Lead clients of one dialect to a provider of another.

        Args:
            client: what is spoken before us.
            upstream: what is spoken behind us.
            model: the provider's name for the model.
            clock: seconds since 1970, for replies that do not tell when.
        """
        super().__init__(client, upstream, model)
        self._clock = clock
        self.mask_changes = self._upstream_codec.mask_changes

    @override
    def render_body(self, request: ParsedRequest, edits: Edits) -> Payload:
        body = super().render_body(request, edits)
        # How the picture shall come has been said in the provider's words.
        kept = request.reading.sent
        kept[self.name] = structs.replace(kept[self.name], wants_base64=None)
        return body

    @override
    def _write_reply(
        self, answered: ImageReply, request: ParsedRequest, model: str
    ) -> Payload:
        if answered.created is None:
            answered = structs.replace(answered, created=int(self._clock()))
        return super()._write_reply(answered, request, model)

    @override
    def wanted_media(self, request: ParsedRequest) -> tuple[str, ...]:
        """The URLs that must be fetched, in order and each once."""
        if self._upstream_codec.takes_urls:
            return ()
        asked = super()._read(request)
        urls = (one.url for one in (*asked.images, asked.mask) if one is not None)
        found = (url for url in urls if url and url.lower().startswith(_FETCHED))
        return tuple(dict.fromkeys(found))

    def wanted_mask(self, request: ParsedRequest) -> bytes | None:
        """The mask that must be turned before the request is written; None: none.

        What is fetched has been; raises InvalidRequest.
        """
        if self.mask_changes is None or self.mask_changes in request.reading.masks:
            return None
        mask = self._read(request).mask
        given = None if mask is None else bytes_of(mask, Losses())
        return given if given is not None and has_transparency(given) else None

    @override
    def _read(self, request: ParsedRequest) -> ImageRequest:
        """Read the request, with what has been fetched and turned in its place."""
        asked, masks = self._fetched(request), request.reading.masks
        turned = None if self.mask_changes is None else masks.get(self.mask_changes)
        if turned is None:
            return asked
        mask = Picture(data=turned, media_type="image/png", filename="mask.png")
        return structs.replace(asked, mask=mask)

    def _fetched(self, request: ParsedRequest) -> ImageRequest:
        """Read the request, with what has been fetched in place of its URLs."""
        asked = super()._read(request)
        media = request.reading.media
        if not media:
            return asked

        def filled(picture: Picture) -> Picture:
            one = media.get(picture.url or "")
            if one is None or one.data is None:
                return picture
            return Picture(data=b64decode(one.data), media_type=one.media_type)

        mask = asked.mask and filled(asked.mask)
        return structs.replace(
            asked, images=tuple(map(filled, asked.images)), mask=mask
        )


class SeveralImages(ImageTranslation):
    """For calls that ask for several pictures of a model that makes one."""

    def split(self, request: ParsedRequest) -> list[ParsedRequest]:
        """Make a request for each picture; raises InvalidRequest."""
        asked, reading = super()._read(request), request.reading
        one = structs.replace(asked, count=1)
        seed = asked.extras.get("seed")
        parts = []
        for number in range(request.choices):
            part = one
            if number and type(seed) is int:
                # With one seed all would be the same picture.
                part = structs.replace(
                    one, extras={**one.extras, "seed": seed + number}
                )
            kept = Reading(
                asked=part,
                media=reading.media,
                masks=reading.masks,
                losses=reading.losses,
            )
            parts.append(
                structs.replace(request, choices=1, counted={"image": 1}, kept=kept)
            )
        return parts

    def join(
        self, request: ParsedRequest, bodies: Sequence[bytes], public_model: str | None
    ) -> tuple[ParsedReply, tuple[ReportedUsage | None, ...]]:
        """Read the replies to all requests; raises UpstreamFault.

        Gives the one for the client, with the usage of all.
        """
        sent = structs.replace(
            request, stream=False, choices=1, wants_base64=None, kept=None
        )
        asked = super()._read(request)
        judged = [
            read_answer(self._upstream, sent, Answer((), body), None) for body in bodies
        ]
        replies = [self._upstream_codec.read_reply(one, asked) for one in judged]
        whole = structs.replace(
            replies[0],
            pictures=tuple(one for reply in replies for one in reply.pictures),
        )
        model = public_model or self._model
        written = self._write_reply(whole, request, model)
        usage = summed_usage([one.usage for one in judged])
        reply = structs.replace(
            judged[0], body=written.data, content_type=written.content_type, usage=usage
        )
        return reply, ()


# --- what writers of vendors' requests need -----------------------------------------


def refuse_more(asked: ImageRequest, most: int, losses: Losses) -> None:
    """Refuse more pictures than one request may ask for; raises InvalidRequest."""
    if asked.count > most:
        losses.refuse("n", f"This model makes at most {most} pictures at once")


def needed_picture(asked: ImageRequest, losses: Losses) -> Picture:
    """The picture that is changed; raises InvalidRequest."""
    if not asked.images:
        losses.refuse("image", "This model needs a picture to change")
    return asked.images[0]


def bytes_of(picture: Picture, losses: Losses) -> bytes:
    """A picture's file; raises InvalidRequest."""
    if picture.data is not None:
        return picture.data
    url = picture.url or ""
    if not url.startswith("data:"):
        losses.refuse("image", "This model takes pictures as files, URLs or data URLs")
    head, _, text = url.partition(",")
    if not head.endswith(";base64"):
        losses.refuse("image", "The data URL of a picture must be in base64")
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        losses.refuse("image", "The data URL of a picture is not base64")


def file_part(name: str, picture: Picture, losses: Losses) -> Part:
    """A picture as a form's file; raises InvalidRequest."""
    data = bytes_of(picture, losses)
    kind = picture_type(data) or picture.media_type or _UNKNOWN_TYPE
    filename = picture.filename or f"image.{EXTENSIONS.get(kind, 'bin')}"
    return Part(name, data, filename, kind.encode("ascii", "replace"))


def text_part(name: str, value: Any) -> Part:
    """A value as a form's field."""
    return Part(name, str(value).encode())


def url_of(picture: Picture, losses: Losses) -> str:
    """A picture's address, or a data URL of its bytes; raises InvalidRequest."""
    if picture.url is not None:
        return picture.url
    kind, text = base64_of(picture, losses)
    return f"data:{kind};base64,{text}"


def base64_of(picture: Picture, losses: Losses) -> tuple[str, str]:
    """A picture's type and its bytes in base64; raises InvalidRequest."""
    data = bytes_of(picture, losses)
    kind = picture_type(data) or picture.media_type or "image/png"
    return kind, b64encode(data).decode()


def nearest_ratio(asked: ImageRequest, ratios: Sequence[str]) -> str | None:
    """The ratio (`16:9`, `16x9`, `16_9`) that a size comes nearest to.

    None where the caller has asked for no size.
    """
    pixels = asked.pixels
    if pixels is None:
        return None
    wanted = pixels[0] / pixels[1]

    def distance(ratio: str) -> float:
        width, height = ratio.replace("x", ":").replace("_", ":").split(":")
        found = int(width) / int(height)
        return max(found, wanted) / min(found, wanted)

    return min(ratios, key=distance)


def take(asked: ImageRequest, names: Sequence[str], losses: Losses) -> dict[str, Any]:
    """What else the caller said and the provider knows by the same name.

    Whatever is left over the caller is told of.
    """
    for name in asked.extras:
        if name not in names:
            losses.drop(name)
    return {name: asked.extras[name] for name in names if name in asked.extras}


def drop_unknown(asked: ImageRequest, known: Sequence[str], losses: Losses) -> None:
    """Tell which of the usual options a provider has no word for."""
    for name, member in (
        ("quality", "quality"),
        ("style", "style"),
        ("background", "background"),
        ("output_format", "output_format"),
        ("compression", "output_compression"),
        ("user", "user"),
    ):
        if name not in known and getattr(asked, name) is not None:
            losses.drop(member)


def reply_of(pictures: Sequence[MadePicture], **others: Any) -> ImageReply:
    """A reply with pictures; raises UpstreamFault if there are none."""
    if not pictures:
        raise UpstreamBadResponse
    return ImageReply(pictures=tuple(pictures), **others)
