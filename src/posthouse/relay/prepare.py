"""What every request of one operation to one target has in common, made once.

Where caller and provider speak the same dialect, it is that dialect; where a
chat's provider speaks another one, a translation stands in its place.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from os import urandom
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct, structs
from typing_extensions import override

from posthouse import __version__
from posthouse.dialects.base import (
    Corrected,
    Dialect,
    Edits,
    MediaDialect,
    make_edits,
)
from posthouse.dialects.neutral.by_chat import ByChat
from posthouse.dialects.neutral.codec import ChatCodec
from posthouse.dialects.neutral.images import (
    ImageCodec,
    ImageTranslation,
    SeveralImages,
)
from posthouse.dialects.neutral.plain import PlainCodec, PlainTranslation
from posthouse.dialects.neutral.several import SeveralTranslation
from posthouse.dialects.neutral.translation import Naming, Speaker, Translation
from posthouse.dialects.openai.by_embedding import ByEmbedding
from posthouse.dialects.openai.chat_tasks import TASKS, task_of
from posthouse.dialects.openai.corrected import CorrectedDialect
from posthouse.dialects.openai.reshaped import ReshapedCodec, Shape
from posthouse.dialects.openai_embeddings.limited import LimitedEmbeddings
from posthouse.errors import UnsupportedOperation
from posthouse.model.call import PAID_BY_RESULT
from posthouse.model.catalog import AuthScheme, OperationRow, Price, ProviderRow
from posthouse.model.exchange import Timeouts, UpstreamRequest
from posthouse.model.rerank import KIND as RERANK
from posthouse.model.traits import ThinkingStyle, Traits
from posthouse.relay.authorize import Authorizer, find_authorizer
from posthouse.routing.table import Channel, Member

Headers = tuple[tuple[bytes, bytes], ...]

USER_AGENT = f"posthouse/{__version__}".encode()
_AUTH_HEADERS = {
    AuthScheme.API_KEY: b"api-key",
    AuthScheme.X_API_KEY: b"x-api-key",
    AuthScheme.X_GOOG_API_KEY: b"x-goog-api-key",
}
_ANY = ((b"accept", b"*/*"),)
_JSON_BODY = (b"content-type", b"application/json")
_WITHOUT_HEADER = (AuthScheme.NONE, AuthScheme.SIGNED)


@cache
def find_dialect(name: str) -> Dialect:
    """The dialect of a name; raises LookupError if there is none."""
    try:
        found: Dialect = import_module(f"posthouse.dialects.{name}").DIALECT
    except (ModuleNotFoundError, AttributeError):
        raise LookupError(f"there is no dialect {name!r}") from None
    return found


@cache
def find_codec(name: str) -> ChatCodec | None:
    """A dialect's way into the neutral form; None if it has none."""
    module = import_module(f"posthouse.dialects.{name}")
    shape: Shape | None = getattr(module, "SHAPE", None)
    like = None if shape is None else find_codec(shape.of)
    if shape is not None and like is not None:
        return ReshapedCodec(like, shape)
    found: ChatCodec | None = getattr(module, "CODEC", None)
    return found


def find_plain_codec(name: str) -> PlainCodec[Any, Any] | None:
    """A dialect's way into the neutral form of what is no chat; None if it has none."""
    module = import_module(f"posthouse.dialects.{name}")
    found: PlainCodec[Any, Any] | None = getattr(module, "PLAIN_CODEC", None)
    return found


Led = (
    Translation
    | PlainTranslation[Any, Any]
    | ByChat[Any, Any]
    | ByEmbedding
    | LimitedEmbeddings
)
"""What stands in a dialect's place where caller and provider speak others."""


