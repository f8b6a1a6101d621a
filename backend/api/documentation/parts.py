"""What operations share: parameters, headers of answers, and the refusals by their status."""

from typing import Any

from backend.api.documentation.structs import schema_of
from backend.api.paging import LIMIT_MAX, NUMBER_MAX
from backend.api.problems import MEDIA_TYPE, Problem
from schemas.messages import ID_MAX_CHARACTERS, IDEMPOTENCY_KEY_MAX_CHARACTERS, Identifier

TAGS = {
    "messages": "Post, read, edit and delete messages; their threads and histories.",
    "search": "Find messages by their words, in Korean and in English.",
    "channels": "Channels, their members and their streams of events.",
    "reading": "What a user has read: marks, counts and the inbox.",
    "operations": "Probes, metrics and this description.",
}

_IDENTIFIER = schema_of(Identifier)
_TEXT = {"type": "string"}
# Blanks around a header's value are no part of it.
_USER_HEADER = {
    "type": "string",
    "minLength": 1,
    "maxLength": ID_MAX_CHARACTERS,
    "pattern": r"^(?!\.{1,2}$)[^\x00-\x20\x7f-\x9f/]([^\x00-\x1f\x7f-\x9f/]*[^\x00-\x20\x7f-\x9f/])?$",
}
_KEY_HEADER = {
    "type": "string",
    "minLength": 1,
    "maxLength": IDEMPOTENCY_KEY_MAX_CHARACTERS,
    "pattern": r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$",
}


def parameter(place: str, name: str, schema: Any, description: str, **more: Any) -> dict[str, Any]:
    """Return a parameter object; those of paths are required."""
    required = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, "description": description, "schema": schema, **required, **more}


def number(minimum: int, maximum: int, **more: Any) -> dict[str, Any]:
    """Return the schema of a whole number."""
    return {"type": "integer", "minimum": minimum, "maximum": maximum, **more}


_ACTING = (
    "Who acts, in UTF-8. With MAEARI_AUTH=jwt the token says so, and another user here takes the scope "
    "`impersonate`."
)

