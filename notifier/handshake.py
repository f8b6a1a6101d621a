"""What a client says when it connects: who it is, where it resumes, and from which page.

With MAEARI_AUTH=off the user is `?user_id=`, percent-encoded UTF-8. With `jwt` it is the subject of the
token, in the header `Authorization` or, from a browser, in the subprotocol `bearer.TOKEN`; `?user_id=`
may then be left out, or name the same user: another one takes the scope `impersonate`.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import msgspec
from websockets.datastructures import Headers
from websockets.headers import parse_subprotocol

from backbone.origins import allowed_origin
from backbone.tokens import TokenMissing, TokenRefused, TokenVerifier, bearer_token
from schemas.frames import (
    CLOSE_BAD_FRAME,
    CLOSE_FORBIDDEN_ORIGIN,
    CLOSE_NOT_AUTHENTICATED,
)
from schemas.messages import Identifier

PATH = "/ws"
_BEARER = "bearer."
_Query = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class Caller:
    """A client that may connect, until `expires_at_ms` where its token has an end.

    `after` is the number it resumes after, None for what is new.
    """

    user_id: str
    after: int | None
    expires_at_ms: int | None = None


class Refused(Exception):
    """The client may not connect; `code` is what the socket is closed with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


async def read_caller(target: str, headers: Headers, verifier: TokenVerifier | None) -> Caller:
    """Read the path, query and headers of the request; no verifier means that no token is asked for.

    Raises Refused, or Unavailable when nobody can tell who it is for now.
    """
    query = _query(target)
    named = _named(query)
    if verifier is None:
        if named is None:
            raise Refused(CLOSE_NOT_AUTHENTICATED, "say who you are: ?user_id=USER, once")
        return Caller(named, _after(query))
    try:
        identity = await verifier.verify(_token(headers))
    except TokenRefused as refused:
        raise Refused(CLOSE_NOT_AUTHENTICATED, str(refused)) from None
    if named is not None and not identity.may_act_for(named):
        raise Refused(CLOSE_NOT_AUTHENTICATED, "the token is not for the user of ?user_id=")
    return Caller(named or identity.user_id, _after(query), identity.expires_at_ms)


def _query(target: str) -> _Query:
    try:
        # A query in anything but ASCII was not percent-encoded, and its encoding is anyone's guess.
        target.encode("ascii")
        return parse_qs(urlsplit(target).query, keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise Refused(
            CLOSE_NOT_AUTHENTICATED, "the query is not percent-encoded UTF-8, or has more than 20 fields"
        ) from None


def _named(query: _Query) -> str | None:
    match query.get("user_id"):
        case None:
            return None
        case [user_id]:
            pass
        case _:
            raise Refused(CLOSE_NOT_AUTHENTICATED, "say who you are: ?user_id=USER, once")
    try:
        return msgspec.convert(user_id, Identifier)
    except msgspec.ValidationError:
        raise Refused(
            CLOSE_NOT_AUTHENTICATED, "user_id is not 1 to 128 characters without / or control"
        ) from None


def _token(headers: Headers) -> str:
    """Return the one token there is. Raises TokenRefused."""
    offered = [each for line in headers.get_all("Sec-WebSocket-Protocol") for each in parse_subprotocol(line)]
    tokens = {each.removeprefix(_BEARER) for each in offered if each.startswith(_BEARER)}
    # A browser may send other credentials by itself: they are not meant for us.
    with suppress(TokenMissing):
        tokens.add(bearer_token(headers.get_all("Authorization")))
    if not tokens:
        raise TokenMissing("send Authorization: Bearer TOKEN, or the subprotocol bearer.TOKEN")
    if len(tokens) > 1:
        raise TokenRefused("there is more than one token")
    return tokens.pop()


def check_origin(origin: str, allowed: Sequence[str]) -> None:
    """Refuse pages of other sites. Raises Refused."""
    if not allowed_origin(origin, allowed):
        raise Refused(CLOSE_FORBIDDEN_ORIGIN, "this origin is not in MAEARI_ALLOWED_ORIGINS")


def _after(query: _Query) -> int | None:
    match query.get("after"):
        case None:
            return None
        case [text] if text.isascii() and text.isdigit() and len(text) <= 19:
            return int(text)
        case _:
            raise Refused(CLOSE_BAD_FRAME, "after is not a number, 0 or more, given once")
