"""The oracle is shown wrong logs, and logs that break what was acknowledged: it must not take them."""

import json
from collections.abc import Callable

import msgspec
import pytest

from backbone.eventlog import Record, TopicPartition
from schemas.topics import CHANNELS_CHANGED, MESSAGES_STATE, TOPIC_OF_EVENT, partition_of
from tests.faults.ledger import Entry, State
from tests.faults.oracle import Told, check_log, repeated_after
from tests.system.fold import Json

CHANNEL = "배포"
PARTITIONS = {topic.name: 3 for topic in (*TOPIC_OF_EVENT.values(), MESSAGES_STATE)}
PLACE = partition_of(CHANNEL, 3)


class Log:
    """A log in the making, and the ledger of whoever had it made."""

    def __init__(self) -> None:
        self.events: list[Record] = []
        self.states: list[Record] = []
        self.entries: list[Entry] = []
        made = {"channel_id": CHANNEL, "created_by": "minji"}
        self._tell("channel.created", 1, made)

    def post(self, key: str) -> None:
        """Tell of a new message, and acknowledge it."""
        sequence = len(self.events) + 1
        entry = Entry(key, CHANNEL, "minji", message_id=f"msg_{key}")
        entry.acknowledged.append(State(sequence, f"메시지 [{key}]"))
        self.entries.append(entry)
        self._tell("message.created", sequence, self._message(entry, sequence, sequence))

    def edit(self, key: str) -> None:
        """Tell of an edit, and acknowledge it."""
        version = len(self.events) + 1
        (entry,) = (entry for entry in self.entries if entry.key == key)
        first = entry.acknowledged[0].version
        assert first is not None
        entry.acknowledged.append(State(version, f"수정 [{key}]"))
        self._tell("message.updated", version, self._message(entry, first, version))

    def delete(self, key: str) -> None:
        """Tell of a deletion, and acknowledge it."""
        version = len(self.events) + 1
        (entry,) = (entry for entry in self.entries if entry.key == key)
        gone = {"message_id": entry.message_id, "channel_id": CHANNEL, "author_id": "minji"}
        entry.acknowledged.append(State(None, "", deleted=True))
        sequence = entry.acknowledged[0].version
        self._tell("message.deleted", version, {**gone, "sequence": sequence, "version": version})

    @property
    def told(self) -> Told:
        return Told(self.events, self.states)

    def _message(self, entry: Entry, sequence: int, version: int) -> Json:
        state = entry.last
        numbers = {"sequence": sequence, "version": version}
        said: Json = {"message_id": entry.message_id, "content": state.content, "mentions": []}
        return {"channel_id": CHANNEL, "author_id": "minji", **numbers, **said}

    def _tell(self, kind: str, sequence: int, payload: Json) -> None:
        envelope = {"event_type": kind, "event_id": f"evt_{sequence}", "timestamp": sequence}
        event = {**envelope, "schema_version": 1, "sequence": sequence, "payload": payload}
        topic = TOPIC_OF_EVENT[kind].name
        self.events.append(record(topic, len(self.events), CHANNEL, event))
        if topic != CHANNELS_CHANGED.name:
            self.states.append(record(MESSAGES_STATE.name, len(self.states), payload["message_id"], payload))


def record(topic: str, offset: int, key: str, value: Json) -> Record:
    headers = (
        ("event_type", str(value.get("event_type")).encode()),
        ("schema_version", b"1"),
        ("content-type", b"application/json"),
    )
    return Record(topic, PLACE, offset, key, json.dumps(value).encode(), headers, 0)


@pytest.fixture
def log() -> Log:
    """Two messages, one of them edited twice, the other deleted."""
    log = Log()
    log.post("a")
    log.post("b")
    log.edit("a")
    log.edit("a")
    log.delete("b")
    return log


def change(records: list[Record], number: int, **fields: object) -> None:
    value = {**json.loads(records[number].value or b""), **fields}
    records[number] = msgspec.structs.replace(records[number], value=json.dumps(value).encode())


def test_a_log_that_is_right(log: Log) -> None:
    """Repeats are allowed for, and so is what was asked and never acknowledged, done or not."""
    log.events += log.events[3:]
    log.states += log.states[2:]
    log.entries[0].attempt = log.entries[0].acknowledged.pop()
    log.entries.append(Entry("c", CHANNEL, "minji", attempt=State(None, "메시지 [c]")))
    check_log(log.told, PARTITIONS, log.entries)
    assert log.told.duplicates == 3


def acknowledge_and_lose(log: Log) -> None:
    log.post("c")
    log.events.pop()
    log.states.pop()


def post_twice(log: Log) -> None:
    log.post("c")
    log.entries.pop()
    payload = json.loads(log.events[-1].value or b"")["payload"]
    change(log.events, -1, payload={**payload, "content": "메시지 [a]"})


def give_a_sequence_twice(log: Log) -> None:
    log.events.append(log.events[5])
    change(log.events, 6, event_id="evt_7")


WRONG: dict[str, Callable[[Log], object]] = {
    "is not in the log": acknowledge_and_lose,
    "version 9 was acknowledged": lambda log: log.entries[0].acknowledged.append(State(9, "")),
    "is not as it was acknowledged": lambda log: log.entries[0].acknowledged.insert(0, State(5, "x [a]")),
    "changed more often": lambda log: log.entries[0].acknowledged.__delitem__(slice(1, None)),
    "was changed unasked": lambda log: log.entries[0].acknowledged.pop(),
    "nobody asked": lambda log: log.entries.pop(),
    "another message": lambda log: setattr(log.entries[0], "message_id", "msg_x"),
    "posted twice": post_twice,
    "a gap": lambda log: log.events.pop(3),
    "behind 5": lambda log: log.events.__setitem__(slice(3, 5), log.events[4:2:-1]),
    "names two events": lambda log: change(log.events, 5, event_id="evt_2"),
    "6 behind 6": give_a_sequence_twice,
    "went back": lambda log: log.states.__setitem__(slice(2, 4), log.states[3:1:-1]),
    "not the newest": lambda log: log.states.append(log.states[2]),
}


@pytest.mark.parametrize("complaint", WRONG)
def test_a_wrong_log(log: Log, complaint: str) -> None:
    """Each way in which a log may be wrong is found, and named."""
    WRONG[complaint](log)
    with pytest.raises(AssertionError, match=complaint):
        check_log(log.told, PARTITIONS, log.entries)


def test_what_a_zombie_adds(log: Log) -> None:
    """A record behind some offsets that was told before them already is seen as such."""
    places = {each.topic_partition: each.offset + 1 for each in (*log.events, *log.states)}
    log.post("c")
    places |= {TopicPartition(MESSAGES_STATE.name, PLACE): len(log.states)}
    assert repeated_after(log.told, places) == []
    log.states.append(msgspec.structs.replace(log.states[0], offset=len(log.states)))
    log.events.append(msgspec.structs.replace(log.events[1], offset=len(log.events)))
    assert repeated_after(log.told, places) == ["evt_2", "msg_a 2"]