PARAMETERS: dict[str, Any] = {
    "message_id": parameter(
        "path", "message_id", _IDENTIFIER, "The message.", example="msg_019a5b0c-7d1e-7000-8000-000000000001"
    ),
    "channel_id": parameter("path", "channel_id", _IDENTIFIER, "The channel.", example="개발"),
    "user_id": parameter("path", "user_id", _IDENTIFIER, "The user.", example="영희"),
    "limit": parameter(
        "query",
        "limit",
        number(1, LIMIT_MAX),
        "How many items at most: 50 unless told, 20 in a search. "
        "A page of large ones is shorter; where there is more, `Link` leads there.",
    ),
    "cursor": parameter("query", "cursor", _TEXT, "From the `Link` of the page before; opaque."),
    "after_sequence": parameter(
        "query", "after_sequence", number(0, NUMBER_MAX), "Only what follows this event, oldest first."
    ),
    "Idempotency-Key": parameter(
        "header",
        "Idempotency-Key",
        _KEY_HEADER,
        "Names this post among all of the author's, for ever: sent again, it is answered and not repeated.",
        example="order-4711",
    ),
    "If-Match": parameter(
        "header", "If-Match", _TEXT, "An `ETag`: change that version only, or answer 412.", example='"7"'
    ),
    "If-None-Match": parameter(
        "header", "If-None-Match", _TEXT, "An `ETag`: 304 without a body where it still is that version."
    ),
    "Consistency-Token": parameter(
        "header",
        "Consistency-Token",
        {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
        "From the answer to a write: wait until the search sees it. Opaque.",
    ),
    "Prefer": parameter(
        "header",
        "Prefer",
        _TEXT,
        "`wait=SECONDS`: how long to wait for the Consistency-Token's version; 2 unless told, at most 10.",
        example="wait=5",
    ),
    "X-User-Id": parameter("header", "X-User-Id", _USER_HEADER, _ACTING, example="minsu"),
    "X-User-Id.required": parameter(
        "header", "X-User-Id", _USER_HEADER, _ACTING, example="minsu", required=True
    ),
}


def _header(description: str, schema: Any, *, always: bool = False) -> dict[str, Any]:
    return {"description": description, "schema": schema, **({"required": True} if always else {})}


_COUNT = number(0, NUMBER_MAX)

HEADERS: dict[str, Any] = {
    "Location": _header("The path of what was made.", {"type": "string", "pattern": "^/"}, always=True),
    "ETag": _header(
        "The version; of a channel, with the reader's role.",
        {"type": "string", "pattern": '^"[0-9]+(-(owner|member|none))?"$'},
        always=True,
    ),
    "Consistency-Token": _header(
        "Names the message and its version to a search that shall see it. Opaque.", _TEXT, always=True
    ),
    "Link": _header(
        'The next page, where there is one, however short this one is: `<…>; rel="next"` (RFC 8288).', _TEXT
    ),
    "Total-Count": _header("How many messages are found, all pages together.", _COUNT, always=True),
    "Search-Complete": _header(
        "Where a Consistency-Token was sent: whether its version was visible in time.",
        {"type": "string", "enum": ["true", "false"]},
    ),
    "Retry-After": _header("After how many seconds it is worth another try.", number(1, 3600), always=True),
    "WWW-Authenticate": _header("What a token must be (RFC 6750).", _TEXT, always=True),
    "RateLimit-Policy": _header(
        "Writes at once, and in how many seconds they are there again.",
        {"type": "string", "pattern": "^[0-9]+;w=[0-9]+$", "examples": ["200;w=4"]},
        always=True,
    ),
    "RateLimit-Limit": _header("How many writes the user may make at once.", _COUNT, always=True),
    "RateLimit-Remaining": _header("How many of them are left.", _COUNT, always=True),
    "RateLimit-Reset": _header("In how many seconds all of them are there again.", _COUNT, always=True),
}

_REFUSALS: dict[int, tuple[str, str, str, str]] = {
    400: ("Bad Request", "bad-input", "A field, parameter or header is wrong.", "content: is missing"),
    401: ("Unauthorized", "unauthenticated", "Nobody acts, or the token proves nothing.", "no token"),
    403: (
        "Forbidden", "forbidden", "This user, or this page, may not.", "only its author may edit a message",
    ),
    404: ("Not Found", "not-found", "There is none, or the user may not know.", "there is no such message"),
    408: (
        "Request Timeout", "too-slow", "The request did not come in time; the connection ends.",
        "the request's body did not come in time",
    ),
    409: ("Conflict", "conflict", "What is there, or must stay, stands against it.",
          "this channel_id is taken"),
    410: ("Gone", "gone", "The message was deleted, or the cursor has expired.", "the message was deleted"),
    412: ("Precondition Failed", "stale", "`If-Match` names another version.",
          "the message is at version 8 now"),
    413: ("Content Too Large", "too-large", "A body over 1 MiB, or an event over 512 KiB.",
          "the body is larger than 1 MiB"),
    415: ("Unsupported Media Type", "unsupported-media-type", "The body says that it is no JSON.",
          "a body must be application/json"),
    422: ("Unprocessable Content", "idempotency-key-reused", "The key stands for another body.",
          "this Idempotency-Key was used before, with another body"),
    429: ("Too Many Requests", "rate-limited", "The user writes too often.",
          "more than 50 writes a second, after a burst of 200"),
    431: ("Request Header Fields Too Large", "head-too-large",
          "Request line and headers are over 64 KiB; the connection ends.",
          "the request line and headers are longer than 65536 bytes"),
    500: ("Internal Server Error", "internal-error", "A fault of the server's.",
          "something went wrong on the server; it was logged"),
    503: ("Service Unavailable", "unavailable",
          "A store does not answer, the outbox is full, the answer took too long, or the server stops.",
          "database is not available for now; try again later"),
}  # fmt: skip
_RATE_HEADERS = [name for name in HEADERS if name.startswith("RateLimit-")]


def refusals(auth: str) -> dict[str, Any]:
    """Return the response object of each status that refuses."""
    headers = {429: ["Retry-After", *_RATE_HEADERS], 503: ["Retry-After"]}
    if auth == "jwt":
        headers[401] = ["WWW-Authenticate"]
    described = {}
    for status, (title, slug, meaning, detail) in _REFUSALS.items():
        example: dict[str, Any] = {
            "type": f"/problems/{slug}",
            "title": title,
            "status": status,
            "detail": detail,
        }
        if status == 400:
            example["errors"] = [{"field": "content", "message": "is missing"}]
        response: dict[str, Any] = {
            "description": meaning,
            "content": {MEDIA_TYPE: {"schema": schema_of(Problem), "example": example}},
        }
        if status in headers:
            response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers[status]}
        described[str(status)] = response
    return described
