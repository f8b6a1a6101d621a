"""Refusals on the wire: the one file that turns rejections and failures into RFC 9457 problem details."""

import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from backbone.errors import Unavailable
from backbone.search import CursorExpired, CursorInvalid, QueryRefused
from backbone.tokens import TokenMissing, TokenRefused
from backend.domain.rejections import (
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    KeyReused,
    NotFound,
    Overloaded,
    RateLimited,
    Rejected,
    Stale,
    TooLarge,
    Unauthenticated,
)

MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_S = 2
_SAY_EVERY_S = 5.0

log = structlog.get_logger()


class FieldError(msgspec.Struct, frozen=True):
    """One wrong field: where it stands, and what is wrong with it."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every refusal; `errors` names the fields of bad input."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[FieldError, ...] = ()


class Refusal(NamedTuple):
    """A refusal as it is answered."""

    problem: Problem
    headers: Mapping[str, str]


_STATUS_OF_REJECTION: Mapping[type[Rejected], tuple[int, str]] = {
    NotFound: (404, "not-found"),
    Gone: (410, "gone"),
    Unauthenticated: (401, "unauthenticated"),
    Forbidden: (403, "forbidden"),
    Conflict: (409, "conflict"),
    Stale: (412, "stale"),
    KeyReused: (422, "idempotency-key-reused"),
    TooLarge: (413, "too-large"),
    Invalid: (400, "bad-input"),
    Overloaded: (503, "overloaded"),
    RateLimited: (429, "rate-limited"),
}


# What the framework refuses, by the names that our own refusals have.
_SLUG_OF_STATUS: Mapping[int, str] = {
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
}
# The names of RFC 9110, which Python learns in later versions.
_TITLE_OF_STATUS: Mapping[int, str] = {413: "Content Too Large", 422: "Unprocessable Content"}


def rejected(_scope: Mapping[str, object], error: Rejected) -> Refusal:
    """Answer what the domain refused."""
    status, slug = _STATUS_OF_REJECTION[type(error)]
    if isinstance(error, Invalid):
        return bad_input(FieldError(error.field, error.message))
    headers = {}
    if isinstance(error, Overloaded | RateLimited):
        headers["Retry-After"] = str(error.retry_after_s)
    return _answer(status, slug, str(error), headers=headers)


def token_refused(_scope: Mapping[str, object], error: TokenRefused) -> Refusal:
    """Answer that the token proves nothing, or that there is none, as RFC 6750 has it."""
    challenge = 'Bearer realm="maeari"'
    if not isinstance(error, TokenMissing):
        challenge += f', error="invalid_token", error_description="{error}"'
    return _answer(401, "unauthenticated", str(error), headers={"WWW-Authenticate": challenge})


def unavailable(_scope: Mapping[str, object], error: Unavailable) -> Refusal:
    """Answer that a dependency is down: nothing is wrong with the request, it may be sent again."""
    _say_now_and_then(error)
    return _answer(
        503,
        "unavailable",
        f"{error.dependency} is not available for now; try again later",
        headers={"Retry-After": str(_RETRY_AFTER_S)},
    )


_said_s: dict[str, float] = {}


def _say_now_and_then(error: Unavailable) -> None:
    """Log an outage, not each request that it refuses."""
    now_s = time.monotonic()
    if now_s - _said_s.get(error.dependency, -_SAY_EVERY_S) >= _SAY_EVERY_S:
        _said_s[error.dependency] = now_s
        log.warning("dependency_down", dependency=error.dependency, detail=error.detail)


def cursor_expired(_scope: Mapping[str, object], _error: CursorExpired) -> Refusal:
    """Answer that a cursor is too old."""
    return _answer(410, "cursor-expired", "this cursor has expired: search again without it")


def cursor_invalid(_scope: Mapping[str, object], _error: CursorInvalid) -> Refusal:
    """Answer that a cursor is damaged."""
    return bad_input(FieldError("cursor", "not a cursor of this search"))


def query_refused(_scope: Mapping[str, object], _error: QueryRefused) -> Refusal:
    """Answer that the index does not take so much in one query."""
    return bad_input(FieldError("q", "holds more than the search takes at once"))


def invalid_input(_scope: Mapping[str, object], error: ValidationException) -> Refusal:
    """Answer what the routes' types refused."""
    extra = error.extra if isinstance(error.extra, list) else []
    errors = [_field_error(item) for item in extra if isinstance(item, dict)]
    return bad_input(*errors) if errors else _answer(400, "bad-input", error.detail)


