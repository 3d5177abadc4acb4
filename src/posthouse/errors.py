"""The one tree of errors that a call can end with.

PosthouseError
├── CallerError              the caller's request is at fault; never retried
│   ├── InvalidRequest       400 invalid_request_error
│   ├── AuthenticationFailed 401 invalid_api_key (one message for every bad key)
│   ├── PermissionDenied     403 permission_denied
│   │   └── RouteNotPriced   403 route_not_priced
│   ├── NotFound             404 not_found
│   │   └── ModelNotFound    404 model_not_found
│   ├── MethodNotAllowed     405 method_not_allowed
│   ├── RequestTimeout       408 request_timeout
│   ├── PayloadTooLarge      413 payload_too_large
│   ├── URITooLong           414 uri_too_long
│   ├── UnsupportedMediaType 415 unsupported_media_type
│   ├── UnprocessableRequest 422 unprocessable_request
│   ├── URLNotAllowed        400 url_not_allowed (one message, whatever it led to)
│   ├── URLNotFetched        400 url_not_fetched
│   ├── UpgradeRequired      426 upgrade_required
│   ├── HeadersTooLarge      431 headers_too_large
│   ├── RateLimited          429 rate_limit_exceeded
│   └── InsufficientQuota    429 insufficient_quota
├── UpstreamFault            what a provider did; `retry` says where else to try
│   ├── UpstreamRejected     4xx as the provider judged the content
│   ├── UpstreamRateLimited  429 rate_limit_exceeded
│   ├── UpstreamUnavailable  502 upstream_unavailable
│   ├── UpstreamBadResponse  502 upstream_bad_response
│   │   ├── UpstreamRedirected  a redirect is never followed, nor tried elsewhere
│   │   └── UpstreamUnlikeSchema 502 schema_mismatch
│   ├── UpstreamInterrupted  502 upstream_interrupted
│   ├── UpstreamOverloaded   503 upstream_overloaded
│   ├── UpstreamCredential   503 upstream_unavailable (our key: never shown as 401)
│   └── UpstreamTimeout      504 upstream_timeout
└── OperatorFault            our own side cannot serve now
    ├── InternalFault        500 internal_error
    ├── PriceMissing         503 price_missing
    ├── NoChannel            503 no_channel_available
    ├── StorageUnavailable   503 storage_unavailable
    └── Overloaded           503 overloaded

Rules: an error knows its HTTP status, its stable code, whose fault it is and
whether another attempt may help. It never holds a secret, an upstream host or
a raw upstream body. A class's docstring is its default message. The client's
dialect renders it; nothing else in the program writes an HTTP status.
"""

from collections.abc import Iterable
from enum import Enum
from typing import ClassVar

from typing_extensions import override


class Retry(Enum):
    """What the attempt loop may do after an error."""

    NEVER = "never"
    """The next channel would answer the same."""
    CREDENTIAL = "credential"
    """Another credential or channel; only this credential is at fault."""
    CHANNEL = "channel"
    """Another channel; this one is at fault."""
    AGAIN = "again"
    """Any channel: nobody is at fault, and a model's next answer is another one."""


def one_of(allowed: Iterable[str]) -> str:
    """Say which values a field takes, in the order in which they are given."""
    return f"one of {', '.join(allowed)}"


class PosthouseError(Exception):
    """Something went wrong."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "server_error"
    retry: ClassVar[Retry] = Retry.NEVER

    def __init__(
        self,
        message: str | None = None,
        *,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Keep what the caller may see.

        Args:
            message: a sentence for the caller; default is the class's docstring.
            param: the request field at fault, dotted.
            retry_after: seconds after which another try makes sense.
        """
        self.message = message if message is not None else (self.__doc__ or "")
        self.param = param
        self.retry_after = retry_after
        super().__init__(self.message)

    @property
    def should_retry(self) -> bool | None:
        """What `x-should-retry` says; None leaves it to the SDK's own rule."""
        return None


class CallerError(PosthouseError):
    """The request is not valid."""

    status = 400
    code = "invalid_request_error"
    type = "invalid_request_error"


