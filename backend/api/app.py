"""The Litestar application: routes, dependencies and the shape of refusals, put together."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from litestar import Litestar, Request, Response, get
from litestar.config.cors import CORSConfig
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from backbone.clock import Clock
from backbone.database.engine import Database
from backbone.health import Health
from backbone.origins import LOOPBACK_ORIGIN, allowed_origin, names_this_machine
from backbone.probes import probe
from backbone.search import SearchIndex
from backbone.settings import Settings
from backbone.tokens import open_verifier
from backend.api.identity import authentication
from backend.api.messages import WriteSide, delete_message, edit_message, post_message, read_message
from backend.api.problems import EXCEPTION_HANDLERS
from backend.api.search import ReadSide, search_messages
from backend.commands.executor import CommandExecutor
from backend.domain.rejections import Forbidden
from schemas.messages import BODY_MAX_BYTES

# What a page's script may read of an answer, beside the body.
_EXPOSED_HEADERS = [
    "Location",
    "ETag",
    "Link",
    "Retry-After",
    "WWW-Authenticate",
    "Consistency-Token",
    "Search-Complete",
    "Total-Count",
]


def create_app(
    executor: CommandExecutor,
    database: Database,
    index: SearchIndex,
    clock: Clock,
    health: Health,
    settings: Settings,
) -> Litestar:
    """Return the app over ports that are open; it starts and stops none of them. Raises SetupError."""

    @get(["/health/live", "/health/ready", "/metrics"], include_in_schema=False, sync_to_thread=False)
    def probes(request: Request[Any, Any, Any]) -> Response[bytes]:
        answer = probe(request.url.path, health)
        assert answer is not None, "each of these paths is a probe"
        status, content_type, body = answer
        return Response(body, status_code=status, media_type=content_type)

    values: Mapping[str, object] = {
        "write_side": WriteSide(executor, clock),
        "read_side": ReadSide(database, index, ZoneInfo(settings.timezone)),
        "database": database,
    }
    return Litestar(
        route_handlers=[post_message, read_message, edit_message, delete_message, search_messages, probes],
        dependencies={name: _given(value) for name, value in values.items()},
        exception_handlers=EXCEPTION_HANDLERS,
        before_request=_page_check(settings),
        guards=[authentication(open_verifier(settings, health))],
        cors_config=_cors(settings.allowed_origins),
        request_max_body_size=BODY_MAX_BYTES,
        openapi_config=OpenAPIConfig(
            title="maeari", version="1.0.0", path="/schema", render_plugins=[JsonRenderPlugin()]
        ),
        logging_config=None,
        debug=False,
    )


def _cors(allowed: Sequence[str]) -> CORSConfig:
    """Let the pages that are welcome read our answers: the same ones that `_page_check` lets through."""
    return CORSConfig(
        allow_origins=list(allowed),
        allow_origin_regex=None if allowed else LOOPBACK_ORIGIN,
        expose_headers=_EXPOSED_HEADERS,
    )


def _page_check(settings: Settings) -> Callable[[Request[Any, Any, Any]], None]:
    """Refuse what pages of other sites ask for: some requests a browser sends without asking first."""

    def check(request: Request[Any, Any, Any]) -> None:
        host = request.headers.get("Host")
        if settings.auth == "off" and host is not None and not names_this_machine(host):
            raise Forbidden(f"with MAEARI_AUTH=off this is served to this machine only, not as {host!r}")
        origin = request.headers.get("Origin")
        if origin is None or origin in (f"http://{host}", f"https://{host}"):
            return
        if not allowed_origin(origin, settings.allowed_origins):
            raise Forbidden("this origin is not in MAEARI_ALLOWED_ORIGINS")

    return check


def _given(value: object) -> Provide:
    def provide() -> Any:
        return value

    return Provide(provide, sync_to_thread=False)
