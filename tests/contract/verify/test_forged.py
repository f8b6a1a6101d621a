"""Differences forged in each store: each message is named, with the stores and fields that are wrong."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from backbone.eventlog import NewRecord
from indexer.projection import document_of_event
from rebuilder.verify import stores, verification
from rebuilder.verify.report import Difference, Report
from schemas.topics import MESSAGES_CREATED, MESSAGES_STATE, MESSAGES_UPDATED, partition_of
from tests.support.messaging import Talk, records_of
from tests.support.verifying import Stage, under_load

SECRET = "wholly-secret-text"


def only(report: Report) -> Difference:
    """Return the only difference; no text of a message may stand in the report."""
    assert (report.outcome, report.exit_code, report.differing_messages) == ("different", 1, 1)
    assert (report.differing_channels, len(report.differences)) == (1, 1)
    assert SECRET not in repr(report)
    return report.differences[0]


@pytest.mark.parametrize(
    ("column", "value", "field"),
    [
        ("content", SECRET, "content"),
        ("mentions", '["somebody"]', "mentions"),
        ("attachments", '[{"name":"other.txt","url":"https://files.example/2"}]', "attachments"),
        ("attachments", "no list at all", "attachments"),
        ("parent_id", "msg_other", "parent_id"),
        ("author_id", "somebody", "author"),
        ("created_at", 12_345, "created_at"),
        ("updated_at", 1 << 60, "updated_at"),
        ("sequence", 77_777, "sequence"),
    ],
)
async def test_a_forged_row(stage: Stage, column: str, value: Any, field: str) -> None:
    row = await stage.message()
    await stage.sql(
        f"UPDATE messages SET {column} = :value WHERE message_id = :id", value=value, id=row.message_id
    )
    difference = only(await stage.verify())
    assert (difference.message_id, difference.channel) == (row.message_id, row.channel_id)
    assert difference.wrong == ("database",)
    assert difference.stores["database"].fields == (field,)
    held = difference.stores["log"]
    assert (held.version, held.fields) == (row.version, ())
    assert (held.record or "").startswith("messages.")


async def test_an_older_row_and_a_missing_and_an_extra_one(stage: Stage) -> None:
    edited, gone = await stage.message(edited=True), await stage.message(deleted=True)
    posted = await stage.message(edited=False)
    await stage.sql(
        "UPDATE messages SET version = sequence, content = 'before' WHERE message_id = :id",
        id=edited.message_id,
    )
    await stage.sql("DELETE FROM messages WHERE message_id = :id", id=gone.message_id)
    await stage.sql(
        "INSERT INTO messages (message_id, channel_id, author_id, content, mentions, attachments, sequence,"
        " version, created_at, updated_at) SELECT 'msg_forged', channel_id, author_id, content, mentions,"
        " attachments, 99999, 99999, created_at, updated_at FROM messages WHERE message_id = :id",
        id=posted.message_id,
    )
    report = await stage.verify()
    found = {each.message_id: each for each in report.differences}
    assert set(found) == {edited.message_id, gone.message_id, "msg_forged"}
    assert all(each.wrong == ("database",) for each in found.values())
    assert found[edited.message_id].stores["database"].version == edited.sequence
    assert set(found[edited.message_id].stores["database"].fields) == {"version", "content"}
    assert found[gone.message_id].stores["database"].missing
    assert found["msg_forged"].stores["log"].missing
    assert found["msg_forged"].stores["index"].missing


async def test_text_that_is_left_in_a_deleted_row(stage: Stage) -> None:
    gone = await stage.message(deleted=True)
    await stage.sql(
        "UPDATE messages SET content = :text WHERE message_id = :id", text=SECRET, id=gone.message_id
    )
    difference = only(await stage.verify())
    assert difference.stores["database"].fields == ("content",)
    assert difference.stores["log"].deleted


async def test_text_that_is_left_in_a_deleted_document(stage: Stage) -> None:
    gone = await stage.message(deleted=True)
    await changed(stage, gone.message_id)
    difference = only(await stage.verify())
    assert (difference.wrong, difference.stores["index"].fields) == (("index",), ("content",))


async def test_a_private_channel_that_the_database_calls_public(stage: Stage) -> None:
    await stage.sql("UPDATE channels SET private = :no WHERE channel_id = '비밀'", no=False)
    report = await stage.verify()
    assert report.differing_channels == 1
    for each in report.differences:
        assert (each.channel, each.wrong) == ("비밀", ("database",))
        assert each.stores["database"].fields == ("private",)


Forge = Callable[[Stage, str], Awaitable[None]]


async def lost(stage: Stage, message_id: str) -> None:
    await stage.forge_document(message_id, None)


async def changed(stage: Stage, message_id: str) -> None:
    document = await stage.document(message_id)
    await stage.forge_document(message_id, msgspec.structs.replace(document, content=SECRET))


async def attached(stage: Stage, message_id: str) -> None:
    document = await stage.document(message_id)
    other = msgspec.structs.replace(document, has_attachment=not document.has_attachment)
    await stage.forge_document(message_id, other)


async def ahead(stage: Stage, message_id: str) -> None:
    document = await stage.document(message_id)
    await stage.forge_document(message_id, msgspec.structs.replace(document, version=99_999))


async def guarded_as_newer(stage: Stage, message_id: str) -> None:
    await stage.forge_guard(message_id, 99_999)


async def moved(stage: Stage, message_id: str) -> None:
    document = await stage.document(message_id)
    await stage.forge_document(message_id, msgspec.structs.replace(document, channel="elsewhere"))


@pytest.mark.parametrize(
    ("forge", "fields"),
    [
        (lost, None),
        (changed, ("content",)),
        (attached, ("has_attachment",)),
        (ahead, ("version",)),
        (guarded_as_newer, ("version",)),
        (moved, ("channel",)),
    ],
)
async def test_a_forged_document(stage: Stage, forge: Forge, fields: tuple[str, ...] | None) -> None:
    row = await stage.message()
    await forge(stage, row.message_id)
    difference = only(await stage.verify())
    assert (difference.message_id, difference.wrong) == (row.message_id, ("index",))
    held = difference.stores["index"]
    assert held.missing if fields is None else held.fields == fields


async def test_a_document_of_which_nobody_knows(stage: Stage) -> None:
    message_id, document = document_of_event(Talk("ops").post("nobody told the log"))
    await stage.forge_document(message_id, document)
    difference = only(await stage.verify())
    assert (difference.message_id, difference.wrong) == (message_id, ("index",))
    assert all(difference.stores[name].missing for name in ("database", "log", "state", "archive"))


async def test_a_forged_state(stage: Stage) -> None:
    """Given a state that no event made, and a tombstone of a message that was not deleted."""
    row, other = await stage.message(edited=False), await stage.message(edited=True)
    state = {"message_id": row.message_id, "channel_id": row.channel_id, "author_id": row.author_id,
             "content": SECRET, "mentions": [], "attachments": [],
             "sequence": row.sequence, "version": 99_999,
             "created_at": "2026-01-31T09:00:00.000Z", "updated_at": "2026-01-31T09:00:00.000Z"}  # fmt: skip
    forged = NewRecord(MESSAGES_STATE.name, row.message_id, row.channel_id, msgspec.json.encode(state))
    tombstone = NewRecord(MESSAGES_STATE.name, other.message_id, other.channel_id, None)
    await stage.platform.append(forged, tombstone)
    report = await stage.verify()
    found = {each.message_id: each for each in report.differences}
    assert set(found) == {row.message_id, other.message_id}
    assert all(each.wrong == ("state",) for each in found.values())
    assert found[row.message_id].stores["state"].version == 99_999
    assert found[other.message_id].stores["state"].missing


async def test_a_forged_event(stage: Stage) -> None:
    """Given an event in the log that nobody stored: every other store is not as the log has it."""
    talk = Talk("ops")
    talk.sequence = 99_000
    event = talk.post("nobody wrote this")
    await stage.platform.tell([event])
    report = await stage.verify(timeout_s=1.0)
    difference = only(report)
    assert (difference.message_id, difference.wrong) == (event.payload.message_id, ("database",))
    assert difference.stores["database"].missing
    assert not difference.stores["log"].missing
    assert (report.unapplied_messages, report.differing_channels) == (1, 1)


async def test_records_that_cannot_be_read(stage: Stage) -> None:
    """Given garbage in a topic of events and in that of states, each is named by its offset."""
    garbage = NewRecord(MESSAGES_UPDATED.name, "ops", "ops", b"\xff not an event")
    other = NewRecord(MESSAGES_STATE.name, "msg_1", "ops", b'{"message_id": 1}')
    wrong_place = NewRecord(MESSAGES_CREATED.name, "ops", "ops", b'{"event_type":"message.deleted"}')
    await stage.platform.append(garbage, other, wrong_place)
    await stage.archive()
    report = await stage.verify(timeout_s=1.0)
    assert (report.outcome, report.exit_code, report.differing_messages) == ("different", 1, 0)
    assert {each.topic for each in report.problems} == {
        "messages.updated", "messages.state", "messages.created"
    }  # fmt: skip
    assert report.problem_count == 3
    told = await stage.backend.told(MESSAGES_UPDATED)
    (place,) = [each for each in told if each.value == b"\xff not an event"]
    assert (place.partition, place.offset) in {(each.partition, each.offset) for each in report.problems}


async def test_two_events_of_one_version(stage: Stage) -> None:
    """Given an event that tells a version otherwise than an earlier one, its record is named."""
    talk = Talk("two-faced")
    event = talk.post("one")
    other = msgspec.structs.replace(event, payload=msgspec.structs.replace(event.payload, content=SECRET))
    await stage.platform.tell([event])
    await stage.platform.tell([other])
    report = await stage.verify(timeout_s=1.0)
    assert report.problem_count == 1
    assert "reads otherwise" in report.problems[0].reason


async def test_differences_are_found_under_load(stage: Stage) -> None:
    """Given one forged row and one lost document, and writes without a pause: these two, and no other."""
    row, document = await stage.message(edited=True), await stage.message(deleted=True)
    await stage.sql("UPDATE messages SET author_id = 'forged' WHERE message_id = :id", id=row.message_id)
    await lost(stage, document.message_id)
    async with under_load(stage):
        report = await stage.verify()
    found = {each.message_id: each.wrong for each in report.differences}
    # Whoever edits it next tells the forged author to everybody: it is then the others' truth.
    assert found.pop(document.message_id) == ("index",)
    assert set(found) <= {row.message_id}


async def test_many_differences_are_named_in_part(stage: Stage) -> None:
    await stage.sql("UPDATE messages SET author_id = 'forged'")
    report = await stage.verify()
    assert len(report.differences) == 20
    assert report.differing_messages == len(stage.users.posted) > 20
    lines = list(report.lines())
    assert f"messages that differ: {report.differing_messages}" in lines
    assert f"  and {report.differing_messages - 20} more" in lines


async def test_small_pages_and_parts_find_the_same(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given pages of three rows, and one channel looked at at a time, in either way of asking for rows."""
    await stage.sql("UPDATE messages SET author_id = 'forged' WHERE deleted_at IS NULL")
    lost_one = await stage.message(deleted=True)
    await lost(stage, lost_one.message_id)
    whole = await stage.verify()
    assert whole.differing_channels == 3
    monkeypatch.setattr(stores, "PAGE", 3)
    monkeypatch.setattr(verification, "LOOKED_AT_ONCE", 1)
    by_channel = await stage.verify()
    monkeypatch.setattr(stores, "ASKED_BY_CHANNEL_MAX", 0)
    by_pages = await stage.verify()
    for report in (by_channel, by_pages):
        assert report.differing_messages == whole.differing_messages
        assert report.stores == whole.stores
        assert report.digests == whole.digests


