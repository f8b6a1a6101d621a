"""The probes, the metrics and the description itself, described."""

from typing import Any

from backend.api.documentation.operation import Answer, Operation
from backend.api.documentation.structs import Liveness, ReadinessDocument

_WELL = {"status": "ok", "dependencies": {"database": "ok", "eventlog": "ok", "outbox": "ok", "search": "ok"}}
_LAME = {"status": "degraded", "dependencies": {"database": "ok", "search": "no answer within 3 s"}}
_DOWN = {"status": "degraded", "dependencies": {"database": "connection refused"}}

PROBE_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "get",
        "/health/live",
        "live",
        "operations",
        "Is the process alive",
        "Asks nothing of any store.",
        {200: Answer("It is.", Liveness, examples={"ok": {"status": "ok"}})},
        actor="none",
    ),
    Operation(
        "get",
        "/health/ready",
        "ready",
        "operations",
        "Can the process do its work",
        "503 only when it cannot do its main work: the database is down, or the outbox is full.",
        {
            200: Answer("It can.", ReadinessDocument, examples={"ok": _WELL, "degraded": _LAME}),
            503: Answer("It cannot.", ReadinessDocument, examples={"down": _DOWN}),
        },
        actor="none",
    ),
    Operation(
        "get",
        "/metrics",
        "metrics",
        "operations",
        "Metrics",
        "In the text format of Prometheus.",
        {200: Answer("The metrics.", str, media_type="text/plain")},
        actor="none",
    ),
    Operation(
        "get",
        "/schema/openapi.json",
        "describe",
        "operations",
        "This description",
        "OpenAPI 3.1.",
        {200: Answer("The document.", dict[str, Any])},
        actor="none",
    ),
)
