"""Reads what the commands of a group may look at: at most one statement a table, channels locked in order."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.rows import one_of, table_of
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


async def load(connection: AsyncConnection, commands: Sequence[Command]) -> Group:
    """Read what the commands may look at; their channels' rows stay locked until the transaction ends."""
    group = Group()
    message_ids = {c.message_id for c in commands if isinstance(c, MessageChange)}
    message_ids |= {c.parent_id for c in commands if isinstance(c, PostMessage) and c.parent_id is not None}
    locked = {c.channel_id for c in commands if not isinstance(c, MessageChange | MarkRead)}
    if message_ids:
        # A message never changes its channel, so this may be read before the lock.
        wanted = one_of(connection, messages.c.message_id, message_ids)
        locked |= set(await connection.scalars(select(messages.c.channel_id).where(wanted).distinct()))
    await _load_channels(connection, group, locked, lock=True)
    # Reading is no event: it takes no number of the channel's.
    await _load_channels(
        connection, group, {c.channel_id for c in commands if isinstance(c, MarkRead)} - locked, lock=False
    )
    if message_ids:
        query = select(messages).where(one_of(connection, messages.c.message_id, message_ids))
        for row in (await connection.execute(query)).mappings():
            group.messages[row["message_id"]] = message_from_row(row)
    await _load_members(connection, group, commands)
    await _load_earlier(connection, group, [c for c in commands if isinstance(c, PostMessage)])
    return group


async def any_stored(connection: AsyncConnection, commands: Sequence[Command]) -> bool:
    """Say whether an event of these commands is stored: they share a transaction, so all are or none is.

    To be asked under the locks of `load`: a transaction without an answer holds them until its end.
    """
    event_ids = [c.event_id for c in commands if isinstance(c, EventfulCommand)]
    query = select(message_events.c.event_id).where(one_of(connection, message_events.c.event_id, event_ids))
    return (await connection.execute(query.limit(1))).first() is not None


async def _load_channels(
    connection: AsyncConnection, group: Group, channel_ids: Iterable[str], *, lock: bool
) -> None:
    wanted = sorted(channel_ids)
    if not wanted:
        return
    query = select(channels).where(one_of(connection, channels.c.channel_id, wanted))
    if lock:
        # Every process locks in one order, that of the code points, whatever the database's own is.
        key = channels.c.channel_id
        order = key.collate("C") if connection.dialect.name == "postgresql" else key
        query = query.order_by(order).with_for_update(key_share=True)
    for row in (await connection.execute(query)).mappings():
        group.channels[row["channel_id"]] = channel_from_row(row)


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
    if not pairs:
        return
    columns = channel_members.c
    asked = table_of(connection, "asked", [columns.channel_id, columns.user_id], sorted(pairs))
    of_pairs = select(channel_members).join(
        asked, (columns.channel_id == asked.c.channel_id) & (columns.user_id == asked.c.user_id)
    )
    rows = list((await connection.execute(of_pairs)).mappings())
    if changing:
        owners = select(channel_members).where(
            one_of(connection, columns.channel_id, sorted(changing)), columns.role == "owner"
        )
        rows += list((await connection.execute(owners)).mappings())
    for row in rows:
        group.members[row["channel_id"], row["user_id"]] = MemberState(row["role"], row["version"])


async def _load_earlier(connection: AsyncConnection, group: Group, posts: Sequence[PostMessage]) -> None:
    used = sorted({(c.actor_id, c.idempotency_key_hash) for c in posts if c.idempotency_key_hash})
    if not used:
        return
    columns = idempotency_keys.c
    asked = table_of(connection, "asked", [columns.author_id, columns.key_hash], used)
    query = (
        select(idempotency_keys, message_events.c.body)
        .join(asked, (columns.author_id == asked.c.author_id) & (columns.key_hash == asked.c.key_hash))
        .join(message_events, message_events.c.message_id == columns.message_id)
        .where(message_events.c.event_type == "message.created")
    )
    for row in (await connection.execute(query)).mappings():
        created = decode_message_event(row["body"])
        assert isinstance(created, MessageCreated), "the query asks for these only"
        group.earlier[row["author_id"], row["key_hash"]] = EarlierPost(row["request_hash"], created.payload)
