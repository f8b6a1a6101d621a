"""What each request passes before its route is asked: whose page sends it, and what its body claims to be."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from litestar import Request
from litestar.exceptions import HTTPException

from backbone.origins import allowed_origin, names_this_machine
from backbone.probes import Receive, Scope, Send, answer_with
from backbone.settings import Settings
from backend.api.headers import single_header
from backend.api.identity import Authenticate, noted_actor
from backend.api.problems import MEDIA_TYPE, Problem
from backend.api.stopping import App
from backend.domain.rejections import Forbidden
from backend.limits import WriteLimit
from schemas.codec import encode

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_FOREIGN_PAGE = "this origin is not in MAEARI_ALLOWED_ORIGINS"
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


def checks(
    settings: Settings, authenticate: Authenticate
) -> Callable[[Request[Any, Any, Any]], Awaitable[None]]:
    """Return what every request passes before its body is read.

    No route may have a hook of its own in its place: a request that did not pass here has no identity,
    and whoever asks for it finds a fault.
    """

    async def check(request: Request[Any, Any, Any]) -> None:
        _check_page(request, settings)
        await authenticate(request)
        if request.method in _WITH_BODY:
            _check_content_type(request)

    return check


def answering_preflights(app: App, settings: Settings) -> App:
    """Refuse the preflights of pages that may not ask; the framework would do so in plain text."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "OPTIONS" and settings.allowed_origins:
            headers = dict(scope["headers"])
            origin = headers.get(b"origin", b"").decode("latin-1")
            if b"access-control-request-method" in headers and not allowed_origin(
                origin, settings.allowed_origins
            ):
                problem = Problem(
                    type="/problems/forbidden", title="Forbidden", status=403, detail=_FOREIGN_PAGE
                )
                await answer_with(send, 403, MEDIA_TYPE, encode(problem))
                return
        await app(scope, receive, send)

    return wrapped


def _check_page(request: Request[Any, Any, Any], settings: Settings) -> None:
    """Refuse what pages of other sites ask for: some requests a browser sends without asking first."""
    host = single_header(request, "Host")
    if settings.auth == "off" and host is not None and not names_this_machine(host):
        raise Forbidden(f"with MAEARI_AUTH=off this is served to this machine only, not as {host!r}")
    origin = single_header(request, "Origin")
    if origin is None or origin in (f"http://{host}", f"https://{host}"):
        return
    if not allowed_origin(origin, settings.allowed_origins):
        raise Forbidden(_FOREIGN_PAGE)


def _check_content_type(request: Request[Any, Any, Any]) -> None:
    """Refuse a body that says it is no JSON; one that says nothing is read as JSON."""
    content_type = single_header(request, "Content-Type")
    empty = request.headers.get("Content-Length", "0") == "0" and "Transfer-Encoding" not in request.headers
    if content_type is None or empty:
        return
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise HTTPException(status_code=415, detail="a body must be application/json")


def limit_headers(limit: WriteLimit) -> Callable[[Any, Any], Awaitable[None]]:
    """Return the hook that tells the writer, in each answer to a write, how much is left."""

    async def add(message: MutableMapping[str, Any], scope: MutableMapping[str, Any]) -> None:
        if message["type"] != "http.response.start" or scope["method"] in _READING:
            return
        actor_id = noted_actor(scope)
        if actor_id is not None:
            fields = limit.headers(actor_id).items()
            message["headers"] = [
                *message.get("headers", ()),
                *((name.lower().encode(), value.encode()) for name, value in fields),
            ]

    return add
