"""What a group of commands reads and writes: one statement a table, channels locked in sorted order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import and_, or_, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.tables import (
    channel_members,
    channels,
    idempotency_keys,
    message_events,
    messages,
    outbox,
)
from backbone.outbox import outbox_row
from backend.domain.commands import Command, PostMessage
from backend.domain.evolve import evolve_channel, evolve_message, evolve_role
from backend.domain.state import ChannelState, EarlierPost, MessageRecord, Situation
from backend.rows import channel_from_row, channel_to_row, message_from_row, message_to_row
from schemas.events import (
    ChannelCreated,
    MessageCreated,
    MessagesEvent,
    StreamEvent,
    decode_message_event,
    encode,
    event_type,
)


@dataclass
class Group:
    """What the commands of one transaction know and have decided so far."""

    channels: dict[str, ChannelState] = field(default_factory=dict)
    messages: dict[str, MessageRecord] = field(default_factory=dict)
    roles: dict[tuple[str, str], str] = field(default_factory=dict)
    earlier: dict[tuple[str, str], EarlierPost] = field(default_factory=dict)
    events: list[StreamEvent] = field(default_factory=list)
    made_channels: set[str] = field(default_factory=set)
    touched_messages: set[str] = field(default_factory=set)

    def situation(self, command: Command) -> Situation:
        """Return what a decision on `command` may look at now."""
        if isinstance(command, PostMessage):
            channel_id, message = command.channel_id, None
            parent = self.messages.get(command.parent_id) if command.parent_id else None
            key_hash = command.idempotency_key_hash
            earlier = self.earlier.get((command.actor_id, key_hash)) if key_hash else None
        else:
            message, parent, earlier = self.messages.get(command.message_id), None, None
            channel_id = message.message.channel_id if message else ""
        return Situation(
            channel=self.channels.get(channel_id),
            message=message,
            parent=parent,
            role=self.roles.get((channel_id, command.actor_id)),
            earlier=earlier,
        )

    def apply(self, event: StreamEvent) -> None:
        """Take an event into the state, so that the next command of the group sees it."""
        channel_id = event.payload.channel_id
        self.channels[channel_id] = evolve_channel(self.channels.get(channel_id), event)
        self.events.append(event)
        if isinstance(event, ChannelCreated):
            self.made_channels.add(channel_id)
            owner = event.payload.created_by
            role = evolve_role(None, owner, event)
            assert role is not None, "the maker of a channel owns it"
            self.roles[channel_id, owner] = role
        elif isinstance(event, MessagesEvent):
            message_id = event.payload.message_id
            self.messages[message_id] = evolve_message(self.messages.get(message_id), event)
            self.touched_messages.add(message_id)
        if isinstance(event, MessageCreated) and isinstance(event.idempotency_key_hash, str):
            key = (event.payload.author_id, event.idempotency_key_hash)
            self.earlier[key] = EarlierPost(str(event.request_hash), event.payload)


async def load(connection: AsyncConnection, commands: Sequence[Command]) -> Group:
    """Read what the commands may look at, their channels' rows locked until the transaction ends."""
    group = Group()
    message_ids = {c.parent_id if isinstance(c, PostMessage) else c.message_id for c in commands} - {None}
    channel_ids = {c.channel_id for c in commands if isinstance(c, PostMessage)}
    if message_ids:
        # A message never changes its channel, so this may be read before the lock.
        of_message = select(messages.c.channel_id).where(messages.c.message_id.in_(message_ids)).distinct()
        channel_ids |= set(await connection.scalars(of_message))
    await _load_channels(connection, group, channel_ids)
    if message_ids:
        rows = await connection.execute(select(messages).where(messages.c.message_id.in_(message_ids)))
        for row in rows.mappings():
            group.messages[row["message_id"]] = message_from_row(row)
    await _load_roles(connection, group, channel_ids, {c.actor_id for c in commands})
    await _load_earlier(connection, group, [c for c in commands if isinstance(c, PostMessage)])
    return group


async def save(connection: AsyncConnection, group: Group, shards: int) -> None:
    """Write what the group decided. Raises IntegrityError when another process was first."""
    if not group.events:
        return
    await _save_channels(connection, group)
    event_rows, outbox_rows = _rows_of_events(group.events, shards)
    await connection.execute(message_events.insert(), event_rows)
    if group.touched_messages:
        await _upsert_messages(connection, [group.messages[m] for m in sorted(group.touched_messages)])
    keys = [_key_row(event) for event in group.events if isinstance(event, MessageCreated)]
    if used := [row for row in keys if row is not None]:
        await connection.execute(idempotency_keys.insert(), used)
    await connection.execute(outbox.insert(), outbox_rows)