class Prepared(Struct, frozen=True):
    """What every request of one operation to one target has in common."""

    member: Member
    """The target's."""
    dialect: Dialect
    """The operation's, as this provider speaks it; possibly a translation."""
    translation: "Led | None"
    """The same, where the caller speaks another dialect than the provider."""
    whole: UpstreamRequest
    """As it goes out, but for its body, where a whole reply is asked for."""
    streamed: UpstreamRequest
    """Likewise, where a stream is."""
    edits: Edits
    cost: Price | None
    """The supplier's price; None is not known."""
    count_target: str = ""
    """Where the provider counts the tokens of what is asked in its own dialect."""
    authorizer: Authorizer | None = None
    """Signs and sends; None: the headers are all there is."""
    for_several: "Prepared | None" = None
    """For calls that ask for several answers; None: as any other."""
    media: MediaDialect | None = None
    """The same as `dialect`, where bodies may be something else than JSON."""
    base_path: str = ""
    """Of the channel; the path of its base URL."""
    reads_text: bool = False
    """Tokens to embed must be turned into text before."""
    several: SeveralTranslation | SeveralImages | None = None
    """The same as `translation`, where every answer takes a request of its own."""
    drains: bool = False
    """The answer is awaited for a client that has left: what is paid by its result
    is made whether or not somebody looks on; else it is the channel's policy."""

    @override
    def __repr__(self) -> str:
        """Say for whom it is; the rest holds credentials."""
        return f"Prepared({self.member!r})"


def prepare(
    member: Member,
    operation: str,
    caller: str,
    *,
    cost: Price | None,
    clock: Callable[[], float],
) -> Prepared:
    """Prepare an operation to a member.

    Args:
        member: the target.
        operation: what is asked.
        caller: the caller's dialect; "" is what the provider speaks first.
        cost: the supplier's price.
        clock: seconds since 1970.
    """
    channel = member.channel
    model = member.upstream_model
    known = channel.provider.models.get(model)
    row = channel.provider.operations[operation]
    row = row.also.get((known and known.dialect) or caller, row)
    dialect = _dialect_of(channel.provider, row, model=model, clock=clock)
    translation = _translation(member, row, caller, dialect, clock=clock)
    path = _path_of(row.path, row.query, model)
    whole = channel_request(
        channel, member.credential, "POST", path, headers=(_JSON_BODY,)
    )
    prepared = Prepared(
        member=member,
        dialect=translation or dialect,
        translation=translation,
        whole=whole,
        streamed=_for_streams(whole, channel, row, model),
        edits=make_edits(
            member.upstream_model,
            row.quirks,
            channel.spec.body.set,
            channel.spec.body.drop,
        ),
        cost=cost,
        count_target="" if translation else _count_target(channel, row, model),
        authorizer=find_authorizer(channel, member.credential),
        media=_media(translation or dialect),
        base_path=channel.base_path,
        reads_text=not _traits(member, row).token_input,
        drains=operation in PAID_BY_RESULT or channel.spec.on_disconnect == "drain",
    )
    several = _several(member, row, caller, dialect, clock=clock)
    return prepared if several is None else _for_several(prepared, several)


def _for_streams(
    whole: UpstreamRequest, channel: Channel, row: OperationRow, model: str
) -> UpstreamRequest:
    """The request as it asks for a stream."""
    target = whole.target
    if row.stream_path:
        path = _path_of(row.stream_path, row.stream_query, model)
        target = channel.base_path + path
    return structs.replace(
        whole,
        target=target,
        headers=whole.headers + _encoded(row.stream_headers),
        timeouts=structs.replace(channel.timeouts, total=channel.stream_total),
    )


def _limited(
    member: Member, row: OperationRow, dialect: Dialect
) -> LimitedEmbeddings | None:
    """The row's own dialect, where the provider does not take all of it."""
    module = import_module(f"posthouse.dialects.{row.dialect}")
    limited = getattr(module, "limited", None)
    if limited is None:
        return None
    found: LimitedEmbeddings | None = limited(dialect, _traits(member, row))
    return found


def _media(dialect: Dialect) -> MediaDialect | None:
    return dialect if isinstance(dialect, MediaDialect) else None


