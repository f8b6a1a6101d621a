"""Who acts: with MAEARI_AUTH=jwt the token's subject, with `off` whoever the request names.

Guarantees: every route asks for a token unless it is listed here; a route that is not authenticated has
no reader and no actor: asking for one is a fault, never an open door.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
from litestar import Request

from backbone.tokens import Identity, TokenVerifier, bearer_token
from backend.api.headers import header_text, single_header
from backend.domain.rejections import Forbidden, Invalid, Unauthenticated
from schemas.messages import Identifier

HEADER = "X-User-Id"
# What answers without a token: probes and the description of the API.
_OPEN_PATHS = ("/health/live", "/health/ready", "/metrics", "/schema")
_OPEN_BELOW = "/schema/"
_IDENTITY = "identity"
_ACTOR = "actor"

Authenticate = Callable[[Request[Any, Any, Any]], Awaitable[None]]


def authentication(verifier: TokenVerifier | None) -> Authenticate:
    """Return what every request passes: it finds out once whose token came; None asks for no token."""

    async def authenticate(request: Request[Any, Any, Any]) -> None:
        path, state = request.scope["path"], request.scope["state"]
        if verifier is None:
            state[_IDENTITY] = None
        elif request.method != "OPTIONS" and path not in _OPEN_PATHS and not path.startswith(_OPEN_BELOW):
            token = bearer_token(request.headers.getall("Authorization", []))
            state[_IDENTITY] = await verifier.verify(token)

    return authenticate


def reader_of(request: Request[Any, Any, Any]) -> str | None:
    """Return who reads; None sees what is public.

    Raises Invalid for an id that cannot be one, or for two; Forbidden when the token is not for that user.
    """
    named = _named_by_header(request)
    identity = _identity_of(request)
    return named if identity is None else _acting_as(identity, named)


def actor_of(request: Request[Any, Any, Any], author_id: str | None = None) -> str:
    """Return who changes something.

    Raises Unauthenticated when nobody is named, Forbidden when two are, or one that the token is not for.
    """
    named = acting(_identity_of(request), _named_by_header(request), author_id)
    request.scope["state"][_ACTOR] = named
    return named


def acting(identity: Identity | None, header: str | None, author_id: str | None) -> str:
    """Return who acts, of those whom token, header and body name. Raises as `actor_of`."""
    if header is not None and author_id is not None and header != author_id:
        raise Forbidden(f"author_id and {HEADER} name different users")
    named = author_id if author_id is not None else header
    if identity is not None:
        named = _acting_as(identity, named)
    if named is None:
        raise Unauthenticated(f"say who acts: the header {HEADER}, or author_id in a body that has one")
    return named


def acts_for_another(request: Request[Any, Any, Any], user_id: str) -> bool:
    """Say whether the token is another user's, who may act for this one."""
    identity = _identity_of(request)
    return identity is not None and identity.user_id != user_id


def noted_actor(scope: MutableMapping[str, Any]) -> str | None:
    """Return whom `actor_of` found in this request; None when it was not asked, or refused."""
    actor: str | None = scope["state"].get(_ACTOR)
    return actor


def _acting_as(identity: Identity, named: str | None) -> str:
    if named is None:
        return identity.user_id
    if not identity.may_act_for(named):
        raise Forbidden("the token is not for this user; to act for others takes the scope impersonate")
    return named


def _identity_of(request: Request[Any, Any, Any]) -> Identity | None:
    """Return whose token came with the request; None where none is asked for."""
    identity: Identity | None = request.scope["state"][_IDENTITY]
    return identity


def _named_by_header(request: Request[Any, Any, Any]) -> str | None:
    value = single_header(request, HEADER)
    return None if value is None else user_named(value)


def user_named(value: str) -> str:
    """Return the user whom the header names. Raises Invalid for an id that cannot be one."""
    try:
        return msgspec.convert(header_text(value), Identifier)
    except (UnicodeError, msgspec.ValidationError):
        raise Invalid(
            HEADER,
            "not a user id: 1 to 128 characters in UTF-8, no control characters or `/`, not `.` or `..`",
        ) from None
