"""The description of the API: OpenAPI 3.1, every operation with its parameters, bodies, answers and refusals.

Guarantees: each route of the app is described and nothing else is (a test compares them); bodies and
answers are the very structs that the routes read and write.
"""

from typing import Any

from backend.api.documentation.channels import CHANNEL_OPERATIONS
from backend.api.documentation.messages import MESSAGE_OPERATIONS
from backend.api.documentation.operation import Operation
from backend.api.documentation.parts import HEADERS, PARAMETERS, TAGS, refusals
from backend.api.documentation.preferences import PREFERENCES_OPERATIONS
from backend.api.documentation.probes import PROBE_OPERATIONS
from backend.api.documentation.reading import READING_OPERATIONS
from backend.api.documentation.search import SEARCH_OPERATIONS
from backend.api.documentation.structs import component_schemas

OPERATIONS: tuple[Operation, ...] = (
    *MESSAGE_OPERATIONS,
    *SEARCH_OPERATIONS,
    *CHANNEL_OPERATIONS,
    *READING_OPERATIONS,
    *PREFERENCES_OPERATIONS,
    *PROBE_OPERATIONS,
)

_ABOUT = """\
One write resounds: into search, notifications and the archive.

JSON in and out; fields that are not known are ignored. Refusals are problem documents (RFC 9457); `type`
says which, `detail` why, and `errors` names the fields of bad input.
Lists are bare arrays; `Link` leads to the next page: it alone says that there is more, for a page may be
shorter than `limit`, as it also ends after about 1 MiB. Every GET may be asked as HEAD. Answers to writes say
in `RateLimit-…` what is left of the user's limit; past it they are 429. A private channel does not exist
(404) for those outside it.
"""


def openapi_document(auth: str) -> dict[str, Any]:
    """Return the document of a backend with this MAEARI_AUTH."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = operation.described(auth)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "maeari", "version": "1.0.0", "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": description} for name, description in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": component_schemas(),
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "responses": refusals(auth),
        },
    }
    if auth == "jwt":
        document["security"] = [{"token": []}]
        document["components"]["securitySchemes"] = {
            "token": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "The `sub` claim is the user who acts.",
            }
        }
    return document