def _for_several(
    prepared: Prepared, several: SeveralTranslation | SeveralImages
) -> Prepared:
    """Add what calls for several answers have in common."""
    other = structs.replace(
        prepared,
        dialect=several,
        translation=several,
        several=several,
        media=_media(several),
    )
    return structs.replace(prepared, for_several=other)


def _dialect_of(
    provider: ProviderRow,
    row: OperationRow,
    *,
    model: str,
    clock: Callable[[], float],
) -> Dialect:
    """The dialect as a provider speaks it, chosen once for all calls."""
    if row.replies is None and provider.errors is None:
        return find_dialect(row.dialect)
    module = import_module(f"posthouse.dialects.{row.dialect}")
    make: Corrected | None = getattr(module, "corrected", None)
    if make is None:
        return find_dialect(row.dialect)
    return make(row.replies, provider.errors, model=model, clock=clock)


def _translation(
    member: Member,
    row: OperationRow,
    caller: str,
    dialect: Dialect,
    *,
    clock: Callable[[], float],
) -> "Led | None":
    """Lead the caller's dialect to the provider's, where both know the neutral form.

    None where they speak the same, and the provider takes all of it.
    """
    if not caller or caller == row.dialect:
        return _limited(member, row, dialect)
    speakers = _speakers(row, caller, dialect)
    if speakers is None:
        return _plain_translation(member, row, caller, dialect, clock=clock)
    return Translation(*speakers, _traits(member, row), _naming(clock))


def _several(
    member: Member,
    row: OperationRow,
    caller: str,
    dialect: Dialect,
    *,
    clock: Callable[[], float],
) -> SeveralTranslation | SeveralImages | None:
    """Lead calls for several answers to a model that gives one at a time.

    None where the model gives several, or the caller cannot ask for them.
    """
    speakers = _speakers(row, caller, dialect) if caller else None
    if speakers is None:
        return _several_images(member, row, caller, dialect, clock=clock)
    if not speakers[0].codec.several:
        return None
    traits = _traits(member, row)
    native = find_codec(row.dialect)
    if traits.choices and native is not None and native.several:
        return None
    return SeveralTranslation(*speakers, traits, _naming(clock))


def _several_images(
    member: Member,
    row: OperationRow,
    caller: str,
    dialect: Dialect,
    *,
    clock: Callable[[], float],
) -> SeveralImages | None:
    """Do the same for pictures of a model that makes one at a time."""
    if caller in ("", row.dialect):
        return None
    client, upstream = find_plain_codec(caller), find_plain_codec(row.dialect)
    if not isinstance(client, ImageCodec) or not isinstance(upstream, ImageCodec):
        return None
    if upstream.most > 1:
        return None
    speakers = (find_dialect(caller), client), (dialect, upstream)
    return SeveralImages(*speakers, member.upstream_model, clock=clock)


def _speakers(
    row: OperationRow, caller: str, dialect: Dialect
) -> tuple[Speaker, Speaker] | None:
    """The caller and the provider, if both know the neutral form of chats."""
    client, upstream = find_codec(caller), find_codec(row.dialect)
    if client is None or upstream is None:
        return None
    if isinstance(dialect, CorrectedDialect):
        upstream = dialect.codec(upstream)
    return Speaker(find_dialect(caller), client), Speaker(dialect, upstream)


def _naming(clock: Callable[[], float]) -> Naming:
    return Naming(lambda: urandom(12).hex(), clock)


def _plain_translation(
    member: Member,
    row: OperationRow,
    caller: str,
    dialect: Dialect,
    *,
    clock: Callable[[], float],
) -> "Led":
    client, upstream = find_plain_codec(caller), find_plain_codec(row.dialect)
    if isinstance(client, ImageCodec) and isinstance(upstream, ImageCodec):
        pictures = (find_dialect(caller), client), (dialect, upstream)
        return ImageTranslation(*pictures, member.upstream_model, clock=clock)
    if client is None or upstream is None or client.kind != upstream.kind:
        return _stand_in(member, row, caller, dialect, clock=clock)
    spoken: Dialect = _limited(member, row, dialect) or dialect
    return PlainTranslation(
        (find_dialect(caller), client), (spoken, upstream), member.upstream_model
    )


