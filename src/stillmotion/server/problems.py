"""Every refusal in one form: problem details (RFC 9457), one clear sentence, never a traceback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from stillmotion.errors import StillmotionError
from stillmotion.jobs.mistakes import FieldError, said_of
from stillmotion.jobs.model import KINDS as KINDS_OF_JOBS
from stillmotion.jobs.story_mistakes import in_script_words
from stillmotion.queueing.views import NoSuchArtifactError, NoSuchJobError, StateError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:stillmotion:problem:"
_REQUEST_FIELDS = ("job", "priority", "paused", "id", "before", "after")


@dataclass(frozen=True)
class Kind:
    """A kind of refusal: the last part of its `type`, its HTTP status and its title."""

    name: str
    status: int
    title: str

    @property
    def uri(self) -> str:
        return TYPE_PREFIX + self.name


BAD_REQUEST = Kind("bad-request", 400, "The request cannot be read")
TOKEN_NEEDED = Kind("token-needed", 401, "A token is needed")
FORBIDDEN = Kind("forbidden", 403, "This token may not do that")
OTHER_SITE = Kind("other-site", 403, "Requests of other sites are refused")
NOT_FOUND = Kind("not-found", 404, "There is nothing here")
METHOD = Kind("method-not-allowed", 405, "This method is not allowed here")
TOO_SLOW = Kind("too-slow", 408, "The request took too long to arrive")
CONFLICT = Kind("conflict", 409, "The state does not allow that")
TOO_LARGE = Kind("too-large", 413, "The request is too large")
WRONG_TYPE = Kind("wrong-type", 415, "This kind of content is not taken")
BAD_RANGE = Kind("bad-range", 416, "No such range")
WRONG_HOST = Kind("wrong-host", 421, "This server has another name")
INVALID = Kind("invalid", 422, "A value cannot be used")
TOO_COSTLY = Kind("too-costly", 422, "The job costs too much")
NOT_ALLOWED_MODEL = Kind("model-not-allowed", 422, "The model is not offered here")
KEY_REUSED = Kind("idempotency-key-reused", 422, "The key belongs to another job")
HEAD_TOO_LARGE = Kind("head-too-large", 431, "The head of the request is too large")
QUEUE_FULL = Kind("queue-full", 429, "The queue is full")
TOO_MANY = Kind("too-many", 429, "Too many at a time")
DEFECT = Kind("defect", 500, "A defect of the server")
NOT_IMPLEMENTED = Kind("not-implemented", 501, "This is not done here")
BUSY = Kind("busy", 503, "The server is busy")

KINDS = tuple(value for value in list(globals().values()) if isinstance(value, Kind))
"""All kinds, for the documents."""

_BY_STATUS = {
    400: BAD_REQUEST, 401: TOKEN_NEEDED, 403: FORBIDDEN, 404: NOT_FOUND, 405: METHOD,
    409: CONFLICT, 413: TOO_LARGE, 415: WRONG_TYPE, 422: INVALID, 503: BUSY,
}  # fmt: skip


class ProblemDetails(BaseModel):
    """What every answer with a status of 400 or more holds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": INVALID.uri,
                    "title": INVALID.title,
                    "status": 422,
                    "detail": "job.steps is 0; give a number from 1 up.",
                    "field": "job.steps",
                }
            ]
        }
    )

    type: str = Field(description="What kind of refusal this is; the documents list all.")
    title: str = Field(description="The kind in words, the same in every case.")
    status: int = Field(description="The HTTP status.", ge=400, le=599)
    detail: str = Field(description="One sentence: what was given, what is allowed, what to do.")
    field: str | None = Field(default=None, description="The field that caused it, if one did.")


