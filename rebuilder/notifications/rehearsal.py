"""The notifier's own projection over the log, into tables beside the live ones: what inboxes are to hold.

Guarantees: what is to be there follows from the log alone; nothing of it is told. A record that is applied
again changes nothing: offsets are noted after what lies before them was stored.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from msgspec import DecodeError
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.clock import Clock
from backbone.database.missing import insert_missing
from backbone.database.rows import insert_rows
from backbone.database.tables import channels
from backbone.errors import Poison
from backbone.eventlog import Record, TopicPartition
from backbone.eventlog.events import read_stream_event
from notifier.announcements import Announcer
from notifier.changes import Changes
from notifier.inbox import Inbox
from notifier.memberships import remember
from rebuilder.database.side import Side
from rebuilder.database.tables import offsets, problems
from rebuilder.notifications.evidence import keep_marks, keep_sent
from rebuilder.notifications.tables import touched
from rebuilder.patience import patiently
from rebuilder.problems import UNREADABLE
from schemas.clock import parse_ms
from schemas.events import (
    AnyEvent,
    ChannelCreated,
    ChannelsEvent,
    MessagesEvent,
    NotificationRetracted,
    NotificationSent,
    UserInboxRead,
    decode,
)
from schemas.notifications import Notification
from schemas.topics import NOTIFICATIONS_SENT, USERS_CHANGED

_NOTE_OFFSETS = insert_rows(offsets, tuple(offsets.c), changing=[offsets.c.position])
_NOTE_PROBLEMS = insert_rows(problems, tuple(problems.c), changing=[problems.c.reason])
_NOTE_TOUCHED = insert_rows(touched, tuple(touched.c), rising=[touched.c.at_offset])


class _Untold(Changes):
    """Changes that nobody is told of, with the dates at which things happened."""

    def _tell(
        self, kind: type[NotificationSent | NotificationRetracted], seq: int, notification: Notification
    ) -> None:
        """Tell nothing."""

    def _dated(self, happened_at: int) -> int:
        return happened_at


class Rehearsal:
    """Applies the log's records to the side tables; every call raises Unavailable."""

    def __init__(self, side: Side, clock: Clock, committed: Mapping[TopicPartition, int]) -> None:
        """`committed` is how far the live notifier had come: what lies behind is noted as touched."""
        self._side = side
        self._committed = committed
        self._inbox = Inbox(side.database, clock, _Untold)
        self._announcer = Announcer(side.database, clock, changes=_Untold)

    async def apply(self, records: Sequence[Record], positions: Mapping[TopicPartition, int]) -> None:
        """Apply records of one kind of topic, and note that all before `positions` is applied."""
        events, unreadable = _read(records)
        channel_events = [event for _, event in events if isinstance(event, ChannelsEvent)]
        messages = [(record, event) for record, event in events if isinstance(event, MessagesEvent)]
        async with self._side.database.writing() as connection:
            if channel_events:
                await remember(connection, channel_events)
                await _keep_channels(connection, channel_events)
            await keep_sent(
                connection,
                [e for _, e in events if isinstance(e, NotificationSent | NotificationRetracted)],
            )
            await keep_marks(connection, [event for _, event in events if isinstance(event, UserInboxRead)])
            if unreadable:
                await _NOTE_PROBLEMS.execute(connection, unreadable)
            if behind := [
                (r, e) for r, e in messages if r.offset >= self._committed.get(r.topic_partition, 0)
            ]:
                await _NOTE_TOUCHED.execute(connection, _newest_of_each(behind))
        if messages:
            await patiently(partial(self._inbox.apply, [event for _, event in messages]))
            while await patiently(self._announcer.step):
                pass
        async with self._side.database.writing() as connection:
            noted = [(place.topic, place.partition, at) for place, at in sorted(positions.items())]
            await _NOTE_OFFSETS.execute(connection, noted)


def _read(records: Iterable[Record]) -> tuple[list[tuple[Record, AnyEvent]], list[tuple[str, int, int, str]]]:
    """Return the events of records, and the records that hold none."""
    events, unreadable = [], []
    for record in records:
        try:
            if record.topic in (USERS_CHANGED.name, NOTIFICATIONS_SENT.name):
                events.append((record, decode(record.value or b"")))
            else:
                events.append((record, read_stream_event(record)))
        except (Poison, DecodeError, UnicodeDecodeError) as error:
            reason = f"{UNREADABLE}: {error}"
            unreadable.append((record.topic, record.partition, record.offset, reason))
    return events, unreadable


async def _keep_channels(connection: AsyncConnection, events: Iterable[ChannelsEvent]) -> None:
    """Keep whether channels are private: a message may not say it."""
    created = {each.payload.channel_id: each for each in events if isinstance(each, ChannelCreated)}
    rows = [
        {
            "channel_id": channel_id,
            "name": event.payload.name,
            "private": event.payload.private,
            "created_by": event.payload.created_by,
            "created_at": parse_ms(event.payload.created_at),
            "last_sequence": event.sequence,
            "last_event_at": event.timestamp,
        }
        for channel_id, event in sorted(created.items())
    ]
    if rows:
        await insert_missing(connection, channels, rows)


def _newest_of_each(
    events: Iterable[tuple[Record, MessagesEvent]],
) -> list[tuple[str, str, int, int]]:
    newest: dict[tuple[str, str, int], int] = {}
    for record, event in events:
        key = (event.payload.message_id, record.topic, record.partition)
        newest[key] = max(newest.get(key, 0), record.offset)
    return [(*key, offset) for key, offset in sorted(newest.items())]
