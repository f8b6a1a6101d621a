"""The relay: tells the log what the outbox holds, in order, and deletes what the log acknowledged.

Guarantees: rows of one ordering key reach the log in the order of their positions, at least once, and
a former owner's late records are never read behind those of its successor (each shard has a fence, and so
have all of them together). No position is remembered: a row that becomes visible late is simply in the
next look. A row that the log will never take stops its own key only.
"""

from backbone.relay.lane import LaneRelay
from backbone.relay.shard import OwnedShard, owned_shard

__all__ = ["LaneRelay", "OwnedShard", "owned_shard"]
