"""The hot path: plain posts are answered without the framework, whose own work took longer than theirs.

Guarantees: the same checks, answers and errors as the route in `messages`. Only what is plain is taken on
here; a request that has anything else about it (a page's origin, a header twice, another media type, a body
that is no message, a token that is refused) goes to the framework as it came, which does it or says why not.
"""

from collections.abc import MutableMapping
from functools import lru_cache, partial
from typing import Any

import msgspec

from backbone.errors import Unavailable
from backbone.origins import names_this_machine
from backbone.probes import Receive, Scope, Send, answer_with
from backbone.tokens import Identity, TokenRefused, TokenVerifier, bearer_token
from backend.api.identity import acting, user_named
from backend.api.messages import PostMessageBody, answer_to, command_of, idempotency_key
from backend.api.problems import MEDIA_TYPE, refusal_of
from backend.api.stopping import App
from backend.api.writing import WriteSide
from backend.domain.commands import PostMessage
from backend.domain.rejections import Rejected
from backend.limits import WriteLimit
from schemas.codec import encode
from schemas.messages import BODY_MAX_BYTES

PATH = "/messages"
_MEDIA_TYPES = frozenset({b"application/json", b"application/json; charset=utf-8"})
# Whoever sends these wants more than a post.
_NOT_PLAIN = frozenset({b"origin", b"transfer-encoding", b"expect", b"content-encoding"})

_Message = MutableMapping[str, Any]
_Headers = dict[bytes, bytes]
_decode = msgspec.json.Decoder(PostMessageBody).decode


class PlainPosts:
    """Answers plain posts, hands all other requests to `app`; without a verifier no token is needed."""

    def __init__(
        self, app: App, write_side: WriteSide, verifier: TokenVerifier | None, limit: WriteLimit
    ) -> None:
        self._app = app
        self._write_side = write_side
        self._verifier = verifier
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _plain_headers(scope) if _is_post(scope) else None
        if headers is None or (self._verifier is None and not _of_this_machine(headers[b"host"])):
            await self._app(scope, receive, send)
            return
        read: list[_Message] = []
        command = await self._command(headers, await _body(receive, read))
        if command is None:
            await self._app(scope, partial(_again, read, receive), send)
        else:
            await self._carry_out(command, scope, send)

    async def _command(self, headers: _Headers, body: bytes | None) -> PostMessage | None:
        """Return what is asked for; None where the framework has to judge it."""
        if body is None:
            return None
        try:
            data = _decode(body)
            identity = await self._identity(headers)
            named, key = headers.get(b"x-user-id"), headers.get(b"idempotency-key")
            actor_id = acting(
                identity, None if named is None else user_named(named.decode("latin-1")), data.author_id
            )
            given = None if key is None else idempotency_key(key.decode("latin-1"))
        except (msgspec.DecodeError, UnicodeError, RecursionError, Rejected, TokenRefused, Unavailable):
            return None
        return command_of(self._write_side, data, actor_id, given)

    async def _identity(self, headers: _Headers) -> Identity | None:
        if self._verifier is None:
            return None
        token = headers.get(b"authorization")
        return await self._verifier.verify(bearer_token([] if token is None else [token.decode("latin-1")]))

    async def _carry_out(self, command: PostMessage, scope: Scope, send: Send) -> None:
        try:
            outcome = await self._write_side.executor.execute(command)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client must hear of it
            problem, told = refusal_of(scope, error)
            left = self._limit.headers(command.actor_id)
            await answer_with(send, problem.status, MEDIA_TYPE, encode(problem), {**told, **left})
            return
        status, message, told = answer_to(outcome)
        left = self._limit.headers(command.actor_id)
        await answer_with(send, status, "application/json", encode(message), {**told, **left})


def _is_post(scope: Scope) -> bool:
    return (
        scope["type"] == "http"
        and scope["path"] == PATH
        and scope["method"] == "POST"
        and not scope["query_string"]
    )


def _plain_headers(scope: Scope) -> _Headers | None:
    """Return the headers by name, None where anything about them is not plain."""
    headers: _Headers = dict(scope["headers"])
    if len(headers) != len(scope["headers"]) or not _NOT_PLAIN.isdisjoint(headers):
        return None
    if len(headers.get(b"content-length", b"")) > len(str(BODY_MAX_BYTES)):
        return None
    return headers if headers.get(b"content-type") in _MEDIA_TYPES and b"host" in headers else None


@lru_cache(maxsize=64)
def _of_this_machine(host: bytes) -> bool:
    return names_this_machine(host.decode("latin-1"))


async def _body(receive: Receive, read: list[_Message]) -> bytes | None:
    """Return the body, and in `read` all that came; None where it is too large, or does not come."""
    size = 0
    while size <= BODY_MAX_BYTES:
        message = await receive()
        read.append(message)
        if message["type"] != "http.request":
            return None
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            break
    else:
        return None
    return None if size > BODY_MAX_BYTES else b"".join(each.get("body", b"") for each in read)


async def _again(read: list[_Message], receive: Receive) -> _Message:
    """Receive what was received already, then what comes."""
    return read.pop(0) if read else await receive()
