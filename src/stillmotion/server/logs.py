"""Logs as one JSON object a line, without prompts, tokens, bodies or query strings."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import TextIO

NAME = "stillmotion.server"
log = logging.getLogger(NAME)


def tell(event: str, level: int = logging.INFO, **facts: object) -> None:
    """Write one line: what happened, and the facts of it."""
    log.log(level, event, extra={"facts": facts})


def places(error: BaseException) -> list[str]:
    """Where an exception came from, without its message, which may hold a prompt."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-12:]]


class JsonLines(logging.Formatter):
    """Formats a record with its `facts`; the text of exceptions is left out."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        said |= getattr(record, "facts", {})
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            said |= {"error": type(error).__name__, "at": places(error)}
        return json.dumps(said, default=str)


def write_logs(stream: TextIO | None = None, *, quiet: bool = False) -> None:
    """Send the package's lines, and uvicorn's warnings, to `stream` (default: stderr)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in (("stillmotion", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.ERROR if quiet else level)
