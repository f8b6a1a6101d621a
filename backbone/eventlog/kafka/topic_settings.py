"""Kafka's settings of a topic: what they must be, and what they say in our words."""

from collections.abc import Mapping
from typing import NamedTuple

from backbone.eventlog.topic_state import changed, duration, kept
from schemas.topics import DAY_MS, REPLAY_HORIZON_MS, Topic

CLEANUP, RETENTION_MS, RETENTION_BYTES = "cleanup.policy", "retention.ms", "retention.bytes"
TOMBSTONES_MS = "delete.retention.ms"
MIN_IN_SYNC = "min.insync.replicas"
COMPRESSION = "compression.type"
COMPACTED_WITHIN_MS = "max.compaction.lag.ms"
READ = (
    CLEANUP,
    RETENTION_MS,
    RETENTION_BYTES,
    TOMBSTONES_MS,
    COMPACTED_WITHIN_MS,
    MIN_IN_SYNC,
    COMPRESSION,
)

REPLICATION = 3
"""How many replicas a partition has where there are that many brokers."""

_TIMES = {TOMBSTONES_MS: "time that tombstones are kept", COMPACTED_WITHIN_MS: "time before compaction"}
_NO_LIMIT_MS = 2**63 - 1
_KEEPING = {CLEANUP, RETENTION_MS, RETENTION_BYTES}
_ENOUGH_IN_SYNC = 2
# The active segment is never compacted, and a small installation would hardly ever begin another.
_COMPACTED_WITHIN_MS = DAY_MS


class Keeping(NamedTuple):
    """How records are kept, as TopicState tells it."""

    cleanup: str
    retention_ms: int | None
    tombstones_ms: int | None


def wanted(topic: Topic, replication: int) -> dict[str, str]:
    """Return the settings that a topic is made with.

    Batches stay as their producer compressed them: a cluster's default of zstd would make them
    unreadable for clients without it.
    """
    settings = {COMPRESSION: "producer"}
    if topic.cleanup == "compact":
        settings |= {
            CLEANUP: "compact",
            TOMBSTONES_MS: str(REPLAY_HORIZON_MS),
            COMPACTED_WITHIN_MS: str(_COMPACTED_WITHIN_MS),
        }
    elif topic.retention_ms is not None:
        settings |= {CLEANUP: "delete", RETENTION_MS: str(topic.retention_ms)}
    else:
        settings |= {CLEANUP: "delete", RETENTION_MS: "-1", RETENTION_BYTES: "-1"}
    if replication >= REPLICATION:
        settings[MIN_IN_SYNC] = str(_ENOUGH_IN_SYNC)
    return settings


def to_change(topic: Topic, present: Mapping[str, str], replication: int) -> dict[str, str]:
    """Return those settings of an existing topic that must change, with their new values."""
    settings = {
        name: value for name, value in wanted(topic, replication).items() if present.get(name) != value
    }
    # Where there are more replicas than three, more of them may be asked for: but one may always be down.
    if _ENOUGH_IN_SYNC <= int(present.get(MIN_IN_SYNC, "1")) < replication:
        settings.pop(MIN_IN_SYNC, None)
    if int(present.get(COMPACTED_WITHIN_MS, _COMPACTED_WITHIN_MS + 1)) < _COMPACTED_WITHIN_MS:
        settings.pop(COMPACTED_WITHIN_MS, None)
    return settings


def change_lines(
    full_name: str, present: Mapping[str, str], new: Mapping[str, str], *, dry_run: bool
) -> list[str]:
    """Return a line for each thing that changes for people, when settings change to `new`."""
    before, after = keeping(present), keeping({**present, **new})
    lines = []
    if _KEEPING & new.keys():
        what = [kept(state.cleanup, state.retention_ms) for state in (before, after)]
        lines.append(changed(full_name, "cleanup", *what, dry_run=dry_run))
    for name in sorted(_TIMES.keys() & new.keys()):
        times = [_time(settings.get(name, "0")) for settings in (present, new)]
        lines.append(changed(full_name, _TIMES[name], *times, dry_run=dry_run))
    for name in sorted(new.keys() - _KEEPING - _TIMES.keys()):
        lines.append(changed(full_name, name, present.get(name, "nothing"), new[name], dry_run=dry_run))
    return lines


def _time(value_ms: str) -> str:
    return "no limit" if int(value_ms) == _NO_LIMIT_MS else duration(int(value_ms))


def keeping(settings: Mapping[str, str] | None) -> Keeping:
    """Return Kafka's settings in our words; other policies than ours keep Kafka's."""
    if settings is None:
        return Keeping("unknown", None, None)
    policy = settings.get(CLEANUP, "delete")
    retention_ms = int(settings.get(RETENTION_MS, "-1"))
    retention_bytes = int(settings.get(RETENTION_BYTES, "-1"))
    if policy == "compact":
        return Keeping("compact", None, int(settings.get(TOMBSTONES_MS, "0")))
    if policy == "delete" and retention_ms >= 0:
        return Keeping("expire", retention_ms, None)
    if policy == "delete" and retention_bytes < 0:
        return Keeping("keep", None, None)
    if policy == "delete":
        return Keeping(f"delete beyond {retention_bytes} bytes", None, None)
    return Keeping(policy, None, None)
