"""What a store holds is judged by what it could hold: what is late, trimmed, purged or damaged is no lie."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from backbone.eventlog import Record, TopicPartition
from rebuilder.verify.canonical import (
    FACTS,
    Facts,
    differing,
    facts_of_event,
    facts_of_state,
    hash_of,
    marks_of,
)
from rebuilder.verify.folding import Details, EventFold, Place, Row, StateFold
from rebuilder.verify.judging import Holdings, judge
from rebuilder.verify.reading import Coverage, Unreadable
from schemas.events import MessagesEvent, encode
from schemas.states import state_after
from schemas.topics import partition_of
from tests.support.messaging import Talk, records_of

CHANNEL = "ops"
PARTITION = partition_of(CHANNEL, 3)
CREATED, UPDATED, DELETED = "messages.created", "messages.updated", "messages.deleted"


def row(version: int, topic: str = CREATED, offset: int = 0, hashed: int = 0, **more: Any) -> Row:
    """Return a version of the message, at an offset of the log."""
    details = Details(b"", b"", Place(topic, PARTITION, offset))
    content = hashed or version
    values: dict[str, Any] = {"deleted_at": None, "indexed": content, "details": details, **more}
    return Row(version, content, CHANNEL, topic, **values)


NOTHING = Holdings(
    early={},
    late={},
    untold={},
    past={},
    database={},
    state={},
    index={},
    archive={},
    tombstones=(),
    applied={TopicPartition(topic, PARTITION): 100 for topic in (CREATED, UPDATED, DELETED)},
    earliest={},
    coverage=None,
    history_lost={},
    purged_before="2026",
    partitions=3,
    fold=EventFold(),
)


def held(**stores: Row | None) -> dict[str, Any]:
    return {name: {} if each is None else {"m": each} for name, each in stores.items()}


def wrong(holdings: Holdings) -> set[str]:
    return set(judge(holdings, None, {}).wrong.get("m", ()))


def everywhere(each: Row, **but: Row | None) -> Holdings:
    """Return holdings in which all but some stores hold the same."""
    same = dict.fromkeys(("early", "late", "database", "state", "index", "archive"), each)
    return replace(
        NOTHING, coverage={TopicPartition(each.topic, PARTITION): Coverage(100)}, **held(**{**same, **but})
    )


@pytest.mark.parametrize("store", ["database", "state", "index", "archive"])
def test_each_store_is_judged_alone(store: str) -> None:
    """Missing, older, otherwise and newer: all are wrong, in that store alone."""
    assert wrong(everywhere(row(5))) == set()
    for other in (None, row(4), row(5, hashed=77), row(6)):
        assert wrong(everywhere(row(5), **{store: other})) == {store}


def test_what_came_meanwhile_is_right_in_either_version() -> None:
    """Given an edit between the two readings of the log, stores may hold the version before or after it."""
    before, after = row(5), row(6, UPDATED, 3)
    for database in (before, after):
        for index in (before, after):
            stores = held(early=before, late=after, database=database, index=index, state=after)
            assert wrong(replace(NOTHING, **stores)) == set()


def test_the_outbox_is_on_its_way_to_the_log() -> None:
    database = row(6, UPDATED)
    stores = everywhere(row(5), database=database)
    assert wrong(stores) == {"database"}
    assert wrong(replace(stores, untold={"m": database})) == set()
    assert wrong(replace(stores, untold={"m": row(6, UPDATED, hashed=77)})) == {"database"}


def test_what_the_indexer_has_not_applied_is_due() -> None:
    """Until it holds that version, or a newer one; what it does hold must be right all the same."""
    late = row(6, UPDATED, offset=100)
    behind = everywhere(late, index=row(5))
    assert wrong(behind) == set()
    assert judge(behind, None, {}).unapplied == {"m": 6}
    assert judge(behind, {"m"}, {"m": 5}).unapplied == {}
    assert wrong(everywhere(late, index=row(6, hashed=77))) == {"index"}
    assert wrong(replace(behind, applied={TopicPartition(UPDATED, PARTITION): 101})) == {"index"}


def test_what_was_deleted_long_ago_may_be_gone() -> None:
    """From index and states, not from the database; nor may it be there undeleted."""
    gone = row(6, DELETED, deleted_at="2025")
    assert wrong(everywhere(gone, index=None, state=None)) == set()
    assert wrong(everywhere(gone, index=row(5))) == {"index"}
    assert wrong(everywhere(gone, database=None)) == {"database"}
    from_states = replace(everywhere(gone, database=None), history_lost={CHANNEL: 6})
    assert wrong(from_states) == set()
    assert wrong(replace(from_states, history_lost={CHANNEL: 5})) == {"database"}
    recent = row(6, DELETED, deleted_at="2027")
    assert wrong(everywhere(recent, index=None, state=None)) == {"index", "state"}
    assert wrong(replace(everywhere(recent, state=None), tombstones={"m"})) == set()


def test_what_may_have_been_trimmed_is_excused_as_far_as_states_agree() -> None:
    """Only below the first version of the channel and topic that the log still has."""
    place = TopicPartition(CREATED, PARTITION)
    fold = EventFold(whole_from={place: 10}, first={(CHANNEL, CREATED): 8})
    stores = replace(NOTHING, fold=fold, **held(database=row(5), state=row(5), index=row(5)))
    assert wrong(stores) == set()
    assert wrong(replace(stores, database={"m": row(5, hashed=77)})) == {"database"}
    assert wrong(replace(stores, state={})) == {"database"}
    for name in ("database", "state", "index"):
        assert wrong(replace(NOTHING, fold=fold, **held(**{name: row(9)}))) == {name}


def test_the_archive_owes_what_it_has_and_can_read() -> None:
    late = row(5, offset=7)
    place = TopicPartition(CREATED, PARTITION)
    for coverage in (Coverage(7), Coverage(20, [Unreadable(5, 9, "gone")])):
        stores = everywhere(late, archive=None)
        assert wrong(stores) == {"archive"}
        assert wrong(replace(stores, coverage={place: coverage})) == set()
    ahead = everywhere(late, archive=row(6, UPDATED, offset=3))
    assert wrong(ahead) == {"archive"}
    trimmed = replace(ahead, earliest={TopicPartition(UPDATED, PARTITION): 4})
    assert "archive" not in wrong(trimmed)


def test_what_archive_and_log_cover_together() -> None:
    whole, cut, holed = Coverage(20), Coverage(5), Coverage(20, [Unreadable(3, 4, "gone")])
    assert [each.whole_from(10) for each in (whole, cut, holed)] == [0, 10, 5]
    assert [each.lacking(10) for each in (whole, cut, holed)] == [[], [(5, 9)], [(3, 4)]]
    assert [each.whole_from(0) for each in (whole, cut, holed)] == [0, 0, 0]


def test_events_and_states_tell_the_same_facts() -> None:
    """Posts with everything, edits and deletions; and which facts differ is known without the texts."""
    talk = Talk(CHANNEL, private=True)
    post = talk.reply("msg_parent", "안녕 🎉", ["bora"])
    edit = talk.edit(post.payload.message_id, "hi")
    gone = talk.delete(post.payload.message_id)
    for event in (post, edit, gone):
        facts = facts_of_event(event)
        assert facts_of_state(encode(state_after(event))) == (post.payload.message_id, facts)
    one, other = facts_of_event(post), facts_of_event(edit)
    expected = {"version", "content", "mentions", "parent_id", "updated_at"}
    assert set(differing(FACTS, marks_of(one), marks_of(other))) == expected
    for name in FACTS:
        forged: Any = one._asdict()
        forged = Facts(**{**forged, name: None if forged[name] is not None else "x"})
        assert hash_of("m", forged) != hash_of("m", one)
        assert differing(FACTS, marks_of(forged), marks_of(one)) == (name,)


def test_folds_keep_the_newest_and_name_the_bad() -> None:
    """In any order and any number of times; a contradiction and a state under another key are named."""
    talk = Talk(CHANNEL)
    post = talk.post("one")
    edit = talk.edit(post.payload.message_id, "two")
    events, states = EventFold({CHANNEL}), StateFold({CHANNEL})
    some: tuple[MessagesEvent, ...] = (edit, post, edit, post)
    for number, event in enumerate(some):
        told, state = records_of(event)
        events.take(Record(told.topic, PARTITION, number, told.key, told.value, (), 0))
        states.take(Record(state.topic, PARTITION, number, state.key, state.value, (), 0))
    message_id = post.payload.message_id
    assert events.rows[message_id].version == states.rows[message_id].version == edit.sequence
    assert events.rows[message_id].hashed == states.rows[message_id].hashed
    assert (events.problems.count, states.problems.count) == (0, 0)
    other = msgspec.structs.replace(edit, payload=msgspec.structs.replace(edit.payload, content="three"))
    told, state = records_of(other)
    events.take(Record(told.topic, PARTITION, 9, told.key, told.value, (), 0))
    states.take(Record(state.topic, PARTITION, 9, "msg_other", state.value, (), 0))
    assert [each.offset for each in (*events.problems.named, *states.problems.named)] == [9, 9]
    states.take(Record(state.topic, PARTITION, 10, message_id, None, (), 0))
    assert (states.rows, states.tombstones) == ({}, {message_id})
