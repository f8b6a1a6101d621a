"""What the write side stored, checked table by table against a fold of its events made here, from JSON."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Table, select

from backbone.database.engine import Database
from backbone.database.tables import (
    channel_members,
    channels,
    idempotency_keys,
    message_events,
    messages,
    outbox,
)
from schemas.clock import parse_ms
from schemas.topics import TOPIC_OF_EVENT

Json = dict[str, Any]


@dataclass
class Stored:
    """What the events say, by channel in their order, and what they come to."""

    events: dict[str, list[Json]] = field(default_factory=dict)
    messages: dict[str, Json] = field(default_factory=dict)
    members: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    @property
    def contents(self) -> list[str]:
        """The texts of all posts, sorted: one that was stored twice stands there twice."""
        created = [
            e for stream in self.events.values() for e in stream if e["event_type"] == "message.created"
        ]
        return sorted(event["payload"]["content"] for event in created)


async def check_stored(database: Database, scope: str = "", *, relayed: bool = False) -> Stored:
    """Check every table against the events of the channels whose ids begin with `scope`.

    `relayed`: the outbox may have been told in part, from its beginning on.
    """
    rows = {table: await _rows(database, table, scope) for table in _SCOPED}
    stored = Stored()
    streams: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows[message_events]:
        streams[row["channel_id"]].append(row)
    for channel_id, stream in streams.items():
        stored.events[channel_id] = _check_stream(channel_id, stream)
        for event in stored.events[channel_id]:
            _take_in(stored, event)
    assert {row["channel_id"]: dict(row) for row in rows[channels]} == {
        channel_id: _channel_row(stream) for channel_id, stream in stored.events.items()
    }
    assert {
        (row["channel_id"], row["user_id"]): (row["role"], row["version"]) for row in rows[channel_members]
    } == stored.members
    assert {row["message_id"]: _read_message(row) for row in rows[messages]} == stored.messages
    _check_outbox(rows[outbox], streams, relayed=relayed)
    assert {
        (row["author_id"], row["key_hash"]): (row["request_hash"], row["message_id"])
        for row in await _rows(database, idempotency_keys, "")
        if row["message_id"] in stored.messages
    } == stored.keys
    return stored


_SCOPED: Mapping[Table, str] = {
    channels: "channel_id",
    channel_members: "channel_id",
    messages: "channel_id",
    message_events: "channel_id",
    outbox: "ordering_key",
}


async def _rows(database: Database, table: Table, scope: str) -> Sequence[Mapping[str, Any]]:
    query = select(table).order_by(*table.primary_key.columns)
    async with database.reading() as connection:
        found = (await connection.execute(query)).mappings().all()
    column = _SCOPED.get(table)
    return [dict(row) for row in found if column is None or row[column].startswith(scope)]


def _check_stream(channel_id: str, rows: Sequence[Mapping[str, Any]]) -> list[Json]:
    """Sequences are 1, 2, 3 …, times do not go back, and columns say what the body says."""
    events: list[Json] = [json.loads(row["body"]) for row in rows]
    assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1)), f"{channel_id}: a gap"
    times = [row["timestamp"] for row in rows]
    assert times == sorted(times), f"{channel_id}: a time before the one of the event before"
    for row, event in zip(rows, events, strict=True):
        assert (row["event_id"], row["event_type"]) == (event["event_id"], event["event_type"])
        assert (row["sequence"], row["timestamp"]) == (event["sequence"], event["timestamp"])
        assert row["message_id"] == event["payload"].get("message_id")
        assert event["payload"]["channel_id"] == channel_id
    assert events[0]["event_type"] == "channel.created"
    assert all(event["event_type"] != "channel.created" for event in events[1:])
    return events


def _take_in(stored: Stored, event: Json) -> None:
    payload, sequence = event["payload"], event["sequence"]
    match event["event_type"]:
        case "channel.created":
            stored.members[payload["channel_id"], payload["created_by"]] = ("owner", sequence)
        case "channel.member_added" | "channel.role_changed":
            stored.members[payload["channel_id"], payload["user_id"]] = (payload["role"], sequence)
        case "channel.member_removed":
            del stored.members[payload["channel_id"], payload["user_id"]]
        case "message.created":
            assert payload["message_id"] not in stored.messages
            assert payload["sequence"] == payload["version"] == sequence
            stored.messages[payload["message_id"]] = {**payload, "deleted_at": None, "deleted_by": None}
            if "idempotency_key_hash" in event:
                key = (payload["author_id"], event["idempotency_key_hash"])
                assert key not in stored.keys, "one message a key"
                stored.keys[key] = (event["request_hash"], payload["message_id"])
        case "message.updated" | "message.deleted":
            _change_message(stored.messages[payload["message_id"]], event)
        case other:
            raise AssertionError(other)


def _change_message(message: Json, event: Json) -> None:
    payload = event["payload"]
    assert message["deleted_at"] is None, "nothing happens to a deleted message"
    assert payload["version"] == event["sequence"]
    assert event["timestamp"] > parse_ms(message["updated_at"]), "at least 1 ms later"
    if event["event_type"] == "message.deleted":
        emptied = {"content": "", "mentions": [], "attachments": [], "updated_at": payload["deleted_at"]}
        payload = {**payload, **emptied}
    for name in ("channel_id", "author_id", "sequence"):
        assert payload[name] == message[name]
    message.update(payload)


def _channel_row(stream: Sequence[Json]) -> Json:
    made, last = stream[0]["payload"], stream[-1]
    return {
        "channel_id": made["channel_id"],
        "name": made["name"],
        "private": made["private"],
        "created_by": made["created_by"],
        "created_at": parse_ms(made["created_at"]),
        "last_sequence": last["sequence"],
        "last_event_at": last["timestamp"],
    }


def _read_message(row: Mapping[str, Any]) -> Json:
    message = dict(row)
    # No event says when the state's tombstone was due; these messages are no older than their test.
    assert message.pop("tombstoned_at") is None
    for name in ("mentions", "attachments"):
        message[name] = json.loads(message[name])
    for name in ("created_at", "updated_at", "deleted_at"):
        message[name] = None if message[name] is None else _Moment(message[name])
    return message


class _Moment(int):
    """A moment of a row; equal to the same moment as events write it."""

    def __eq__(self, other: object) -> bool:
        return int(self) == (parse_ms(other) if isinstance(other, str) else other)

    __hash__ = int.__hash__


def _check_outbox(
    rows: Sequence[Mapping[str, Any]], streams: Mapping[str, Sequence[Mapping[str, Any]]], *, relayed: bool
) -> None:
    """Each event waits once to be told, in its channel's order, under its topic, in the words stored."""
    waiting: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        waiting[row["ordering_key"]].append(row["body"])
        assert row["topic"] == TOPIC_OF_EVENT[row["event_type"]].name
        assert row["event_type"] == json.loads(row["body"])["event_type"]
    for channel_id, stream in streams.items():
        bodies = [row["body"] for row in stream]
        expected = bodies[len(bodies) - len(waiting[channel_id]) :] if relayed else bodies
        assert waiting[channel_id] == expected, f"{channel_id}: the outbox is not the stream"