class ProblemError(HTTPException):
    """A refusal; FastAPI and the guards answer with its problem details."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        field: str | None = None,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        told = dict(headers or {})
        if retry_after is not None:
            told["Retry-After"] = str(max(1, round(retry_after)))
        super().__init__(kind.status, detail, told)
        self.kind = kind
        self.field = field


def head_too_large() -> ProblemError:
    """For a head that is not to be read to its end: the connection is closed."""
    return ProblemError(
        HEAD_TOO_LARGE,
        "The head of the request is too large; send fewer or shorter headers, and a shorter path.",
        headers={"Connection": "close"},
    )


def problem_response(error: ProblemError) -> JSONResponse:
    """The HTTP answer that tells of `error`."""
    details = ProblemDetails(
        type=error.kind.uri,
        title=error.kind.title,
        status=error.kind.status,
        detail=_printable(str(error.detail)),
        field=None if error.field is None else _printable(error.field),
    )
    return JSONResponse(
        details.model_dump(exclude_none=True),
        status_code=error.kind.status,
        headers=dict(error.headers or {}),
        media_type=MEDIA_TYPE,
    )


def _printable(text: str) -> str:
    """Halves of characters, which a client may have sent, cannot be sent back."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def as_problem(error: Exception) -> ProblemError | None:
    """The problem that an expected exception stands for; None for a defect of ours."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, RequestValidationError):
        return invalid_fields(error.errors())
    if isinstance(error, NoSuchJobError | NoSuchArtifactError):
        return ProblemError(NOT_FOUND, as_sentence(error))
    if isinstance(error, StateError):
        return ProblemError(CONFLICT, as_sentence(error))
    if isinstance(error, FieldError):
        # What options are to commands, fields are to jobs.
        said = in_script_words(as_sentence(error))
        return ProblemError(INVALID, said, field=f"job.{error.field}" if error.field else None)
    if isinstance(error, StillmotionError):
        return ProblemError(INVALID, as_sentence(error))
    if isinstance(error, HTTPException):
        kind = _BY_STATUS.get(error.status_code)
        if kind is None:
            kind = Kind(f"http-{error.status_code}", error.status_code, str(error.detail))
        return ProblemError(kind, _sentence(kind, error), headers=error.headers)
    return None


def invalid_fields(errors: Sequence[Mapping[str, Any]]) -> ProblemError:
    """The first of pydantic's `errors` as one sentence, with how many more there are."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return ProblemError(BAD_REQUEST, "The body is not valid JSON; send one JSON object.")
    field, known = _field(first["loc"])
    if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        field += ".kind"
        sentence = f"{field} is not one that there is; it can be {', '.join(KINDS_OF_JOBS)}."
    else:
        sentence = f"{said_of(cast(ErrorDetails, first), field, known)}."
    more = len(errors) - 1
    if more:
        sentence += f" {more} more {'value is' if more == 1 else 'values are'} wrong, too."
    return ProblemError(INVALID, sentence, field=field)


def as_sentence(error: Exception) -> str:
    """A sentence that begins and ends like one."""
    text = str(error).strip()
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _field(location: Sequence[int | str]) -> tuple[str, Sequence[str]]:
    """`("body", "job", "animate", "still", 0)` -> `job.still.0`, and the names that there are."""
    parts = [str(part) for part in location]
    if len(parts) > 1 and parts[0] in ("body", "query", "path", "header"):
        parts = parts[1:]
    known: Sequence[str] = _REQUEST_FIELDS
    if len(parts) > 1 and parts[0] == "job" and parts[1] in KINDS_OF_JOBS:
        kind = KINDS_OF_JOBS[parts.pop(1)]
        known = [f"job.{name}" for name in kind.model_fields]
    return ".".join(parts), known


async def answer_problem(request: Request, error: Exception) -> Response:
    """FastAPI's handler for all that `as_problem` knows."""
    problem = as_problem(error)
    if problem is None:
        raise error
    return problem_response(problem)


def _sentence(kind: Kind, error: HTTPException) -> str:
    """What to tell for the exceptions that the framework raises by itself."""
    if kind is NOT_FOUND and error.detail == "Not Found":
        return "There is nothing under this address; /openapi.json lists what there is."
    if kind is METHOD:
        allowed = (error.headers or {}).get("Allow", "")
        return f"This method is not allowed here; allowed: {allowed or 'see /openapi.json'}."
    if kind is BAD_REQUEST and "parsing the body" in str(error.detail):
        return "The body could not be read; send it as its Content-Type says."
    return f"{str(error.detail).rstrip('.')}."