async def test_an_event_in_a_partition_that_is_not_its_own(stage: Stage) -> None:
    """Given an event of a channel among those of others, its message is found all the same."""
    talk = Talk("ops")
    talk.sequence = 50_000
    event = talk.post("in the wrong place")
    other = next(
        name for name in map(str, range(100)) if partition_of(name, 3) != partition_of(talk.channel_id, 3)
    )
    await stage.platform.append(*(replace(each, ordering_key=other) for each in records_of(event)))
    await stage.platform.index_everything()
    await stage.archive()
    difference = only(await stage.verify())
    assert (difference.message_id, difference.wrong) == (event.payload.message_id, ("database",))


@pytest.mark.parametrize("seed", range(3))
async def test_forgeries_by_chance(stage: Stage, seed: int) -> None:
    """Given some messages forged in one store each, exactly these are named, each with its store."""
    chance = random.Random(seed)
    async with stage.backend.ports.database.looking() as connection:
        rows = (await connection.execute(text("SELECT message_id, version FROM messages"))).all()
    forged: dict[str, tuple[str, ...]] = {}
    for row in chance.sample(sorted(rows), 8):
        store, forge = chance.choice((("index", lost), ("index", changed), ("database", forge_author)))
        await forge(stage, row.message_id)
        forged[row.message_id] = (store,)
    report = await stage.verify()
    assert {each.message_id: each.wrong for each in report.differences} == forged
    assert report.differing_messages == len(forged)


async def forge_author(stage: Stage, message_id: str) -> None:
    await stage.sql("UPDATE messages SET author_id = 'forged' WHERE message_id = :id", id=message_id)
