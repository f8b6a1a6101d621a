"""What must hold after every fault: the log says what the ledger says, all stores say what the log says.

`check_log` needs no server: it judges records, so that it can be shown wrong ones.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from backbone.errors import Unavailable
from backbone.eventlog import Record, TopicPartition
from backbone.wiring import Ports as Stores
from schemas.topics import (
    DEAD_LETTERS,
    GROUP_INDEXER,
    GROUP_NOTIFIER,
    MESSAGE_TOPICS,
    MESSAGES_STATE,
    STREAM_TOPICS,
)
from tests.faults.ledger import Entry, State
from tests.support.eventlog import read_all
from tests.support.waiting import until
from tests.system import stores as compare
from tests.system.fold import Fold, Folded, Json, fold_of_records, partitions_of

READ_BY = {GROUP_INDEXER: MESSAGE_TOPICS, GROUP_NOTIFIER: STREAM_TOPICS}


@dataclass(frozen=True)
class Told:
    """What a committed read of the log gives: the events of the channels, and the states of the messages."""

    events: Sequence[Record]
    states: Sequence[Record]

    @property
    def duplicates(self) -> int:
        """How many records repeat another one."""
        return len(self.events) - len({_event_id(record) for record in self.events})


def repeated_after(told: Told, places: Mapping[TopicPartition, int]) -> list[str]:
    """Return what stands behind these offsets and is told before them already."""
    repeated: list[str] = []
    for records, name in ((told.events, _event_id), (told.states, _state_id)):
        before = {name(each) for each in records if each.offset < places[each.topic_partition]}
        behind = (name(each) for each in records if each.offset >= places[each.topic_partition])
        repeated += [each for each in behind if each in before]
    return repeated


def check_log(told: Told, partitions: Mapping[str, int], entries: Iterable[Entry]) -> Fold:
    """The log is whole and in order, and says what was acknowledged and nothing that was not asked."""
    check_order(told.events)
    fold = fold_of_records(told.events, partitions)
    check_states(told.states, fold)
    check_ledger(entries, fold)
    return fold


def check_order(events: Iterable[Record]) -> None:
    """Repeats aside, each topic tells a channel's events in the order of their sequences."""
    said: dict[str, bytes | None] = {}
    last: dict[tuple[str, str], int] = defaultdict(int)
    for record in events:
        event = json.loads(record.value or b"")
        if event["event_id"] in said:
            assert said[event["event_id"]] == record.value, f"{event['event_id']} names two events"
            continue
        said[event["event_id"]] = record.value
        place = (record.topic, event["payload"]["channel_id"])
        assert event["sequence"] > last[place], f"{place}: {event['sequence']} behind {last[place]}"
        last[place] = event["sequence"]


def check_states(states: Iterable[Record], fold: Fold) -> None:
    """Repeats aside, a message's states never go back; the one that compaction keeps is the newest."""
    seen: dict[str, list[int]] = defaultdict(list)
    last: dict[str, int] = {}
    for record in states:
        assert record.key is not None
        assert record.value is not None
        version = json.loads(record.value)["version"]
        last[record.key] = version
        if version not in seen[record.key]:
            seen[record.key].append(version)
    for message_id, versions in seen.items():
        assert versions == sorted(versions), f"the states of {message_id} went back: {versions}"
    assert last == {id_: folded.version for id_, folded in fold.messages.items()}, (
        "states that are not the newest"
    )


def check_ledger(entries: Iterable[Entry], fold: Fold) -> None:
    """What was acknowledged is in the log as it was acknowledged; nothing else is but what was asked for."""
    by_key: dict[str, str] = {}
    for message_id, folded in fold.messages.items():
        key = folded.events[0]["payload"]["content"].rpartition("[")[2].partition("]")[0]
        assert by_key.setdefault(key, message_id) == message_id, f"{key} was posted twice"
    for entry in entries:
        found = by_key.pop(entry.key, None)
        if entry.message_id is None and found is None:
            continue
        assert found is not None, f"{entry.key} was acknowledged and is not in the log"
        assert entry.message_id in {None, found}, f"{entry.key} is another message than was acknowledged"
        _check_entry(entry, fold.messages[found])
    assert not by_key, f"nobody asked for {sorted(by_key)[:3]}"


def _check_entry(entry: Entry, folded: Folded) -> None:
    left = {event["sequence"]: event for event in folded.events}
    for state in entry.acknowledged:
        version = state.version or folded.version
        event = left.pop(version, None)
        assert event is not None, f"{entry.key}: version {version} was acknowledged and is not in the log"
        assert _says(event, state), f"{entry.key}: version {version} is not as it was acknowledged"
    unasked = [event for event in left.values() if entry.attempt is None or not _says(event, entry.attempt)]
    assert len(left) <= 1, f"{entry.key} was changed more often than it was asked for"
    assert not unasked, f"{entry.key} was changed unasked: {unasked}"


def _says(event: Json, state: State) -> bool:
    if state.deleted:
        return bool(event["event_type"] == "message.deleted")
    payload = event["payload"]
    return (payload.get("content"), payload.get("mentions")) == (state.content, list(state.mentions))


async def settled(stores: Stores, within_s: float) -> float:
    """Wait until the outbox is told and every group has read all; return how many seconds that took."""
    began_s = monotonic()
    behind: Mapping[str, int] = {}

    async def all_read() -> bool:
        nonlocal behind
        try:
            behind = await _behind_now(stores)
        except Unavailable as error:
            behind = {str(error): 1}
        return not behind

    try:
        await until(all_read, within_s, every_s=0.2)
    except TimeoutError:
        raise AssertionError(f"after {within_s:.0f} s there still is a lag: {behind}") from None
    return monotonic() - began_s


async def check(stores: Stores, entries: Iterable[Entry]) -> Told:
    """Check everything, now that all is settled; return what the log told."""
    told = Told(
        await read_all(stores.eventlog, *STREAM_TOPICS), await read_all(stores.eventlog, MESSAGES_STATE)
    )
    fold = check_log(told, await partitions_of(stores.eventlog), entries)
    await compare.check_database(stores.database, fold)
    await compare.check_states(stores.eventlog, fold)
    await compare.check_index(stores.search, fold)
    inboxes = await compare.check_inboxes(stores.database, fold)
    await compare.check_notifications_told(stores.eventlog, inboxes)
    assert not [record for record in await read_all(stores.eventlog, DEAD_LETTERS) if record.value], "parked"
    return told


async def _behind_now(stores: Stores) -> dict[str, int]:
    """Return what is behind, and by how many."""
    behind = {"outbox of events": await compare.untold(stores.database)}
    for group, topics in READ_BY.items():
        committed = await stores.eventlog.committed(group, topics)
        states = await stores.eventlog.topics()
        behind[group] = sum(states[place.topic].end[place.partition] - at for place, at in committed.items())
    # Again: what the notifier has read may have put something into it.
    behind["outbox of notifications"] = await compare.untold(stores.database)
    return {name: number for name, number in behind.items() if number}


def _event_id(record: Record) -> str:
    return str(json.loads(record.value or b"")["event_id"])


def _state_id(record: Record) -> str:
    return f"{record.key} {json.loads(record.value or b'')['version']}"