def _stand_in(
    member: Member,
    row: OperationRow,
    caller: str,
    dialect: Dialect,
    *,
    clock: Callable[[], float],
) -> ByChat[Any, Any] | ByEmbedding:
    """Lead what is asked to a model that does something else; raises InvalidRequest."""
    asked, embedding = find_plain_codec(caller), find_plain_codec(row.dialect)
    chat = find_codec(row.dialect)
    if asked is not None and chat is not None and asked.kind in TASKS:
        if isinstance(dialect, CorrectedDialect):
            chat = dialect.codec(chat)
        traits = _traits(member, row)
        return ByChat(
            (find_dialect(caller), asked),
            Speaker(dialect, chat),
            task_of(asked.kind, traits),
            traits=traits,
            naming=_naming(clock),
        )
    if asked is not None and embedding is not None and asked.kind == RERANK:
        return ByEmbedding(
            (find_dialect(caller), asked), (dialect, embedding), member.upstream_model
        )
    raise UnsupportedOperation


def _traits(member: Member, row: OperationRow) -> Traits:
    """What is known of the model: its operation's traits, then its own."""
    model = member.channel.provider.models.get(member.upstream_model)
    known = {**row.traits, "model": member.upstream_model}
    if model is not None:
        known["max_output"] = model.max_output
        if not model.reasoning:
            known["thinking"] = ThinkingStyle.NONE
        known |= model.traits
    return msgspec.convert(known, Traits)


def channel_headers(channel: Channel, credential: int) -> Headers:
    """What every request to a channel has, whatever it asks for."""
    own = _encoded({**channel.provider.headers, **channel.spec.headers})
    accept = () if any(name == b"accept" for name, _ in own) else _ANY
    return (
        *accept,
        (b"accept-encoding", b"identity"),
        (b"user-agent", USER_AGENT),
        *_credential_headers(channel, credential),
        *own,
    )


def channel_request(  # noqa: PLR0913 - what a request is made of
    channel: Channel,
    credential: int,
    method: str,
    path: str,
    *,
    headers: Headers = (),
    body: bytes = b"",
    timeouts: Timeouts | None = None,
) -> UpstreamRequest:
    """Write a request to a channel that is no call's.

    Args:
        channel: where it goes.
        credential: the one of the channel's that reaches it.
        method: in capitals.
        path: with its query, behind the channel's base path.
        headers: before those that every request to the channel has.
        body: what it sends.
        timeouts: the channel's own by default.
    """
    return UpstreamRequest(
        method=method,
        origin=channel.origin,
        target=channel.base_path + path,
        headers=(*headers, *channel_headers(channel, credential)),
        body=body,
        timeouts=timeouts or channel.timeouts,
        proxy=channel.spec.proxy,
    )


def _encoded(headers: dict[str, str]) -> Headers:
    return tuple(
        (name.lower().encode(), value.encode()) for name, value in headers.items()
    )


def _count_target(channel: Channel, row: OperationRow, model: str) -> str:
    if not row.count_path:
        return ""
    return channel.base_path + _path_of(row.count_path, {}, model)


def _path_of(path: str, query: dict[str, str], model: str) -> str:
    """Put path and query together, the model's name as one segment of the path."""
    path = path.replace("{model}", quote(model, safe=""))
    return f"{path}?{urlencode(query)}" if query else path


def _credential_headers(channel: Channel, credential: int) -> Headers:
    secret = channel.credentials[credential].encode()
    scheme = channel.provider.auth
    if not secret or scheme in _WITHOUT_HEADER:
        return ()
    if scheme in _AUTH_HEADERS:
        return ((_AUTH_HEADERS[scheme], secret),)
    word = b"DeepL-Auth-Key " if scheme is AuthScheme.DEEPL_AUTH_KEY else b"Bearer "
    return ((b"authorization", word + secret),)
