"""Which records bring their message in the newest version so far: told from a glance at each. Pure.

Most of a log is of the past: what a glance shows to be older is never read whole. A glance takes less time
than reading the record did.
"""

from collections.abc import Sequence

import msgspec

from backbone.eventlog import Record
from schemas.topics import MESSAGES_STATE


class _Glance(msgspec.Struct, gc=False):
    """What tells of a state which one it is."""

    message_id: str
    version: int


class _EventGlance(msgspec.Struct, gc=False):
    """What tells it of an event."""

    payload: _Glance


_STATES = MESSAGES_STATE.name
_state = msgspec.json.Decoder(_Glance).decode
_event = msgspec.json.Decoder(_EventGlance).decode


AT_MOST = 500_000


class Newest:
    """The newest version of the messages that were seen first: some 100 bytes a message.

    Of those beyond `at_most` nothing is kept, and each record of theirs is one to be read whole.
    """

    def __init__(self, at_most: int = AT_MOST) -> None:
        self.versions: dict[str, int] = {}
        self._at_most = at_most

    def of(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return the records that are not older than what came before them, in order.

        What a glance cannot read, and tombstones, are among them: they are for others to judge.
        """
        found = _glances(records)
        if found is not None and self.versions.keys().isdisjoint(found):
            # Nothing to compare, as mostly in a compacted topic.
            if len(self.versions) < self._at_most:
                self.versions.update(found)
            return records
        return [record for record in records if self._is_newest(record)]

    def _is_newest(self, record: Record) -> bool:
        try:
            seen = _glance(record)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return True
        if seen is None:
            return True
        newest = self.versions.get(seen.message_id)
        if newest is not None and seen.version < newest:
            return False
        if newest is not None or len(self.versions) < self._at_most:
            self.versions[seen.message_id] = seen.version
        return True


def _glances(records: Sequence[Record]) -> dict[str, int] | None:
    """Return the versions in states, None where some are twice there, or not all are states."""
    try:
        found = {
            seen.message_id: seen.version
            for seen in [_state(record.value) for record in records if record.topic == _STATES]  # type: ignore[arg-type]
        }
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
        return None
    return found if len(found) == len(records) else None


def _glance(record: Record) -> _Glance | None:
    if record.value is None:
        return None
    return _state(record.value) if record.topic == _STATES else _event(record.value).payload