def http_error(scope: Mapping[str, object], error: HTTPException) -> Refusal:
    """Answer what the framework refused: unknown routes, methods, bodies that are too large or no JSON."""
    status = error.status_code
    if "disconnected" in error.detail:
        # The client hung up in the middle of its body: nobody reads this answer, and nothing is wrong here.
        return _answer(400, "bad-request", "the body ended too early")
    if status >= 500:
        return unexpected(scope, error)
    match status:
        case 404:
            detail = "there is no such route"
        case 405:
            detail = f"{scope['method']} is not allowed here"
        case 413:
            detail = "the body is larger than 1 MiB"
        case 400:
            detail = _decoding_detail(error.__cause__ or error)
        case _:
            detail = error.detail
    headers = dict(error.headers or {})
    return _answer(status, _SLUG_OF_STATUS.get(status, "bad-request"), detail, headers=headers)


def undecodable(_scope: Mapping[str, object], error: Exception) -> Refusal:
    """Answer a body that breaks the decoder itself: nested too deeply, or not UTF-8."""
    return _answer(400, "bad-request", _decoding_detail(error))


def unexpected(scope: Mapping[str, object], error: Exception) -> Refusal:
    """Answer a fault of ours; the log has the whole of it, the client nothing but the fact."""
    log.error("request_failed", method=scope["method"], path=scope["path"], exc_info=error)
    return _answer(500, "internal-error", "something went wrong on the server; it was logged")


def bad_input(*errors: FieldError) -> Refusal:
    """Answer that fields are wrong."""
    detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
    return _answer(400, "bad-input", detail, errors=errors)


def _answer(
    status: int,
    slug: str,
    detail: str,
    *,
    errors: tuple[FieldError, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> Refusal:
    problem = Problem(
        type=f"/problems/{slug}",
        title=_TITLE_OF_STATUS.get(status) or HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        errors=errors,
    )
    return Refusal(problem, headers or {})


def _field_error(item: Mapping[str, Any]) -> FieldError:
    """Read one of the framework's errors; `data` is its name for a body, which it only finds missing."""
    message = str(item.get("message", "is wrong"))
    if message == "'data'":
        return FieldError("body", "is missing: send a JSON object")
    return FieldError(str(item.get("key") or "body"), message)


def _decoding_detail(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "the body is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "the body is not UTF-8"
    text = str(getattr(error, "detail", "") or error)
    if "surrogate" in text or "truncated" in text:
        return "the body is not valid JSON: it ends too early, or text in it has a lone surrogate"
    return f"the body is not valid JSON: {text}"


_REFUSALS: Mapping[type[Exception], Callable[[Mapping[str, object], Any], Refusal]] = {
    Rejected: rejected,
    TokenRefused: token_refused,
    Unavailable: unavailable,
    CursorExpired: cursor_expired,
    CursorInvalid: cursor_invalid,
    QueryRefused: query_refused,
    ValidationException: invalid_input,
    HTTPException: http_error,
    RecursionError: undecodable,
    UnicodeDecodeError: undecodable,
    Exception: unexpected,
}


def refusal_of(scope: Mapping[str, object], error: Exception) -> Refusal:
    """Return how an error is answered."""
    kind = next(each for each in type(error).__mro__ if each in _REFUSALS)
    return _REFUSALS[kind](scope, error)


def _answered(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    problem, headers = refusal_of(request.scope, error)
    return Response(problem, status_code=problem.status, media_type=MEDIA_TYPE, headers=dict(headers))


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = dict.fromkeys(_REFUSALS, _answered)
