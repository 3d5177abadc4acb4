"""A request that the sandbox refuses, in the shape of OpenAI's error bodies."""

from typing import Any

from posthouse.providers.sandbox.reply import Reply, json_reply


class RequestRefused(Exception):
    """The request cannot be answered; `str()` is the caller's message."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int = 400,
    ) -> None:
        """Keep what the error body will say."""
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.status = status

    def reply(self) -> Reply:
        """Render the refusal."""
        error = error_object(
            self.message, "invalid_request_error", self.code, self.param
        )
        return json_reply(error, status=self.status)


def error_object(
    message: str, kind: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """Shape an error body; all four members are always there."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
