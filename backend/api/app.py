"""The Litestar application: routes, dependencies and the shape of refusals, put together."""

from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.di import Provide

from backbone.clock import Clock
from backbone.database.engine import Database
from backbone.health import Health
from backbone.mailbox import Mailbox
from backbone.preferences import PreferenceBook
from backbone.search import SearchIndex
from backbone.settings import Settings
from backbone.tokens import open_verifier
from backend.api.admission import answering_preflights, checks, limit_headers
from backend.api.bodies import StrictRequest
from backend.api.heads import answering_heads, options_of
from backend.api.identity import authentication
from backend.api.operators import operators_routes
from backend.api.posting import PlainPosts
from backend.api.problems import EXCEPTION_HANDLERS
from backend.api.routes import ROUTES
from backend.api.search import ReadSide
from backend.api.stopping import App, answering_when_given_up
from backend.api.writing import WriteSide
from backend.commands.executor import CommandExecutor
from backend.limits import WriteLimit
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
    "RateLimit-Policy",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
]


def create_app(
    executor: CommandExecutor,
    database: Database,
    index: SearchIndex,
    clock: Clock,
    health: Health,
    settings: Settings,
    limit: WriteLimit,
) -> App:
    """Return the app over ports that are open; it starts and stops none of them. Raises SetupError."""

    verifier = open_verifier(settings, health)
    write_side = WriteSide(executor, clock, posts_make_channels=settings.auth == "off")
    values: Mapping[str, object] = {
        "write_side": write_side,
        "read_side": ReadSide(database, index, ZoneInfo(settings.timezone)),
        "database": database,
        "mailbox": Mailbox(database, clock),
        "preferences": PreferenceBook(database, clock),
        "limit": limit,
    }
    handlers = [*ROUTES, *operators_routes(health, settings.auth)]
    app = Litestar(
        route_handlers=[options_of(handlers), *handlers],
        dependencies={name: _given(value) for name, value in values.items()},
        request_class=StrictRequest,
        exception_handlers=EXCEPTION_HANDLERS,
        before_request=checks(settings, authentication(verifier)),
        before_send=[limit_headers(limit)],
        cors_config=_cors(settings.allowed_origins),
        request_max_body_size=BODY_MAX_BYTES,
        # The description is our own: the framework's knows nothing of headers that routes read by hand.
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    whole = answering_preflights(answering_heads(app), settings)
    return answering_when_given_up(PlainPosts(whole, write_side, verifier, limit))


def _cors(allowed: Sequence[str]) -> CORSConfig | None:
    """Let the pages that are named read our answers; with none named no answer speaks of it at all."""
    if not allowed:
        return None
    return CORSConfig(allow_origins=list(allowed), expose_headers=_EXPOSED_HEADERS)


def _given(value: object) -> Provide:
    def provide() -> Any:
        return value

    return Provide(provide, sync_to_thread=False)
