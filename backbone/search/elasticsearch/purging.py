"""How documents of deleted messages are found and removed, and what the server says of it; pure.

Guarantees: what has become newer since it was found is not removed: versions are external here, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from backbone.errors import Unavailable
from backbone.search import DEPENDENCY, Tombstone
from backbone.search.elasticsearch.bulk import WritesBlocked, reason_of
from schemas.clock import format_ms

_GONE, _NEWER = 404, 409

_encoder = msgspec.json.Encoder()


class _Target(msgspec.Struct, frozen=True, rename={"id": "_id"}):
    id: str
    version: int
    version_type: str = "external_gte"


class _Removal(msgspec.Struct, frozen=True):
    delete: _Target


def deleted_before(moment_ms: int, limit: int) -> dict[str, Any]:
    """Return the search for messages that were deleted before a moment, the first of them first."""
    conditions = [{"term": {"deleted": True}}, {"range": {"updated_at": {"lt": format_ms(moment_ms)}}}]
    return {
        "query": {"bool": {"filter": conditions}},
        "sort": [{"updated_at": "asc"}],
        "size": limit,
        "version": True,
        "_source": False,
        "track_total_hits": False,
    }


def removal(tombstones: Sequence[Tombstone]) -> bytes:
    """Return the bulk body that removes documents, each unless it has become newer."""
    actions = (_encoder.encode(_Removal(_Target(*tombstone))) for tombstone in tombstones)
    return b"".join(action + b"\n" for action in actions)


def removed(answer: Mapping[str, Any]) -> int:
    """Return how many documents the server removed. Raises Unavailable where it could not remove one."""
    count = 0
    for item in answer["items"]:
        result = item["delete"]
        status = result["status"]
        if status < 300:
            count += 1
        elif status not in (_GONE, _NEWER):
            error = result.get("error") or {}
            reason = f"a document was not removed: {reason_of(error) or f'status {status}'}"
            blocked = error.get("type") == "cluster_block_exception"
            raise (WritesBlocked if blocked else Unavailable)(DEPENDENCY, reason)
    return count
