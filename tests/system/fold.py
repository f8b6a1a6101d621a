"""The fold of the log, made with nothing of ours but the reading: what every store must come to.

Events are taken as JSON, so that a fault of the structs, of a projection or of a store cannot hide
behind the same fault here.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from backbone.eventlog import EventLog, Record
from schemas.topics import MESSAGES_STATE, STREAM_TOPICS, partition_of
from tests.support.eventlog import read_all

Json = dict[str, Any]
EVERYONE = "@channel"

_TOPIC_OF = {
    "message.created": "messages.created",
    "message.updated": "messages.updated",
    "message.deleted": "messages.deleted",
}


@dataclass
class Folded:
    """One message after its last event; `events` are all of its events, oldest first."""

    message: Json
    deleted: Json | None = None
    events: list[Json] = field(default_factory=list)

    @property
    def version(self) -> int:
        return int((self.deleted or self.message)["version"])


@dataclass
class Fold:
    """What the log says: each channel's events in order, and each message after its last one."""

    channels: dict[str, list[Json]]
    messages: dict[str, Folded]
    bodies: dict[tuple[str, int], bytes]
    """The bytes of each event, by channel and sequence."""

    @property
    def live(self) -> dict[str, Json]:
        return {id_: folded.message for id_, folded in self.messages.items() if folded.deleted is None}

    @property
    def deleted(self) -> dict[str, Json]:
        return {id_: folded.deleted for id_, folded in self.messages.items() if folded.deleted is not None}

    def owners(self, channel_id: str) -> set[str]:
        """Return the members of a channel that was made by its first post: its maker."""
        return {self.channels[channel_id][0]["payload"]["created_by"]}

    def private(self, channel_id: str) -> bool:
        """Say whether a channel was made a private one."""
        return bool(self.channels[channel_id][0]["payload"]["private"])


async def fold_of_log(eventlog: EventLog) -> Fold:
    """Read the four topics of the channels' streams, merge them by sequence and fold them."""
    records = await read_all(eventlog, *STREAM_TOPICS)
    return fold_of_records(records, await partitions_of(eventlog))


async def partitions_of(eventlog: EventLog) -> dict[str, int]:
    """Return how many partitions each topic has."""
    return {name: state.partitions for name, state in (await eventlog.topics()).items()}


def fold_of_records(records: Iterable[Record], partitions: Mapping[str, int]) -> Fold:
    """Merge the records of the four topics by sequence and fold them."""
    streams: dict[str, dict[int, Json]] = defaultdict(dict)
    bodies: dict[tuple[str, int], bytes] = {}
    for record in records:
        assert record.value is not None
        event = json.loads(record.value)
        channel_id = event["payload"]["channel_id"]
        _check_place(record, event, channel_id, partitions[record.topic])
        known = bodies.setdefault((channel_id, event["sequence"]), record.value)
        assert known == record.value, "an event that is told again is told in the same words"
        streams[channel_id][event["sequence"]] = event
    channels = {channel_id: _in_order(channel_id, stream) for channel_id, stream in streams.items()}
    return Fold(channels, _messages(channels.values()), bodies)


def _check_place(record: Record, event: Json, channel_id: str, partitions: int) -> None:
    """Topic, key, partition and headers are as the contract says."""
    kind = event["event_type"]
    assert record.topic == _TOPIC_OF.get(kind, "channels.changed")
    assert record.key == channel_id
    assert record.partition == partition_of(channel_id, partitions)
    headers = dict(record.headers)
    assert headers["event_type"] == kind.encode()
    assert headers["schema_version"] == str(event["schema_version"]).encode()
    assert headers["content-type"] == b"application/json"


def _in_order(channel_id: str, stream: Mapping[int, Json]) -> list[Json]:
    assert sorted(stream) == list(range(1, len(stream) + 1)), f"{channel_id}: a gap in its sequences"
    events = [stream[sequence] for sequence in sorted(stream)]
    assert events[0]["event_type"] == "channel.created"
    times = [event["timestamp"] for event in events]
    assert times == sorted(times), f"{channel_id}: a time before the one of the event before"
    return events


def _messages(streams: Iterable[list[Json]]) -> dict[str, Folded]:
    messages: dict[str, Folded] = {}
    for event in (event for stream in streams for event in stream):
        payload = event["payload"]
        match event["event_type"]:
            case "message.created":
                assert payload["sequence"] == payload["version"] == event["sequence"]
                assert payload["message_id"] not in messages
                messages[payload["message_id"]] = Folded(payload, events=[event])
            case "message.updated":
                folded = messages[payload["message_id"]]
                _check_next(folded, event)
                folded.message = payload
                folded.events.append(event)
            case "message.deleted":
                folded = messages[payload["message_id"]]
                _check_next(folded, event)
                folded.deleted = payload
                folded.events.append(event)
    return messages


