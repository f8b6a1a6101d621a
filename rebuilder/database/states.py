"""The source `state`: messages as the compacted topic has them, numbers and keys out of the event topics.

Guarantees: the ends of the event topics are taken before those of the states, so whatever lies before them is
in the states; what lies behind them is read as events afterwards. The history is not restored, and the side
says so, up to which event: but for the creations whose keys somebody may repeat.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import msgspec
from sqlalchemy import text

from backbone.errors import Poison
from backbone.eventlog import Reader, Record
from backbone.eventlog.events import read_state, read_stream_event
from backend.domain.state import MessageRecord
from backend.rows import message_to_row
from rebuilder.database.folding import fold
from rebuilder.database.loading import Offsets, events_in_bulk, events_in_place, load
from rebuilder.database.rows import Chunk
from rebuilder.database.side import Side
from rebuilder.database.storing import noted_offsets
from rebuilder.patience import patiently
from rebuilder.readers import Log
from schemas.clock import format_ms, parse_ms
from schemas.codec import decode_with
from schemas.messages import Message, MessageState
from schemas.topics import (
    CHANNELS_CHANGED,
    MESSAGE_TOPICS,
    MESSAGES_CREATED,
    MESSAGES_STATE,
    USERS_CHANGED,
    Topic,
)

Advance = Callable[[int], None]


class _Payload(msgspec.Struct):
    """As much of a message's event as its number and its beginning take."""

    message_id: str
    channel_id: str
    created_at: str | None = None
    parent_id: str | None = None


class _Narrow(msgspec.Struct):
    sequence: int
    timestamp: int
    payload: _Payload
    idempotency_key_hash: str | None = None


_narrow: msgspec.json.Decoder[_Narrow] = msgspec.json.Decoder(_Narrow)

_NUMBER = (
    "INSERT INTO rebuild_counters SELECT channel_id, max(sequence), max(timestamp) FROM message_events"
    " WHERE message_id IS NULL GROUP BY channel_id ON CONFLICT (channel_id) DO UPDATE SET"
    " sequence = CASE WHEN excluded.sequence > rebuild_counters.sequence THEN excluded.sequence"
    " ELSE rebuild_counters.sequence END, happened_at = CASE WHEN excluded.happened_at >"
    " rebuild_counters.happened_at THEN excluded.happened_at ELSE rebuild_counters.happened_at END",
    "UPDATE channels SET last_sequence = n.sequence, last_event_at = n.happened_at"
    " FROM rebuild_counters n WHERE n.channel_id = channels.channel_id",
    "DELETE FROM rebuild_touched WHERE kind = 'channel'",
    "INSERT INTO missing_history SELECT channel_id, last_sequence FROM channels WHERE last_sequence > 1"
    " AND channel_id NOT IN (SELECT channel_id FROM missing_history)",
    "UPDATE messages SET created_at = n.created_at, parent_id = n.parent_id FROM rebuild_created n"
    " WHERE n.message_id = messages.message_id AND messages.deleted_at IS NOT NULL",
    "DELETE FROM rebuild_created",
)


async def load_states(side: Side, eventlog: Log, advance: Advance) -> int:
    """Load what lies before the present ends; return how many records were read. Raises as `load` does."""
    bulk = not side.embedded
    count = 0
    async with (
        _reader(side, eventlog, MESSAGE_TOPICS) as events,
        _reader(side, eventlog, (MESSAGES_STATE,)) as states,
        _reader(side, eventlog, (CHANNELS_CHANGED, USERS_CHANGED)) as others,
    ):
        event_ends = await patiently(events.end_offsets)
        # A transaction that is decided for one topic may be so a moment later for another.
        state_ends: Offsets = await patiently(partial(states.end_offsets, undecided=True))
        other_ends = await patiently(partial(others.end_offsets, undecided=True))
        chunked = events_in_bulk if bulk else events_in_place
        count += await load(side, others, other_ends, advance, chunked)
        if not bulk:
            await fold(side, lambda _folded: None)
        count += await load(side, states, state_ends, advance, partial(states_of, bulk=bulk))
        narrow = partial(numbers_of, bulk=bulk)
        count += await load(side, events, event_ends, advance, narrow, exactly=True)
    return count


async def number(side: Side) -> None:
    """Give each channel its last number, and deleted messages what their states do not tell; once."""
    async with side.database.writing() as connection:
        for statement in _NUMBER:
            await connection.execute(text(statement))
        if not side.embedded:
            await connection.execute(text("ANALYZE"))


def states_of(records: Sequence[Record], *, bulk: bool) -> Chunk:
    """Return the rows of states; a tombstone has none."""
    chunk = Chunk(bulk)
    newest: dict[str, tuple[int, tuple[object, ...]]] = {}
    for record in records:
        if record.value is None:
            continue
        try:
            state = read_state(record)
            row = message_to_row(_record_of(state))
        except (msgspec.DecodeError, Poison, ValueError) as error:
            chunk.note(record, error)
            continue
        known = newest.get(state.message_id)
        if known is None or known[0] <= state.version:
            newest[state.message_id] = (state.version, row)
    chunk.messages = [row for _, row in newest.values()]
    return chunk


def numbers_of(records: Sequence[Record], *, bulk: bool) -> Chunk:
    """Return what events tell beside the states: numbers, keys, and when messages began."""
    chunk = Chunk(bulk)
    for record in records:
        try:
            event = decode_with(_narrow, record.value or b"")
            of, known = event.payload, chunk.counters.get(event.payload.channel_id, (0, 0))
            chunk.counters[of.channel_id] = max(known, (event.sequence, event.timestamp))
            if record.topic == MESSAGES_CREATED.name and of.created_at is not None:
                chunk.created.append((of.message_id, parse_ms(of.created_at), of.parent_id))
            if event.idempotency_key_hash is not None:
                kept = Chunk(bulk=False)
                kept.add(read_stream_event(record), (record.value or b"").decode())
                chunk.events += kept.events
                chunk.keys += kept.keys
        except (msgspec.DecodeError, Poison, ValueError) as error:
            chunk.note(record, error)
    return chunk


def _record_of(state: MessageState) -> MessageRecord:
    """Return the message; of a deleted one its beginning is filled in later."""
    values = {name: getattr(state, name) for name in state.__struct_fields__}
    given = {name: value for name, value in values.items() if value is not msgspec.UNSET}
    if not state.deleted:
        return MessageRecord(msgspec.convert(given, Message))
    deleted_at = given["deleted_at"]
    emptied = msgspec.convert(
        {**given, "content": "", "created_at": format_ms(0), "updated_at": deleted_at}, Message
    )
    return MessageRecord(emptied, deleted_at=parse_ms(deleted_at), deleted_by=given["deleted_by"])


@asynccontextmanager
async def _reader(side: Side, eventlog: Log, topics: Sequence[Topic]) -> AsyncIterator[Reader]:
    reader = await eventlog.reader(topics)
    try:
        there = reader.positions()
        reader.seek({place: at for place, at in (await noted_offsets(side)).items() if place in there})
        yield reader
    finally:
        await reader.close()
