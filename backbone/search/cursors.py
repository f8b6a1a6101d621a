"""Cursors: a place in the hits of one query as opaque text, useless for any other query.

The text carries a digest over query and place: one that is damaged, cut or used with another query
is refused. It is no secret and gives no right: rights are asked anew for every page.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from backbone.search import CursorInvalid, SearchQuery

T = TypeVar("T")
# What both stores count with.
Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

_DIGEST_BYTES = 12
_encoder = msgspec.json.Encoder()


class AfterHit(msgspec.Struct, frozen=True, array_like=True):
    """A place in hits sorted by time: the sort values of the last hit, which only it has."""

    created_at_ms: Number
    channel: str
    sequence: Number


def seal(query: SearchQuery, place: msgspec.Struct) -> str:
    """Return the cursor that leads to what comes after `place` in the hits of `query`."""
    payload = _encoder.encode(place)
    return base64.urlsafe_b64encode(_digest(query, payload) + payload).decode().rstrip("=")


def unseal(query: SearchQuery, cursor: str, kind: type[T]) -> T:
    """Return the place that a cursor of this query holds. Raises CursorInvalid."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise CursorInvalid("the cursor is damaged") from error
    digest, payload = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    if not hmac.compare_digest(digest, _digest(query, payload)):
        raise CursorInvalid("the cursor is damaged, or belongs to another query")
    try:
        return msgspec.json.decode(payload, type=kind)
    except msgspec.DecodeError as error:
        raise CursorInvalid("the cursor belongs to another search index") from error


def _digest(query: SearchQuery, payload: bytes) -> bytes:
    return hashlib.sha256(_encoder.encode(query) + b"\n" + payload).digest()[:_DIGEST_BYTES]
