"""Logging: structlog to stderr, coloured on a terminal, JSON lines elsewhere.

Records of the standard library's loggers (of dependencies) pass the same
processors. Every entry is redacted last. A traceback shows where, never with
which values: locals are not shown, and an exception's own text, which may quote
a request, only at debug level.
"""

import logging
import sys
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, TextIO

from typing_extensions import override

from posthouse.observe.facts import LogEntry
from posthouse.observe.log_writer import LogWriter
from posthouse.observe.plain_structlog import EventDict, Processor, structlog
from posthouse.observe.redaction import redact

_FRAMES = 30
_QUIET = ("uvicorn", "asyncio", "aiohttp", "aiosqlite", "sqlalchemy", "alembic")
_CALLERS = ("python_multipart",)
"""What these warn of callers are told, who have sent it."""


def logger(name: str) -> Any:
    """Give a structured logger: `.info("what happened", field=value)`.

    It follows `configure` also when it was made before.
    """
    return structlog.get_logger(name, component=name)


def configure(
    level: str = "info", *, stream: TextIO | None = None, colours: bool | None = None
) -> None:
    """Set up logging for the process; may be called again.

    Args:
        level: debug, info, warning, error or critical.
        stream: where to; standard error by default.
        colours: console form instead of JSON lines; by default if the stream is
            a terminal.

    Raises:
        ValueError: for an unknown level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"unknown log level: {level}")
    out = stream if stream is not None else sys.stderr
    console = colours if colours is not None else out.isatty()
    shared = _processors(with_messages=number <= logging.DEBUG)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = LogWriter(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _component],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redact,
                _renderer(console=console),
            ],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    for name in _CALLERS:
        logging.getLogger(name).setLevel(max(number, logging.ERROR))


def _writers() -> list[LogWriter]:
    handlers = logging.getLogger().handlers
    return [handler for handler in handlers if isinstance(handler, LogWriter)]


def dropped() -> int:
    """How many entries were lost because nobody took them."""
    return sum(writer.dropped for writer in _writers())


@contextmanager
def hold_up_nobody() -> Iterator[None]:
    """Write in a thread meanwhile: for a process that serves."""
    writers = _writers()
    for writer in writers:
        writer.begin()
    try:
        yield
    finally:
        for writer in writers:
            writer.end()


class ShippedLog(logging.Handler):
    """Gives every entry to somebody who sends it away, as fields."""

    def __init__(
        self, put: Callable[[LogEntry], None], without: frozenset[str]
    ) -> None:
        """Give entries to `put`, but for those of some components."""
        super().__init__()
        self._put = put
        self._without = without
        self._kept: EventDict = {}
        self._processing = structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_processors(with_messages=False),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redact,
                self._keep,
            ],
        )

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Pass one entry on; the handler's lock is held."""
        component = record.name.partition(".")[0]
        if record.name in self._without or component in self._without:
            return
        self._processing.format(record)
        fields, self._kept = self._kept, {}
        event = str(fields.pop("event", ""))
        level = str(fields.pop("level", record.levelname.lower()))
        name = str(fields.pop("component", record.name))
        fields.pop("timestamp", None)
        self._put(
            LogEntry(
                int(record.created * 1e9),
                level,
                name,
                event,
                {
                    key: value
                    if isinstance(value, str | int | float | bool)
                    else str(value)
                    for key, value in fields.items()
                    if value is not None
                },
            )
        )

    def _keep(self, _logger: Any, _method: str, event: EventDict) -> str:
        self._kept = event
        return ""


def _processors(*, with_messages: bool) -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        ExceptionText(with_messages=with_messages),
    ]


def _component(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Say which dependency an entry is of."""
    record: logging.LogRecord = event["_record"]
    event["component"] = record.name.partition(".")[0]
    return event


def _renderer(*, console: bool) -> Processor:
    if console:
        return structlog.dev.ConsoleRenderer(
            exception_formatter=structlog.dev.plain_traceback
        )
    return structlog.processors.JSONRenderer(sort_keys=False)


class ExceptionText:
    """Turns `exc_info` into text without the values that were at hand."""

    def __init__(self, *, with_messages: bool) -> None:
        """Add the exceptions' own texts or not."""
        self._with_messages = with_messages

    def __call__(
        self, _logger: Any, _method: str, event: EventDict
    ) -> MutableMapping[str, Any]:
        """Replace `exc_info` by `exception`."""
        info = event.pop("exc_info", None)
        if isinstance(info, BaseException):
            event["exception"] = self.render(info)
        elif isinstance(info, tuple) and isinstance(info[1], BaseException):
            event["exception"] = self.render(info[1])
        elif info:
            current = sys.exc_info()[1]
            if current is not None:
                event["exception"] = self.render(current)
        return event

    def render(self, error: BaseException) -> str:
        """Give the chain of exceptions, outermost last, with their places."""
        parts: list[str] = []
        seen: set[int] = set()
        link: BaseException | None = error
        while link is not None and id(link) not in seen:
            seen.add(id(link))
            parts.append(self._one(link))
            link = link.__cause__ or (
                None if link.__suppress_context__ else link.__context__
            )
        return "\n".join(reversed(parts))

    def _one(self, error: BaseException) -> str:
        frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
        lines = [f"  {f.filename}:{f.lineno} in {f.name}" for f in frames]
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        text = f"{name}: {error}" if self._with_messages else name
        return "\n".join([*lines, text])


# structlog's own default prints tracebacks with the values of all locals: until
# `configure` has run, entries go the safe way too.
structlog.configure(
    processors=[*_processors(with_messages=False), redact, _renderer(console=True)]
)