class InvalidRequest(CallerError):
    """The request is not valid."""

    def __init__(
        self,
        message: str | None = None,
        *,
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        """Keep the message, the field and a more exact code, if there is one."""
        super().__init__(message, param=param)
        self.exact_code = code

    @classmethod
    def not_one_of(cls, name: str, allowed: Iterable[str]) -> "InvalidRequest":
        """Refuse the value of a field that takes only some."""
        message = f"Invalid value for '{name}': it must be {one_of(allowed)}"
        return cls(message, param=name, code="invalid_value")

    @classmethod
    def tool_not_offered(cls, kind: str, offered: Iterable[str]) -> "InvalidRequest":
        """Refuse a tool that nobody could be charged for."""
        return cls(
            f"Tools of type {kind[:64]!r} are not offered here; the type must be "
            f"{one_of(offered)}",
            param="tools",
            code="unsupported_value",
        )


class UnsupportedOperation(InvalidRequest):
    """This model cannot be asked in this way."""

    def __init__(self, message: str | None = None) -> None:
        """Name the model as what is at fault."""
        super().__init__(message, param="model", code="unsupported_operation")


class AuthenticationFailed(CallerError):
    """Incorrect API key provided."""

    status = 401
    code = "invalid_api_key"


class PermissionDenied(CallerError):
    """This key may not do that."""

    status = 403
    code = "permission_denied"


class RouteNotPriced(PermissionDenied):
    """What this costs is not known beforehand, so it is not offered here."""

    code = "route_not_priced"


class NotFound(CallerError):
    """There is nothing at this address."""

    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    """The model does not exist or this key has no access to it."""

    code = "model_not_found"


class MethodNotAllowed(CallerError):
    """This address does not take that method."""

    status = 405
    code = "method_not_allowed"


class RequestTimeout(CallerError):
    """The request did not arrive in time."""

    status = 408
    code = "request_timeout"


class PayloadTooLarge(CallerError):
    """The request body is too large."""

    status = 413
    code = "payload_too_large"


class URITooLong(CallerError):
    """The request's address is too long."""

    status = 414
    code = "uri_too_long"


class UnsupportedMediaType(CallerError):
    """The request body's encoding is not supported; use gzip, deflate or none."""

    status = 415
    code = "unsupported_media_type"


class UnprocessableRequest(CallerError):
    """The request is well formed but cannot be carried out."""

    status = 422
    code = "unprocessable_request"


class URLNotAllowed(CallerError):
    """This URL may not be fetched; it must lead to a public http or https address."""

    code = "url_not_allowed"


class URLNotFetched(CallerError):
    """The URL could not be fetched."""

    code = "url_not_fetched"


class UpgradeRequired(CallerError):
    """This address does not speak WebSocket; use HTTP with server-sent events."""

    status = 426
    code = "upgrade_required"
    to: bytes = b"HTTP/1.1"
    """What the reply's Upgrade header asks for."""


class HeadersTooLarge(CallerError):
    """The request's headers are too large."""

    status = 431
    code = "headers_too_large"


class RateLimited(CallerError):
    """Rate limit reached for this key."""

    status = 429
    code = "rate_limit_exceeded"
    type = "rate_limit_exceeded"


class InsufficientQuota(CallerError):
    """This key's balance does not cover the call."""

    status = 429
    code = "insufficient_quota"
    type = "insufficient_quota"
    held: bool = False
    """Some of it is held for calls under way, which may need less."""

    @property
    @override
    def should_retry(self) -> bool | None:
        """False: waiting does not bring money."""
        return False


class UpstreamFault(PosthouseError):
    """The provider failed."""

    status = 502
    code = "upstream_error"
    retry = Retry.CHANNEL
    stands_for: int = 0
    """The HTTP status that an error told with status 200 stands for; 0: none."""


class UpstreamRejected(UpstreamFault):
    """The provider refused the request."""

    type = "invalid_request_error"
    retry = Retry.NEVER

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        error_type: str | None = None,
        param: str | None = None,
    ) -> None:
        """Keep the provider's own verdict, its text cut and cleaned before."""
        super().__init__(message, param=param)
        self.upstream_status = status
        self.upstream_code = code
        self.upstream_type = error_type


class UpstreamRateLimited(UpstreamFault):
    """Every channel for this model is at its rate limit."""

    status = 429
    code = "rate_limit_exceeded"
    type = "rate_limit_exceeded"
    retry = Retry.CREDENTIAL


class UpstreamUnavailable(UpstreamFault):
    """No channel for this model could be reached."""

    code = "upstream_unavailable"


class UpstreamBadResponse(UpstreamFault):
    """The provider's reply could not be understood."""

    code = "upstream_bad_response"


class UpstreamRedirected(UpstreamBadResponse):
    """The provider answered with a redirect, which is not followed."""

    retry = Retry.NEVER


class UpstreamUnlikeSchema(UpstreamBadResponse):
    """The model's answer does not match the JSON schema that was asked for."""

    code = "schema_mismatch"
    retry = Retry.AGAIN


class UpstreamInterrupted(UpstreamFault):
    """The provider's reply broke off."""

    code = "upstream_interrupted"


class UpstreamOverloaded(UpstreamFault):
    """The provider is overloaded or failing."""

    status = 503
    code = "upstream_overloaded"


class UpstreamCredential(UpstreamFault):
    """No channel for this model is available."""

    status = 503
    code = "upstream_unavailable"
    retry = Retry.CREDENTIAL


class UpstreamTimeout(UpstreamFault):
    """The provider did not answer in time."""

    status = 504
    code = "upstream_timeout"


class OperatorFault(PosthouseError):
    """The service cannot do this now."""

    status = 503


class InternalFault(OperatorFault):
    """The service met an unexpected condition."""

    status = 500


class PriceMissing(OperatorFault):
    """This model has no price, so it cannot be used yet."""

    code = "price_missing"


class NoChannel(OperatorFault):
    """No channel for this model is available now."""

    code = "no_channel_available"


class StorageUnavailable(OperatorFault):
    """The service's storage is not available now."""

    code = "storage_unavailable"

    def __init__(self, message: str | None = None, *, retry_after: float = 1) -> None:
        """Always tell when another try makes sense: nobody knows for how long."""
        super().__init__(message, retry_after=retry_after)


class Overloaded(OperatorFault):
    """The service is at its capacity."""

    code = "overloaded"
