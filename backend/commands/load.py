"""Reads what the commands of a group may look at: at most one statement a table, channels locked in order."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.rows import RowsStatement
from backbone.database.tables import channel_members, channels, idempotency_keys, message_events, messages
from backend.commands.group import Group
from backend.domain.commands import (
    Command,
    EventfulCommand,
    MarkRead,
    MemberCommand,
    MessageChange,
    PostMessage,
)
from backend.domain.state import EarlierPost, MemberState
from backend.rows import channel_from_row, message_from_row
from schemas.events import MessageCreated, decode_message_event

# A message never changes its channel, so this may be read before the lock.
_CHANNELS_OF = RowsStatement(
    [messages.c.message_id], "SELECT DISTINCT channel_id FROM messages JOIN {given} USING (message_id)"
)
# Every process locks in one order, that of the code points, whatever the database's own is.
_LOCKED_CHANNELS = RowsStatement(
    [channels.c.channel_id],
    "SELECT channels.* FROM channels JOIN {given} USING (channel_id)"
    " ORDER BY channels.channel_id {by_code_point} {lock} channels",
)
_CHANNELS = RowsStatement(
    [channels.c.channel_id], "SELECT channels.* FROM channels JOIN {given} USING (channel_id)"
)
_MESSAGES = RowsStatement(
    [messages.c.message_id], "SELECT messages.* FROM messages JOIN {given} USING (message_id)"
)
_MEMBERS = RowsStatement(
    [channel_members.c.channel_id, channel_members.c.user_id],
    "SELECT channel_members.* FROM channel_members JOIN {given} USING (channel_id, user_id)",
)
_OWNERS = RowsStatement(
    [channel_members.c.channel_id],
    "SELECT channel_members.* FROM channel_members JOIN {given} USING (channel_id) WHERE role = 'owner'",
)
_EARLIER = RowsStatement(
    [idempotency_keys.c.author_id, idempotency_keys.c.key_hash],
    "SELECT author_id, key_hash, request_hash, body FROM idempotency_keys"
    " JOIN {given} USING (author_id, key_hash) JOIN message_events USING (message_id)"
    " WHERE event_type = 'message.created'",
)
_EVENTS = RowsStatement(
    [message_events.c.event_id], "SELECT event_id FROM message_events JOIN {given} USING (event_id) LIMIT 1"
)


async def load(connection: AsyncConnection, commands: Sequence[Command]) -> Group:
    """Read what the commands may look at; their channels' rows stay locked until the transaction ends."""
    group = Group()
    message_ids = {c.message_id for c in commands if isinstance(c, MessageChange)}
    message_ids |= {c.parent_id for c in commands if isinstance(c, PostMessage) and c.parent_id is not None}
    locked = {c.channel_id for c in commands if not isinstance(c, MessageChange | MarkRead)}
    locked |= {row["channel_id"] for row in await _read(connection, _CHANNELS_OF, _single(message_ids))}
    # Reading is no event: it takes no number of the channel's.
    read = {c.channel_id for c in commands if isinstance(c, MarkRead)} - locked
    found = await _read(connection, _LOCKED_CHANNELS, _single(locked))
    found += await _read(connection, _CHANNELS, _single(read))
    group.channels = {row["channel_id"]: channel_from_row(row) for row in found}
    for row in await _read(connection, _MESSAGES, _single(message_ids)):
        group.messages[row["message_id"]] = message_from_row(row)
    await _load_members(connection, group, commands)
    await _load_earlier(connection, group, commands)
    return group


async def any_stored(connection: AsyncConnection, commands: Sequence[Command]) -> bool:
    """Say whether an event of these commands is stored: they share a transaction, so all are or none is.

    To be asked under the locks of `load`: a transaction without an answer holds them until its end.
    """
    event_ids = {c.event_id for c in commands if isinstance(c, EventfulCommand)}
    return bool(await _read(connection, _EVENTS, _single(event_ids)))


async def _load_members(connection: AsyncConnection, group: Group, commands: Sequence[Command]) -> None:
    pairs: set[tuple[str, str]] = set()
    changing: set[str] = set()
    for command in commands:
        channel_id = group.channel_of(command)
        channel = group.channels.get(channel_id)
        if channel is None or (isinstance(command, PostMessage | MarkRead) and not channel.private):
            continue  # whoever comes may post in a public channel, and read it
        pairs.add((channel_id, command.actor_id))
        if isinstance(command, MemberCommand):
            pairs.add((channel_id, command.user_id))
            changing.add(channel_id)
    rows = await _read(connection, _MEMBERS, sorted(pairs))
    rows += await _read(connection, _OWNERS, _single(changing))
    for row in rows:
        group.members[row["channel_id"], row["user_id"]] = MemberState(row["role"], row["version"])


async def _load_earlier(connection: AsyncConnection, group: Group, commands: Sequence[Command]) -> None:
    used = {
        (c.actor_id, c.idempotency_key_hash)
        for c in commands
        if isinstance(c, PostMessage) and c.idempotency_key_hash is not None
    }
    for row in await _read(connection, _EARLIER, sorted(used)):
        created = decode_message_event(row["body"])
        assert isinstance(created, MessageCreated), "the query asks for these only"
        group.earlier[row["author_id"], row["key_hash"]] = EarlierPost(row["request_hash"], created.payload)


async def _read(
    connection: AsyncConnection, statement: RowsStatement, rows: Collection[tuple[str, ...]]
) -> list[Mapping[Any, Any]]:
    return list((await statement.execute(connection, rows)).mappings()) if rows else []


def _single(values: Iterable[str]) -> list[tuple[str]]:
    return [(value,) for value in sorted(values)]
