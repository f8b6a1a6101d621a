"""What a glance at records tells: which of them are the newest of their message so far."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from backbone.eventlog import Record
from rebuilder.search.newest import Newest
from schemas.events import encode
from schemas.messages import MENTION_CHANNEL
from schemas.states import state_after
from schemas.topics import MESSAGES_CREATED, MESSAGES_STATE, MESSAGES_UPDATED
from tests.support.messaging import Talk


def record(topic: str, offset: int, value: bytes | None) -> Record:
    return Record(topic, 0, offset, "key", value, (), 0)


def lives(order: Sequence[int]) -> list[Record]:
    """Return events and states of one message, of these versions."""
    talk = Talk()
    events = [talk.post("0", [MENTION_CHANNEL], "msg_1")]
    records = {events[0].sequence: (MESSAGES_CREATED.name, events[0])}
    first = events[0].sequence
    found = {first: records[first]}
    for number in range(1, 6):
        edit = talk.edit("msg_1", str(number))
        found[first + number] = (MESSAGES_UPDATED.name, edit)  # type: ignore[assignment]
    return [
        record(found[first + each % 6][0], offset, encode(found[first + each % 6][1]))
        if each < 6
        else record(MESSAGES_STATE.name, offset, encode(state_after(found[first + each % 6][1])))
        for offset, each in enumerate(order)
    ]


@given(st.lists(st.integers(0, 11), max_size=12), st.integers(1, 4))
def test_only_what_is_older_is_left_out(order: list[int], size: int) -> None:
    """Given versions in any order, as events or states, those below the highest before them are left out."""
    records, newest = lives(order), Newest()
    found = [each for at in range(0, len(records), size) for each in newest.of(records[at : at + size])]
    expected, highest = [], -1
    for each, number in zip(records, order, strict=True):
        if number % 6 >= highest:
            highest = number % 6
            expected.append(each)
    assert found == expected


def test_beyond_its_room_everything_is_read() -> None:
    """Given room for one message, older records of another are for others to judge."""
    newest = Newest(at_most=1)
    states = [
        record(MESSAGES_STATE.name, offset, b'{"message_id":"%s","version":%d}' % (name, version))
        for offset, (name, version) in enumerate([(b"a", 2), (b"b", 2), (b"a", 1), (b"b", 1)])
    ]
    assert [each.offset for state in states for each in newest.of([state])] == [0, 1, 3]


def test_what_it_cannot_read_is_for_others() -> None:
    """Given tombstones and garbage, they are passed on."""
    records = [
        record(MESSAGES_STATE.name, 0, None),
        record(MESSAGES_CREATED.name, 1, b"{}"),
        record(MESSAGES_CREATED.name, 2, b"\xff"),
    ]
    assert Newest().of(records) == records
