"""Lists on the wire: bare arrays of at most `limit` items, a `Link` to the next page where there is more.

Guarantees: a page ends after about PAGE_MAX_BYTES, with one item at least; a cursor is opaque and good
for its own list only; one that is damaged, or another list's, is bad input. It is no secret and gives no
right: rights are asked anew for every page.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar, cast
from urllib.parse import quote, urlencode

import msgspec
from litestar import MediaType, Request, Response
from msgspec import Meta

from backbone.database.bounded import PAGE_MAX_BYTES
from backend.domain.rejections import Invalid
from backend.queries.pages import Page
from schemas.codec import encode
from schemas.messages import Identifier

LIMIT_DEFAULT = 50
LIMIT_MAX = 100
# What the databases count with.
NUMBER_MAX = 2**63 - 1
Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]

_DIGEST_BYTES = 9
_CURSOR_MAX_CHARACTERS = 2_048
_PLACES: Mapping[type, Any] = {int: Number, str: Identifier}

P = TypeVar("P", int, str)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ListAsked(Generic[P]):
    """A page that is asked for: behind `place`, None for the first; the list's own parameters beside it."""

    limit: int
    place: P | None
    parameters: Mapping[str, str]


def parameters_of(request: Request[Any, Any, Any], *names: str) -> dict[str, str]:
    """Return the query's parameters of these names. Raises Invalid for one that stands there twice."""
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in names:
            continue  # parameters, as fields, may be meant for others
        if name in given:
            raise Invalid(name, "stands there more than once")
        given[name] = value
    return given


def list_asked(request: Request[Any, Any, Any], place: type[P], *names: str) -> ListAsked[P]:
    """Read the parameters of a list whose places are numbers or ids. Raises Invalid."""
    given = parameters_of(request, "limit", "cursor", *names)
    limit = limit_of(given.pop("limit", None), LIMIT_DEFAULT)
    cursor = given.pop("cursor", None)
    behind = None if cursor is None else _unseal(request, given, cursor, place)
    return ListAsked(limit, behind, given)


def page_answer(request: Request[Any, Any, Any], asked: ListAsked[P], page: Page[P, T]) -> Response[list[T]]:
    """Answer a page, or as much of it as an answer may hold."""
    encoded: list[bytes] = []
    size_bytes = 0
    for _, item in page.items:
        if size_bytes >= PAGE_MAX_BYTES:
            break
        encoded.append(encode(item))
        size_bytes += len(encoded[-1])
    headers: dict[str, str] = {}
    if page.more or len(encoded) < len(page.items):
        last, _ = page.items[len(encoded) - 1]
        headers["Link"] = next_link(request, _seal(request, asked.parameters, last))
    body = b"[" + b",".join(encoded) + b"]"
    return cast(Response[list[T]], Response(body, media_type=MediaType.JSON, headers=headers))


def next_link(request: Request[Any, Any, Any], cursor: str) -> str:
    """Return the `Link` header (RFC 8288) to the page behind `cursor` of what is asked for here."""
    asked = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    query = urlencode([*asked, ("cursor", cursor)])
    return f'<{quote(request.scope["path"])}?{query}>; rel="next"'


def limit_of(text: str | None, default: int) -> int:
    """Read `limit`. Raises Invalid."""
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= LIMIT_MAX:
        raise Invalid("limit", f"a whole number from 1 to {LIMIT_MAX}")
    return int(text)


def number_of(field: str, text: str) -> int:
    """Read a number of an event or a notification. Raises Invalid."""
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > NUMBER_MAX:
        raise Invalid(field, f"a whole number from 0 to {NUMBER_MAX}")
    return int(text)


def _seal(request: Request[Any, Any, Any], parameters: Mapping[str, str], place: int | str) -> str:
    payload = encode(place)
    return base64.urlsafe_b64encode(_digest(request, parameters, payload) + payload).decode().rstrip("=")


def _unseal(request: Request[Any, Any, Any], parameters: Mapping[str, str], cursor: str, place: type[P]) -> P:
    refusal = Invalid("cursor", "not a cursor of this list: take it from the Link header")
    if len(cursor) > _CURSOR_MAX_CHARACTERS:
        raise refusal
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found: P = msgspec.json.decode(raw[_DIGEST_BYTES:], type=_PLACES[place])
    except (binascii.Error, ValueError):  # msgspec's errors are among the ValueErrors
        raise refusal from None
    # Sealed again it must be the same text: base64 has several for the same bytes.
    if _seal(request, parameters, found) != cursor:
        raise refusal
    return found


def _digest(request: Request[Any, Any, Any], parameters: Mapping[str, str], payload: bytes) -> bytes:
    of_list = encode((request.scope["path"].rstrip("/"), sorted(parameters.items())))
    return hashlib.sha256(of_list + b"\n" + payload).digest()[:_DIGEST_BYTES]
