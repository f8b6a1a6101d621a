"""HEAD for every route that answers GET, with its status and headers; OPTIONS for every route."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from litestar import Request, Response, route
from litestar.handlers import HTTPRouteHandler

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


def options_of(handlers: Iterable[HTTPRouteHandler]) -> HTTPRouteHandler:
    """Return the handler of OPTIONS for all paths of the handlers: it names what each path answers.

    The framework's own knows only what was registered before it.
    """
    methods: defaultdict[str, set[str]] = defaultdict(lambda: {"OPTIONS"})
    for handler in handlers:
        for path in handler.paths:
            methods[path] |= handler.http_methods
    allowed: Mapping[str, str] = {
        # As the router writes a path: the types of its parameters are no part of it.
        path.replace(":str}", "}"): ", ".join(sorted(answered))
        for path, answered in methods.items()
    }

    @route(sorted(methods), http_method=["OPTIONS"], include_in_schema=False, sync_to_thread=False)
    def options(request: Request[Any, Any, Any]) -> Response[None]:
        allow = allowed[request.scope["path_template"]]
        return Response(None, status_code=204, headers={"Allow": allow})

    return options


def _naming_head(headers: Iterable[tuple[bytes, bytes]]) -> _Headers:
    return [(name, _with_head(value) if name.lower() == b"allow" else value) for name, value in headers]


def _with_head(allow: bytes) -> bytes:
    methods = {method.strip() for method in allow.split(b",")}
    if b"GET" in methods:
        methods.add(b"HEAD")
    return b", ".join(sorted(methods))
