"""What an operator may say of telemetry: where it goes, and what of it."""

from typing import Final
from urllib.parse import urlsplit

SIGNALS: Final = ("traces", "metrics", "logs")
STANDARD_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""The variable of OpenTelemetry itself, which stands in for ours."""
STANDARD_SWITCH: Final = "OTEL_SDK_DISABLED"


def check_endpoint(text: str) -> None:
    """Raise ValueError when this is no base URL of a collector."""
    url = urlsplit(text)
    if url.scheme not in ("http", "https"):
        raise ValueError("must begin with http:// or https://")
    if not url.hostname:
        raise ValueError("names no host")
    try:
        _ = url.port
    except ValueError:
        raise ValueError("has a port that is none") from None
    if url.username is not None or url.password is not None:
        raise ValueError("holds credentials; give them in OTEL_EXPORTER_OTLP_HEADERS")
    if url.query or url.fragment:
        raise ValueError("has a query or fragment; paths are added to it")


def check_signal(text: str) -> None:
    """Raise ValueError when this is no kind of telemetry."""
    if text not in SIGNALS:
        raise ValueError(f"{text!r} is none of {', '.join(SIGNALS)}")
