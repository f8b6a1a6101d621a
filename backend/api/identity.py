"""Who acts: with authentication off, the body's `author_id` or the header `X-User-Id` says so."""

from typing import Any

import msgspec
from litestar import Request

from backend.domain.rejections import Forbidden, Invalid, Unauthenticated
from schemas.messages import Identifier

HEADER = "X-User-Id"


def header_text(value: str) -> str:
    """Return a header's text. Its bytes were read as Latin-1; they are UTF-8. Raises UnicodeError."""
    return value.encode("latin-1").decode()


def reader_of(request: Request[Any, Any, Any]) -> str | None:
    """Return who reads; None sees what is public. Raises Invalid for an id that cannot be one."""
    value = request.headers.get(HEADER)
    if value is None:
        return None
    try:
        return msgspec.convert(header_text(value), Identifier)
    except (UnicodeError, msgspec.ValidationError):
        raise Invalid(
            HEADER, "not a user id: 1 to 128 characters in UTF-8, no control characters or `/`"
        ) from None


def actor_of(request: Request[Any, Any, Any], author_id: str | None = None) -> str:
    """Return who changes something. Raises Unauthenticated, or Forbidden when body and header differ."""
    header = reader_of(request)
    if header is not None and author_id is not None and header != author_id:
        raise Forbidden(f"author_id and {HEADER} name different users")
    actor = author_id if author_id is not None else header
    if actor is None:
        raise Unauthenticated(f"say who acts: author_id in the body, or the header {HEADER}")
    return actor
