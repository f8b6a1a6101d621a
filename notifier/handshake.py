"""What a client says when it connects: who it is, where it resumes, and from which page.

With MAEARI_AUTH=off, the only mode there is yet, the user is `?user_id=`, percent-encoded UTF-8.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import msgspec

from backbone.origins import allowed_origin
from schemas.frames import (
    CLOSE_BAD_FRAME,
    CLOSE_FORBIDDEN_ORIGIN,
    CLOSE_NOT_AUTHENTICATED,
)
from schemas.messages import Identifier

PATH = "/ws"


@dataclass(frozen=True, slots=True)
class Caller:
    """A client that may connect; `after` is the number it resumes after, None for what is new."""

    user_id: str
    after: int | None


class Refused(Exception):
    """The client may not connect; `code` is what the socket is closed with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def read_caller(target: str) -> Caller:
    """Read the path and query of the request. Raises Refused."""
    try:
        # A query in anything but ASCII was not percent-encoded, and its encoding is anyone's guess.
        target.encode("ascii")
        query = parse_qs(urlsplit(target).query, keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise Refused(CLOSE_NOT_AUTHENTICATED, "the query is not percent-encoded UTF-8") from None
    match query.get("user_id"):
        case [user_id]:
            pass
        case _:
            raise Refused(CLOSE_NOT_AUTHENTICATED, "say who you are: ?user_id=USER, once")
    try:
        msgspec.convert(user_id, Identifier)
    except msgspec.ValidationError:
        raise Refused(
            CLOSE_NOT_AUTHENTICATED, "user_id is not 1 to 128 characters without / or control"
        ) from None
    return Caller(user_id, _after(query.get("after")))


def check_origin(origin: str, allowed: Sequence[str]) -> None:
    """Refuse pages of other sites. Raises Refused."""
    if not allowed_origin(origin, allowed):
        raise Refused(CLOSE_FORBIDDEN_ORIGIN, "this origin is not in MAEARI_ALLOWED_ORIGINS")


def _after(values: list[str] | None) -> int | None:
    match values:
        case None:
            return None
        case [text] if text.isascii() and text.isdigit() and len(text) <= 19:
            return int(text)
        case _:
            raise Refused(CLOSE_BAD_FRAME, "after is not a number, 0 or more, given once")
