"""The comparisons: each store, read in its own way, against the fold of the log."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from sqlalchemy import func, select

from backbone.database.engine import Database
from backbone.database.tables import (
    announcements,
    channels,
    inbox,
    inbox_counters,
    message_events,
    messages,
    outbox,
)
from backbone.eventlog import EventLog
from backbone.search import SearchIndex
from backbone.wiring import Ports as Stores
from schemas.clock import parse_ms
from schemas.topics import GROUP_INDEXER, GROUP_NOTIFIER, MESSAGE_TOPICS, NOTIFICATIONS_SENT
from tests.support.eventlog import read_all
from tests.support.waiting import until
from tests.system.fold import (
    ExpectedNotification,
    Fold,
    Json,
    expected_documents,
    expected_notifications,
    expected_states,
    fold_of_log,
    fold_of_states,
)

SETTLED_WITHIN_S = 60


async def check_database(database: Database, fold: Fold) -> None:
    """Events, messages, channels: row for row what the log says, and nothing left to tell."""
    async with database.reading() as connection:
        events = (await connection.execute(select(message_events))).mappings().all()
        rows = (await connection.execute(select(messages))).mappings().all()
        channel_rows = (await connection.execute(select(channels))).mappings().all()
    assert await untold(database) == 0
    assert {(row["channel_id"], row["sequence"]): row["body"].encode() for row in events} == fold.bodies
    assert {row["message_id"]: _message_of(row) for row in rows} == {
        id_: _row_of(folded.message, folded.deleted) for id_, folded in fold.messages.items()
    }
    assert {row["channel_id"]: row["last_sequence"] for row in channel_rows} == {
        channel_id: len(stream) for channel_id, stream in fold.channels.items()
    }


def _message_of(row: Mapping[Any, Any]) -> Json:
    kept = {name: row[name] for name in ("channel_id", "author_id", "sequence", "version", "created_at")}
    if row["deleted_at"] is not None:
        assert row["content"] == "", "a deleted message keeps no text"
        return {**kept, "deleted_at": row["deleted_at"], "deleted_by": row["deleted_by"]}
    assert row["deleted_by"] is None
    return {
        **kept,
        "content": row["content"],
        "parent_id": row["parent_id"],
        "updated_at": row["updated_at"],
        "mentions": json.loads(row["mentions"]),
        "attachments": json.loads(row["attachments"]),
    }


def _row_of(message: Json, deleted: Json | None) -> Json:
    kept = {name: message[name] for name in ("channel_id", "author_id", "sequence")}
    kept |= {"created_at": parse_ms(message["created_at"])}
    if deleted is not None:
        at = parse_ms(deleted["deleted_at"])
        return {**kept, "version": deleted["version"], "deleted_at": at, "deleted_by": deleted["deleted_by"]}
    return {
        **kept,
        "version": message["version"],
        "updated_at": parse_ms(message["updated_at"]),
        **{name: message[name] for name in ("content", "parent_id", "mentions", "attachments")},
    }


async def check_states(eventlog: EventLog, fold: Fold) -> None:
    """The state topic folds to the same messages as the events."""
    assert await fold_of_states(eventlog) == expected_states(fold)


async def documents_of(search: SearchIndex, index: str | None = None) -> dict[str, Json]:
    """Return every document of the index, as JSON."""
    await search.refresh(index)
    return {
        indexed.message_id: {
            name: list(value) if isinstance(value, tuple) else value
            for name in indexed.document.__struct_fields__
            for value in [getattr(indexed.document, name)]
        }
        async for indexed in search.scan(index)
    }


async def check_index(search: SearchIndex, fold: Fold, index: str | None = None) -> None:
    """Every document of the index is as the log says; of deleted messages no text is left."""
    found = await documents_of(search, index)
    expected = expected_documents(fold)
    assert found.keys() == expected.keys()
    for message_id, document in expected.items():
        assert {name: found[message_id][name] for name in document} == document


async def check_reads(client: httpx.AsyncClient, fold: Fold) -> None:
    """`GET /messages/{id}` gives each message as the log says, 410 where it was deleted."""
    limit = asyncio.Semaphore(10)

    async def check(message_id: str) -> None:
        async with limit:
            answer = await client.get(f"/messages/{message_id}")
        if message_id in fold.deleted:
            assert answer.status_code == 410, answer.text
            return
        assert answer.status_code == 200, answer.text
        assert answer.json() == fold.messages[message_id].message
        assert answer.headers["ETag"] == f'"{fold.messages[message_id].version}"'

    await asyncio.gather(*map(check, fold.messages))


async def check_searches(client: httpx.AsyncClient, fold: Fold) -> None:
    """A search by words and by channel finds each live message that has them, and no deleted one."""
    for word, needle in (("배포를", "배포를"), ("deployment", "deployment"), ("색인", "색인")):
        expected = {id_ for id_, message in fold.live.items() if needle in message["content"]}
        assert await _found(client, {"q": word}) == expected, word
    for channel_id in fold.channels:
        expected = {id_ for id_, message in fold.live.items() if message["channel_id"] == channel_id}
        assert await _found(client, {"channel": channel_id, "sort": "oldest"}) == expected, channel_id


async def _found(client: httpx.AsyncClient, parameters: Mapping[str, str]) -> set[str]:
    found: set[str] = set()
    page: Mapping[str, str] = {**parameters, "limit": "50"}
    while True:
        answer = await client.get("/messages/search", params=page)
        assert answer.status_code == 200, answer.text
        found |= {hit["_id"] for hit in answer.json()}
        if "next" not in answer.links:
            return found
        page = dict(httpx.URL(answer.links["next"]["url"]).params)


async def check_inboxes(database: Database, fold: Fold) -> dict[str, list[Json]]:
    """Every mention is in its user's inbox exactly once; return the inboxes, by user, in their order."""
    async with database.reading() as connection:
        rows = (await connection.execute(select(inbox).order_by(inbox.c.user_id, inbox.c.seq))).mappings()
        inboxes: dict[str, list[Json]] = defaultdict(list)
        for row in rows:
            inboxes[row["user_id"]].append(dict(row))
        counters = {
            row["user_id"]: row["last_seq"]
            for row in (await connection.execute(select(inbox_counters))).mappings()
        }
    for user_id, entries in inboxes.items():
        assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1)), f"{user_id}: a gap"
        assert counters[user_id] == len(entries)
    given = [entry for entries in inboxes.values() for entry in entries if entry["kind"] == "notification"]
    _check_notifications(given, expected_notifications(fold))
    _check_retractions([entry for entries in inboxes.values() for entry in entries])
    return dict(inboxes)


