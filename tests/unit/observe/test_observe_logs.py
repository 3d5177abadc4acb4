"""Logs: JSON lines elsewhere, colour on a terminal, secrets nowhere."""

import io
import logging
import subprocess
import sys

import pytest
import structlog

from posthouse.observe import logs
from posthouse.wire import json


@pytest.fixture
def stream():
    """A log stream; the process's logging is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def entries(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.decode(line.encode(), dict) for line in stream.getvalue().splitlines()]


def test_json_lines_carry_event_level_time_and_fields(stream) -> None:
    logs.configure(stream=stream)
    logs.logger("posthouse.test").info("it happened", count=3)
    (entry,) = entries(stream)
    assert entry["event"] == "it happened"
    assert entry["level"] == "info"
    assert entry["count"] == 3
    assert entry["component"] == "posthouse.test"
    assert str(entry["timestamp"]).endswith("Z")


def test_levels_are_kept_and_unknown_ones_refused(stream) -> None:
    logs.configure("warning", stream=stream)
    logs.logger("a").info("no")
    logs.logger("a").warning("yes")
    assert [entry["event"] for entry in entries(stream)] == ["yes"]
    with pytest.raises(ValueError, match="loud"):
        logs.configure("loud", stream=stream)


def test_a_terminal_gets_colours_and_words(stream) -> None:
    logs.configure(stream=stream, colours=True)
    logs.logger("a").info("it happened", count=3)
    assert "it happened" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()


def test_other_loggers_pass_the_same_redaction(stream) -> None:
    logs.configure(stream=stream)
    logging.getLogger("other").warning("key sk-%s refused", "a" * 20)
    (entry,) = entries(stream)
    assert entry["event"] == "key [redacted] refused"
    assert entry["component"] == "other"
    logging.getLogger("uvicorn.error").info("chatter")
    # What is wrong with a form its sender is told.
    logging.getLogger("python_multipart.multipart").warning("Did not find CR")
    assert len(entries(stream)) == 1


def failing(prompt: str) -> None:
    secret = f"sk-{prompt}"
    raise ValueError(f"{prompt} {secret}")


@pytest.mark.parametrize("console", [True, False])
def test_tracebacks_show_places_but_no_values(stream, console) -> None:
    """Neither locals nor an exception's own text, which may quote a prompt."""
    logs.configure(stream=stream, colours=console)
    try:
        try:
            failing("tell-me-a-secret")
        except ValueError as error:
            raise RuntimeError("wrapped tell-me-a-secret") from error
    except RuntimeError as error:
        logs.logger("a").error("failed", exc_info=error)
        logging.getLogger("other").exception("failed too")
    text = stream.getvalue()
    assert text.count("in failing") == 2
    assert text.count("builtins.ValueError") == 2
    assert "tell-me-a-secret" not in text


def test_a_logger_follows_a_later_configuration(stream) -> None:
    logger = logs.logger("a")
    logger.info("before")
    logs.configure(stream=stream)
    logger.info("after")
    assert [entry["event"] for entry in entries(stream)] == ["after"]


def test_nothing_is_shown_of_values_before_configuration_either() -> None:
    """A fresh process, as it starts."""
    program = (
        "from posthouse.observe.logs import logger\n"
        "try:\n"
        "    prompt = 'tell-' + 'me'\n"
        "    raise ValueError(prompt)\n"
        "except ValueError:\n"
        "    logger('a').exception('failed', key='sk-0123456789abcdef')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    text = run.stdout + run.stderr
    assert "failed" in text
    assert "ValueError" in text
    assert "tell-me" not in text
    assert "0123456789" not in text


def test_debug_shows_an_exception_s_text_redacted(stream) -> None:
    logs.configure("debug", stream=stream)
    try:
        failing("0123456789abc")
    except ValueError:
        logs.logger("a").exception("failed")
    (entry,) = entries(stream)
    assert "ValueError: 0123456789abc [redacted]" in str(entry["exception"])


def test_configuring_again_replaces_the_handler(stream) -> None:
    logs.configure(stream=stream)
    logs.configure(stream=stream)
    logs.logger("a").info("once")
    assert len(entries(stream)) == 1


def test_console_output_cannot_be_forged_by_control_characters(stream) -> None:
    """A value with a line break or an escape stays one entry."""
    logs.configure(stream=stream)
    logs.logger("a").info("got", value="x\n{}\x1b[2J")
    (entry,) = entries(stream)
    assert entry["value"] == "x\n{}\x1b[2J"
    assert "\x1b" not in stream.getvalue()
