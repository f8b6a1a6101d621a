"""Ids in paths: what cannot be an id is no route to anything, and ids of any script can be put into a path.

Guarantees: the database is never asked about what cannot be an id; `%2F` in an id is no separator.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import msgspec
from litestar import Request

from backend.domain.access import no_such_channel, no_such_message
from backend.domain.rejections import NotFound
from schemas.messages import Identifier


def channel_in_path(request: Request[Any, Any, Any], channel_id: str) -> str:
    """Return the id. Raises NotFound for one that no channel can have."""
    return _id_in_path(request, channel_id, no_such_channel)


def message_in_path(request: Request[Any, Any, Any], message_id: str) -> str:
    """Return the id. Raises NotFound for one that no message can have."""
    return _id_in_path(request, message_id, no_such_message)


def user_in_path(request: Request[Any, Any, Any], user_id: str) -> str:
    """Return the id. Raises NotFound for one that no user can have."""
    return _id_in_path(request, user_id, lambda: NotFound("no user can have this id"))


def path_to(collection: str, *ids: str) -> str:
    """Return the path of one of a collection, as a header may hold it."""
    return "/".join(["", collection, *(quote(each, safe="") for each in ids)])


def _id_in_path(request: Request[Any, Any, Any], value: str, refusal: Callable[[], NotFound]) -> str:
    if not _plain(request.scope.get("raw_path", b"")):
        raise refusal()
    try:
        return msgspec.convert(value, Identifier)
    except msgspec.ValidationError:
        raise refusal() from None


def _plain(raw_path: bytes) -> bool:
    """Say whether the path means what it was read as: the server decodes it before it looks for slashes."""
    if b"//" in raw_path or b"%2f" in raw_path.lower():
        return False
    try:
        unquote_to_bytes(raw_path).decode()
    except UnicodeError:
        return False
    return True