def _check_next(folded: Folded, event: Json) -> None:
    """What an edit or a deletion may change, and what it may not."""
    before, payload = folded.message, event["payload"]
    assert folded.deleted is None, "nothing happens to a deleted message"
    assert payload["version"] == event["sequence"]
    for name in ("channel_id", "author_id", "sequence"):
        assert payload[name] == before[name]
    assert event["timestamp"] > folded.events[-1]["timestamp"], "at least 1 ms later"


async def fold_of_states(eventlog: EventLog) -> dict[str, Json]:
    """Read the state topic and return each message's newest state."""
    states: dict[str, Json] = {}
    for record in await read_all(eventlog, MESSAGES_STATE):
        assert record.value is not None
        state = json.loads(record.value)
        assert record.key == state["message_id"]
        known = states.get(state["message_id"])
        if known is None or state["version"] > known["version"]:
            states[state["message_id"]] = state
    return states


def expected_states(fold: Fold) -> dict[str, Json]:
    """Return what the state topic must come to."""
    return {
        **{
            id_: {**message, "private": fold.private(message["channel_id"]), "deleted": False}
            for id_, message in fold.live.items()
        },
        **{
            id_: {**gone, "private": fold.private(gone["channel_id"]), "deleted": True}
            for id_, gone in fold.deleted.items()
        },
    }


def expected_documents(fold: Fold) -> dict[str, Json]:
    """Return what the search index must hold, of deleted messages only what identifies them."""
    documents: dict[str, Json] = {}
    for id_, message in fold.live.items():
        documents[id_] = {
            "content": message["content"],
            "author": message["author_id"],
            "channel": message["channel_id"],
            "created_at": message["created_at"],
            "updated_at": message["updated_at"],
            "mentions": message["mentions"],
            "has_attachment": bool(message["attachments"]),
            "parent_id": message["parent_id"],
            "private": fold.private(message["channel_id"]),
            "sequence": message["sequence"],
            "version": message["version"],
            "deleted": False,
        }
    for id_, gone in fold.deleted.items():
        documents[id_] = {
            "content": "",
            "author": gone["author_id"],
            "channel": gone["channel_id"],
            "sequence": gone["sequence"],
            "version": gone["version"],
            "deleted": True,
        }
    return documents


@dataclass(frozen=True)
class ExpectedNotification:
    """One notification that must have arrived once; `bodies` are the texts it may carry."""

    user_id: str
    message_id: str
    reason: str
    channel_id: str
    retracted: bool
    bodies: frozenset[str]


def expected_notifications(fold: Fold) -> list[ExpectedNotification]:
    """Return whom mentions and replies must have reached.

    Every user whom any version of a message reaches, its author excepted, has one notification of it: by
    name, or, by mentioning everyone, who is in the channel. It is retracted when a later version than the
    first of these mentions neither them nor everyone, or deletes the message. So has, by a reply, whoever
    wrote in its thread before; that is retracted when the reply is deleted.
    """
    expected = _expected_replies(fold)
    for message_id, folded in fold.messages.items():
        channel_id = folded.message["channel_id"]
        owners = fold.owners(channel_id)
        versions = [event["payload"].get("mentions", []) for event in folded.events]
        named = {user for mentions in versions for user in mentions if user != EVERYONE}
        everyone = owners if any(EVERYONE in mentions for mentions in versions) else set()
        for user_id in (named | everyone) - {folded.message["author_id"]}:
            covers = [user_id in mentions or EVERYONE in mentions for mentions in versions]
            reached = [
                user_id in mentions or (EVERYONE in mentions and user_id in owners) for mentions in versions
            ]
            bodies = frozenset(
                event["payload"]["content"]
                for event, told in zip(folded.events, reached, strict=True)
                if told
            )
            retracted = False in covers[reached.index(True) :]
            expected.append(
                ExpectedNotification(user_id, message_id, "mention", channel_id, retracted, bodies)
            )
    return expected


def _expected_replies(fold: Fold) -> list[ExpectedNotification]:
    expected = []
    for message_id, folded in fold.messages.items():
        created = folded.events[0]["payload"]
        if created["parent_id"] is None:
            continue
        thread = {
            other.message["author_id"]
            for other_id, other in fold.messages.items()
            if created["parent_id"] in (other_id, other.message["parent_id"])
            and other.message["sequence"] < created["sequence"]
        }
        gone = folded.deleted is not None
        expected += [
            ExpectedNotification(
                user_id, message_id, "reply", created["channel_id"], gone, frozenset({created["content"]})
            )
            for user_id in thread - {created["author_id"]}
        ]
    return expected
