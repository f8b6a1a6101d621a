"""Whether a search saw a version of a message, asked of the server within that very search; pure.

A global aggregation looks at every document of the reader that the hits come from, a point in time's
too, whatever the query says. It costs some milliseconds a million documents: searches without a witness
do not pay.
"""

from collections.abc import Mapping
from typing import Any

from backbone.search import Witness

Clause = dict[str, Any]


def witness_aggregation(witness: Witness) -> Clause:
    """Return the aggregations that count the documents which hold the version, or a newer one."""
    held: list[Clause] = [
        {"ids": {"values": [witness.message_id]}},
        # A maximum would be computed as a double, which rounds large versions.
        {"range": {"version": {"gte": witness.version}}},
    ]
    return {"witness": {"global": {}, "aggs": {"held": {"filter": {"bool": {"filter": held}}}}}}


def witnessed(answer: Mapping[str, Any], witness: Witness | None) -> bool | None:
    """Return what an answer says of the witness, None when there was none."""
    if witness is None:
        return None
    return bool(answer["aggregations"]["witness"]["held"]["doc_count"])
