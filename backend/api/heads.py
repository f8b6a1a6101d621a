"""HEAD for every route that answers GET: the same status and headers, no body; `Allow` names it as well."""

from collections.abc import Iterable, MutableMapping
from typing import Any

from backbone.probes import Receive, Scope, Send
from backend.api.stopping import App

_Headers = list[tuple[bytes, bytes]]


def answering_heads(app: App) -> App:
    """Let `app` answer HEAD as it answers GET, and leave the body out."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"

        async def adapted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                if message["status"] in (204, 405):
                    message = {**message, "headers": _naming_head(message.get("headers", ()))}
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        # A copy for HEAD: the server must go on knowing what was asked.
        await app({**scope, "method": "GET"} if is_head else scope, receive, adapted)

    return wrapped


def _naming_head(headers: Iterable[tuple[bytes, bytes]]) -> _Headers:
    return [(name, _with_head(value) if name.lower() == b"allow" else value) for name, value in headers]


def _with_head(allow: bytes) -> bytes:
    methods = {method.strip() for method in allow.split(b",")}
    if b"GET" in methods:
        methods.add(b"HEAD")
    return b", ".join(sorted(methods))
