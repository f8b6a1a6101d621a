"""Who is there to be told of the events of a batch: members at each, and who wrote in the thread before."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.rows import RowsStatement, insert_rows
from backbone.database.tables import channels, thread_authors
from notifier.memberships import Place, present
from notifier.projection import Audience, concerned
from schemas.events import MessageCreated, MessageDeleted, MessagesEvent

_columns = thread_authors.c
_INSERT_AUTHORS = insert_rows(
    thread_authors, (_columns.message_id, _columns.sequence, _columns.user_id), changing=(_columns.user_id,)
)
# Those who wrote in the thread of a message before the event of this number.
_THREAD = RowsStatement(
    (_columns.message_id, _columns.sequence),
    "SELECT DISTINCT given.sequence, t.message_id, t.user_id FROM {given} JOIN thread_authors t"
    " ON t.message_id = given.message_id AND t.sequence < given.sequence",
)
_NOBODY: frozenset[str] = frozenset()

EventKey = tuple[str, int]
"""An event: its channel, and its number there."""


def key_of(event: MessagesEvent) -> EventKey:
    """Return what tells an event from all others."""
    return event.payload.channel_id, event.sequence


async def audiences_of(
    connection: AsyncConnection, events: Sequence[MessagesEvent]
) -> Mapping[EventKey, Audience]:
    """Return the audience of each event; those who write in threads are remembered by the way."""
    private = await _private(connection, events)
    threads = await _threads(connection, events)
    places = [
        Place(event.payload.channel_id, user_id, event.sequence)
        for event in events
        if private[event.payload.channel_id] and not isinstance(event, MessageDeleted)
        for users in concerned(event, threads.get(key_of(event), _NOBODY)).values()
        for user_id in users
    ]
    members: defaultdict[EventKey, set[str]] = defaultdict(set)
    for channel_id, user_id, sequence in await present(connection, {*places}):
        members[channel_id, sequence].add(user_id)
    return {
        key: Audience(private[key[0]], members[key], threads.get(key, _NOBODY)) for key in map(key_of, events)
    }


async def _threads(
    connection: AsyncConnection, events: Iterable[MessagesEvent]
) -> Mapping[EventKey, AbstractSet[str]]:
    """Return for each reply who wrote before it in its thread."""
    created = [event for event in events if isinstance(event, MessageCreated)]
    authors = {
        (event.payload.parent_id or event.payload.message_id, event.sequence, event.payload.author_id)
        for event in created
    }
    replies = {
        (event.payload.parent_id, event.sequence): key_of(event)
        for event in created
        if event.payload.parent_id
    }
    if authors:
        await _INSERT_AUTHORS.execute(connection, sorted(authors))
    found: defaultdict[EventKey, set[str]] = defaultdict(set)
    for sequence, message_id, user_id in (
        await _THREAD.execute(connection, sorted(replies)) if replies else ()
    ):
        found[replies[message_id, sequence]].add(user_id)
    return found


async def _private(connection: AsyncConnection, events: Iterable[MessagesEvent]) -> Mapping[str, bool]:
    """Return of each channel whether it is private; events of other writers may not say it."""
    said = {event.payload.channel_id: event.private for event in events}
    unknown = sorted(channel_id for channel_id, private in said.items() if private is msgspec.UNSET)
    if unknown:
        query = select(channels.c.channel_id, channels.c.private).where(channels.c.channel_id.in_(unknown))
        said.update((row.channel_id, row.private) for row in await connection.execute(query))
    return {channel_id: private is True for channel_id, private in said.items()}