async def _load_channels(connection: AsyncConnection, group: Group, channel_ids: Iterable[str]) -> None:
    query = (
        select(channels)
        .where(channels.c.channel_id.in_(sorted(channel_ids)))
        .order_by(channels.c.channel_id)
        .with_for_update()
    )
    for row in (await connection.execute(query)).mappings():
        group.channels[row["channel_id"]] = channel_from_row(row)


async def _load_roles(
    connection: AsyncConnection, group: Group, channel_ids: Iterable[str], actor_ids: Iterable[str]
) -> None:
    query = select(channel_members).where(
        channel_members.c.channel_id.in_(sorted(channel_ids)),
        channel_members.c.user_id.in_(sorted(actor_ids)),
    )
    for row in (await connection.execute(query)).mappings():
        group.roles[row["channel_id"], row["user_id"]] = row["role"]


async def _load_earlier(connection: AsyncConnection, group: Group, posts: Sequence[PostMessage]) -> None:
    keys = sorted({(c.actor_id, c.idempotency_key_hash) for c in posts if c.idempotency_key_hash})
    if not keys:
        return
    query = (
        select(idempotency_keys, message_events.c.body)
        .join(message_events, message_events.c.message_id == idempotency_keys.c.message_id)
        .where(
            message_events.c.event_type == "message.created",
            # SQLite finds these in the index one by one, and a list of pairs not at all.
            or_(
                *(and_(idempotency_keys.c.author_id == a, idempotency_keys.c.key_hash == k) for a, k in keys)
            ),
        )
    )
    for row in (await connection.execute(query)).mappings():
        created = decode_message_event(row["body"])
        assert isinstance(created, MessageCreated), "the query asks for these only"
        group.earlier[row["author_id"], row["key_hash"]] = EarlierPost(row["request_hash"], created.payload)


async def _save_channels(connection: AsyncConnection, group: Group) -> None:
    changed = {event.payload.channel_id for event in group.events}
    made = sorted(changed & group.made_channels)
    if made:
        await connection.execute(channels.insert(), [channel_to_row(group.channels[c]) for c in made])
        owners = [
            {"channel_id": c, "user_id": group.channels[c].created_by, "role": "owner", "version": 1}
            for c in made
        ]
        await connection.execute(channel_members.insert(), owners)
    for channel_id in sorted(changed - group.made_channels):
        channel = group.channels[channel_id]
        await connection.execute(
            channels.update()
            .where(channels.c.channel_id == channel_id)
            .values(last_sequence=channel.last_sequence, last_event_at=channel.last_event_at)
        )


async def _upsert_messages(connection: AsyncConnection, records: Sequence[MessageRecord]) -> None:
    insert = postgres_insert if connection.dialect.name == "postgresql" else sqlite_insert
    statement = insert(messages)
    changing = ("content", "mentions", "attachments", "version", "updated_at", "deleted_at", "deleted_by")
    statement = statement.on_conflict_do_update(
        index_elements=[messages.c.message_id],
        set_={name: statement.excluded[name] for name in changing},
    )
    await connection.execute(statement, [message_to_row(record) for record in records])


def _rows_of_events(
    events: Sequence[StreamEvent], shards: int
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    event_rows: list[dict[str, object]] = []
    outbox_rows: list[dict[str, object]] = []
    for event in events:
        body = encode(event).decode()
        channel_id = event.payload.channel_id
        event_rows.append(
            {
                "channel_id": channel_id,
                "sequence": event.sequence,
                "event_id": event.event_id,
                "event_type": event_type(event),
                "message_id": event.payload.message_id if isinstance(event, MessagesEvent) else None,
                "timestamp": event.timestamp,
                "body": body,
            }
        )
        outbox_rows.append(dict(outbox_row("messages", shards, channel_id, event, body)))
    return event_rows, outbox_rows


def _key_row(event: MessageCreated) -> dict[str, object] | None:
    if not isinstance(event.idempotency_key_hash, str):
        return None
    return {
        "author_id": event.payload.author_id,
        "key_hash": event.idempotency_key_hash,
        "request_hash": event.request_hash,
        "message_id": event.payload.message_id,
    }
