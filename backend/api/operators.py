"""The routes for programs that operate the backend: probes, metrics, and the description of the API."""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from backbone.health import Health
from backbone.probes import probe
from backend.api.documentation import openapi_document


def operators_routes(health: Health, auth: str) -> Sequence[HTTPRouteHandler]:
    """Return the routes of a backend with this MAEARI_AUTH; none of them asks for a token."""
    document = msgspec.json.encode(openapi_document(auth))

    @get(["/health/live", "/health/ready", "/metrics"], sync_to_thread=False)
    def probes(request: Request[Any, Any, Any]) -> Response[bytes]:
        answer = probe(request.url.path, health)
        assert answer is not None, "each of these paths is a probe"
        status, content_type, body = answer
        return Response(body, status_code=status, media_type=content_type)

    @get("/schema/openapi.json", sync_to_thread=False)
    def description() -> Response[bytes]:
        return Response(document, media_type="application/json")

    return probes, description
