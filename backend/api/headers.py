"""Headers of requests: text in UTF-8, and each that says one thing at most once.

Guarantees: which of two values counts is not guessed, here or by whatever stands in front of this server.
"""

from typing import Any

from litestar import Request

from backend.domain.rejections import Invalid


def single_header(request: Request[Any, Any, Any], name: str) -> str | None:
    """Return the header's value, None where it is missing. Raises Invalid where it stands there twice."""
    values = request.headers.getall(name, [])
    if len(values) > 1:
        raise Invalid(name, "stands there more than once")
    return values[0] if values else None


def listed_header(request: Request[Any, Any, Any], name: str) -> str | None:
    """Return the value of a header that is a list, of which each line may hold a part; None without one."""
    values = request.headers.getall(name, [])
    return ", ".join(values) if values else None


def header_text(value: str) -> str:
    """Return a header's text. Its bytes were read as Latin-1; they are UTF-8. Raises UnicodeError."""
    return value.encode("latin-1").decode()
