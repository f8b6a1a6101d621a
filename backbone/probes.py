"""The probes of every process: `/health/live`, `/health/ready` and `/metrics`, as one small ASGI app."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from backbone.health import Health

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def probe(path: str, health: Health) -> tuple[int, str, bytes] | None:
    """Return status, content type and body of a probe's answer; None when there is no such probe."""
    match path.rstrip("/"):
        case "/health/live":
            return 200, "application/json", b'{"status":"ok"}'
        case "/health/ready":
            readiness = health.readiness()
            body = {"status": readiness.status, "dependencies": readiness.dependencies}
            return 200 if readiness.ready else 503, "application/json", msgspec.json.encode(body)
        case "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest()
        case _:
            return None


def probes_app(health: Health) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Return the app that processes without an API of their own serve on their metrics port."""

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = probe(scope["path"], health) or (404, "text/plain", b"no such probe\n")
        await answer_with(send, *answer)

    return app


async def answer_with(
    send: Send, status: int, content_type: str, body: bytes, headers: Mapping[str, str] | None = None
) -> None:
    """Send a whole answer."""
    fields = {"content-type": content_type, "content-length": str(len(body)), **(headers or {})}
    raw = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