def _check_notifications(given: Sequence[Json], expected: Sequence[ExpectedNotification]) -> None:
    keys = sorted((*_key(entry), bool(entry["retracted"])) for entry in given)
    assert keys == sorted((each.user_id, each.message_id, each.reason, each.retracted) for each in expected)
    by_key = {(each.user_id, each.message_id, each.reason): each for each in expected}
    for entry in given:
        wanted = by_key[_key(entry)]
        assert entry["channel_id"] == wanted.channel_id
        if wanted.retracted:
            assert (entry["title"], entry["body"]) == (None, None)
        else:
            assert entry["title"] == {"mention": "새 멘션", "reply": "새 답글"}[entry["reason"]]
            assert entry["body"] in wanted.bodies


def _key(entry: Json) -> tuple[str, str, str]:
    return entry["user_id"], entry["message_id"], entry["reason"]


def _check_retractions(entries: Sequence[Json]) -> None:
    """What was taken back after it was sent was so once, and later than it was sent."""
    sent = {entry["notification_id"]: entry for entry in entries if entry["kind"] == "notification"}
    retractions = [entry for entry in entries if entry["kind"] == "retracted"]
    assert len({entry["notification_id"] for entry in retractions}) == len(retractions)
    for entry in retractions:
        notification = sent[entry["notification_id"]]
        assert notification["retracted"]
        assert notification["user_id"] == entry["user_id"]
        assert notification["seq"] < entry["seq"]


async def check_notifications_told(eventlog: EventLog, inboxes: Mapping[str, Sequence[Json]]) -> None:
    """The topic of notifications tells each user's inbox in the order of its numbers."""
    told: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for record in await read_all(eventlog, NOTIFICATIONS_SENT):
        assert record.value is not None
        assert record.key is not None
        event = json.loads(record.value)
        kind = {"notification.sent": "notification", "notification.retracted": "retracted"}[
            event["event_type"]
        ]
        assert record.key == event["payload"]["user_id"]
        entry = (event["seq"], kind, event["payload"]["notification_id"])
        if entry not in told[record.key]:
            told[record.key].append(entry)
    assert told == {
        user_id: [(entry["seq"], entry["kind"], entry["notification_id"]) for entry in entries]
        for user_id, entries in inboxes.items()
    }


def check_frames(frames: Sequence[Json], entries: Sequence[Json]) -> None:
    """A socket that was open all the while got each entry of the inbox once, in order, and nothing else."""
    hello, *rest = frames
    assert hello["type"] == "hello"
    assert hello["latest_seq"] == 0
    assert [(frame["seq"], frame["type"], _notification_id(frame)) for frame in rest] == [
        (entry["seq"], entry["kind"], entry["notification_id"]) for entry in entries
    ]


def _notification_id(frame: Json) -> Any:
    inner = frame.get("notification", frame)
    return inner["notification_id"]


async def untold(database: Database) -> int:
    """Return how many rows wait to be told to the log, or to the members of a channel."""
    async with database.reading() as connection:
        return sum(
            [
                await connection.scalar(select(func.count()).select_from(each))
                for each in (announcements, outbox)
            ]
        )


async def settled(stores: Stores) -> Fold:
    """Wait until the outbox is told and both groups have read the log to its end; return its fold."""

    async def told() -> bool:
        return not await untold(stores.database)

    async def consumed() -> bool:
        for group, topics in ((GROUP_INDEXER, MESSAGE_TOPICS), (GROUP_NOTIFIER, MESSAGE_TOPICS)):
            committed = await stores.eventlog.committed(group, topics)
            states = await stores.eventlog.topics()
            if any(
                committed[partition] < states[partition.topic].end[partition.partition]
                for partition in committed
            ):
                return False
        return True

    for condition in (told, consumed, told):
        await until(condition, SETTLED_WITHIN_S)
    return await fold_of_log(stores.eventlog)
