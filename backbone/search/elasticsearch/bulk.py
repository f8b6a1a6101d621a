"""Bodies of Elasticsearch's bulk requests, and what their answers mean; pure.

Guarantees: no body is larger than the bounds, unless a single document is; the order stays.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from backbone.errors import Unavailable
from backbone.search import DEPENDENCY, IndexedDocument, ItemFailure

BODY_MAX_DOCUMENTS = 1_000
BODY_MAX_BYTES = 8 * 1024 * 1024

_encoder = msgspec.json.Encoder()


class WritesBlocked(Unavailable):
    """The index takes no writes: somebody has put a block on it."""


class _Action(msgspec.Struct, frozen=True):
    index: "_Target"


class _Target(msgspec.Struct, frozen=True, rename={"id": "_id"}):
    id: str
    version: int
    version_type: str = "external"


def bodies(documents: Sequence[IndexedDocument]) -> Iterator[tuple[Sequence[IndexedDocument], bytes]]:
    """Yield the documents in portions, each with the body that stores it."""
    start, body = 0, bytearray()
    for end, (message_id, document) in enumerate(documents):
        action = _encoder.encode(_Action(_Target(message_id, document.version)))
        source = _encoder.encode(document)
        full = len(body) + len(action) + len(source) + 2 > BODY_MAX_BYTES
        if body and (full or end - start >= BODY_MAX_DOCUMENTS):
            yield documents[start:end], bytes(body)
            start, body = end, bytearray()
        body += action + b"\n" + source + b"\n"
    if body:
        yield documents[start:], bytes(body)


def failures(portion: Sequence[IndexedDocument], items: Sequence[Mapping[str, Any]]) -> list[ItemFailure]:
    """Return the documents that the server refused for good, out of the statuses of all items.

    A conflict says that a newer version is stored already, which is what was wanted. Raises
    Unavailable when an item may be taken later: the whole portion can be sent again.
    """
    refused: list[ItemFailure] = []
    for (message_id, _), item in zip(portion, items, strict=True):
        result = item["index"]
        status = result["status"]
        if status < 300 or status == 409:
            continue
        error = result.get("error") or {}
        reason = reason_of(error) or f"status {status}"
        if error.get("type") == "cluster_block_exception":
            raise WritesBlocked(DEPENDENCY, f"a document was not taken: {reason}")
        if status != 400:
            raise Unavailable(DEPENDENCY, f"a document was not taken: {reason}")
        refused.append(ItemFailure(message_id, reason))
    return refused


def reason_of(error: Mapping[str, Any]) -> str:
    """Return an error of the server's as one line, with its innermost cause."""
    reason = f"{error.get('type', '')}: {error.get('reason', '')}".strip(": ")
    cause = error.get("caused_by")
    if isinstance(cause, Mapping) and cause.get("reason"):
        reason = f"{reason} ({cause['reason']})"
    return " ".join(reason.split())[:500]
