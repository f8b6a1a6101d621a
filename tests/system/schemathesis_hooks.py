"""What schemathesis is told of the API that no schema can say; its command loads this file."""

from typing import Any

import schemathesis

# Opaque: only what the server gave out is good, which no pattern describes.
OPAQUE_QUERY = ("cursor",)
OPAQUE_HEADERS = ("Consistency-Token", "If-Match")


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Make valid requests what a client would send; what is wrong on purpose stays as it is."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    for name in OPAQUE_QUERY:
        case.query.pop(name, None)
    for name in OPAQUE_HEADERS:
        case.headers.pop(name, None)
    if (user_id := case.headers.get("X-User-Id")) is not None:
        # Headers are bytes; users' names in them are UTF-8.
        case.headers["X-User-Id"] = user_id.encode().decode("latin-1")
    if (
        case.path == "/notifications/preferences"
        and isinstance(case.body, dict)
        and case.body["do_not_disturb"]
    ):
        # No pattern tells time zones from other names, nor that hours must not end when they start.
        case.body["do_not_disturb"] |= {"start": "22:00", "timezone": "Asia/Seoul"}
        if case.body["do_not_disturb"]["end"] == "22:00":
            case.body["do_not_disturb"]["end"] = "07:30"
    if isinstance(case.body, dict):
        # A reply needs a message: one that is made up is refused (400).
        case.body.pop("parent_id", None)
    if case.path == "/messages/search":
        # A search for nothing is refused (400); a search has words, or says something else.
        case.query["q"] = f"배포 {case.query.get('q', '')}"[:500]
