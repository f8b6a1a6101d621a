"""Versions on the wire: `ETag`, and the headers that ask for one version or for none known yet."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from litestar import Request, Response

from backend.api.headers import listed_header

T = TypeVar("T")


def etag(version: int | str) -> str:
    """Return the strong tag of a version."""
    return f'"{version}"'


def versioned(
    request: Request[Any, Any, Any],
    content: T,
    version: int | str,
    *,
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response[Any]:
    """Answer what has a version; 304 without it when a GET's `If-None-Match` names that version."""
    tagged = {"ETag": etag(version), **(headers or {})}
    if request.method == "GET" and _is_known(request, version):
        return Response(None, status_code=304, headers=tagged)
    return Response(content, status_code=status_code, headers=tagged)


def if_match(request: Request[Any, Any, Any]) -> frozenset[int] | None:
    """Return the versions that `If-Match` names; None where any will do. Weak and foreign tags match none."""
    header = listed_header(request, "If-Match")
    if header is None or header.strip() == "*":
        return None
    tags = (tag.strip().strip('"') for tag in header.split(","))
    return frozenset(int(tag) for tag in tags if re.fullmatch(r"[0-9]{1,18}", tag))


def _is_known(request: Request[Any, Any, Any], version: int | str) -> bool:
    """Say whether `If-None-Match` names the version: weak tags do so, too (RFC 9110, 13.1.2)."""
    tags = [tag.strip() for tag in (listed_header(request, "If-None-Match") or "").split(",")]
    return "*" in tags or etag(version) in (tag.removeprefix("W/") for tag in tags)
