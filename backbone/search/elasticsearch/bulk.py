"""Bodies of Elasticsearch's bulk requests, and what their answers mean; pure.

Guarantees: no body is larger than the bounds, unless a single document is; the order stays.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from backbone.errors import Unavailable
from backbone.search import DEPENDENCY, IndexedDocument, ItemFailure

# Small enough that a batch of an indexer makes several, which the server works on side by side.
BODY_MAX_DOCUMENTS = 500
BODY_MAX_BYTES = 1024 * 1024
BUSY_STATUSES = (429, 503)
"""What the server says when it has no room for now: too much waits, or a shard is not there yet."""

_encoder = msgspec.json.Encoder()


class WritesBlocked(Unavailable):
    """The index takes no writes: somebody has put a block on it."""


class _Action(msgspec.Struct, frozen=True):
    index: "_Target"


class _Target(msgspec.Struct, frozen=True, rename={"id": "_id"}):
    id: str
    version: int
    version_type: str = "external"


class Portion(NamedTuple):
    """Documents, and the body that stores them."""

    documents: Sequence[IndexedDocument]
    body: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a portion: refused for good, or not taken for now (and why the first of these)."""

    refused: Sequence[ItemFailure]
    not_taken: Sequence[IndexedDocument]
    reason: str = ""


def bodies(documents: Sequence[IndexedDocument]) -> Iterator[Portion]:
    """Yield the documents in portions, each with the body that stores it."""
    start, body = 0, bytearray()
    for end, (message_id, document) in enumerate(documents):
        action = _encoder.encode(_Action(_Target(message_id, document.version)))
        source = _encoder.encode(document)
        full = len(body) + len(action) + len(source) + 2 > BODY_MAX_BYTES
        if body and (full or end - start >= BODY_MAX_DOCUMENTS):
            yield Portion(documents[start:end], bytes(body))
            start, body = end, bytearray()
        body += action + b"\n" + source + b"\n"
    if body:
        yield Portion(documents[start:], bytes(body))


def outcome(documents: Sequence[IndexedDocument], answer: Mapping[str, Any]) -> Outcome:
    """Return what became of a body's documents, out of the statuses of all items.

    A conflict says that a newer version is stored already, which is what was wanted. 429 and 503 say that
    the item may be sent again. Raises Unavailable where an item failed otherwise, by no fault of its own.
    """
    refused: list[ItemFailure] = []
    not_taken: list[IndexedDocument] = []
    why = ""
    for indexed, item in zip(documents, answer["items"], strict=True) if answer["errors"] else ():
        result = item["index"]
        status = result["status"]
        if status < 300 or status == 409:
            continue
        error = result.get("error") or {}
        reason = reason_of(error) or f"status {status}"
        if error.get("type") == "cluster_block_exception":
            raise WritesBlocked(DEPENDENCY, f"a document was not taken: {reason}")
        if status in BUSY_STATUSES:
            not_taken.append(indexed)
            why = why or reason
        elif status == 400:
            refused.append(ItemFailure(indexed.message_id, reason))
        else:
            raise Unavailable(DEPENDENCY, f"a document was not taken: {reason}")
    return Outcome(refused, not_taken, why)


def reason_of(error: Mapping[str, Any]) -> str:
    """Return an error of the server's as one line, with its innermost cause."""
    reason = f"{error.get('type', '')}: {error.get('reason', '')}".strip(": ")
    cause = error.get("caused_by")
    if isinstance(cause, Mapping) and cause.get("reason"):
        reason = f"{reason} ({cause['reason']})"
    return " ".join(reason.split())[:500]
