"""Inboxes put right: what is known of them in any state of loss leads to what the log says."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from backbone.mailbox import NOTIFICATION, RETRACTED
from rebuilder.notifications.inboxes import About, Counter, Entry, Holding, Righted, Wanted, righted

USER = "bora"


def entry(seq: int, message: str, kind: str = NOTIFICATION, retracted: bool = False) -> Entry:
    """Return a row; its moment is its number's."""
    gone = retracted or kind == RETRACTED
    return Entry(
        user_id=USER,
        seq=seq,
        kind=kind,
        notification_id=f"ntf_{message}",
        message_id=message,
        channel_id="c",
        reason="mention",
        title=None if gone else "새 멘션",
        body=None if gone else message,
        created_at=seq,
        read_at=None,
        retracted=gone,
        muted=False,
        muted_by=None,
    )


@dataclass(frozen=True)
class Life:
    """An inbox as it became: its rows as they stand, its counter, and what the log says."""

    rows: tuple[Entry, ...]
    counter: Counter
    wanted: dict[About, Wanted]

    @property
    def told(self) -> list[Entry]:
        """What was sent: notifications as they were then."""
        taken_back = {each.about for each in self.rows if each.kind == RETRACTED}
        return [
            entry(each.seq, each.message_id, each.kind)
            if each.kind == NOTIFICATION and each.about in taken_back
            else each
            for each in self.rows
        ]


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """Notifications that came, some of them taken back by another number, some born so."""
    rows: list[Entry] = []
    wanted = {}
    for number in range(draw(st.integers(0, 6))):
        message, fate = f"m{number}", draw(st.sampled_from(["stands", "taken back", "born so"]))
        rows.append(entry(len(rows) + 1, message, retracted=fate == "born so"))
        retracted = fate != "stands"
        rehearsed = replace(entry(number + 1, message, retracted=retracted), created_at=rows[-1].created_at)
        wanted[rehearsed.about] = Wanted(
            replace(rehearsed, notification_id="other"), for_good=draw(st.booleans())
        )
        if fate == "taken back":
            rows[-1] = replace(rows[-1], title=None, body=None, retracted=True)
            rows.append(entry(len(rows) + 1, message, RETRACTED))
    read_up_to = draw(st.integers(0, len(rows)))
    rows = [replace(each, read_at=99) if each.seq <= read_up_to else each for each in rows]
    return Life(tuple(rows), Counter(1, len(rows), read_up_to, 99), wanted)


def standing(rows: tuple[Entry, ...]) -> dict[About, bool]:
    """Return of each notification whether it stands."""
    return {each.about: not each.retracted for each in rows if each.kind == NOTIFICATION}


def unread(rows: Iterable[Entry]) -> list[Entry]:
    """Return rows without the moment at which they were read: of what came back it is the mark's."""
    return [replace(each, read_at=None) for each in rows]


def after(life: Life, live: list[Entry], right: Righted) -> tuple[Entry, ...]:
    """Return the rows as they are then."""
    if right.anew:
        return right.put
    rows = {each.seq: each for each in live} | {each.seq: each for each in right.put}
    for each in right.withdraw:
        rows[each.seq] = replace(each, title=None, body=None, retracted=True)
    extra = [
        entry(right.counter.last_seq + n, each.message_id, RETRACTED)
        for n, each in enumerate(right.withdraw, 1)
    ]
    return (*(rows[seq] for seq in sorted(rows)), *extra)


def holding(life: Life, live: list[Entry], sent: list[Entry], counter: Counter | None = None) -> Holding:
    return Holding(counter or life.counter, live, sent, life.wanted)


@given(lives())
def test_what_is_right_is_not_touched(life: Life) -> None:
    """Given rows as they became, nothing is done, whatever was sent."""
    assert righted(holding(life, list(life.rows), life.told)).nothing
    assert righted(holding(life, list(life.rows), [])).nothing


@settings(deadline=None)
@given(st.data(), lives())
def test_rows_that_were_sent_come_back_with_their_numbers(data: st.DataObject, life: Life) -> None:
    """Given rows that are lost, and perhaps the counter, all that was sent is as it was."""
    lost = data.draw(st.sets(st.sampled_from(life.rows))) if life.rows else set()
    live = [each for each in life.rows if each not in lost]
    forgotten = data.draw(st.booleans())
    counter = replace(life.counter, last_seq=0) if forgotten else life.counter
    right = righted(holding(life, live, life.told, counter))
    assert not right.anew
    assert unread(after(life, live, right)) == unread(life.rows)
    assert right.counter.last_seq == len(life.rows)


@settings(deadline=None)
@given(st.data(), lives())
def test_whatever_is_lost_the_log_is_right(data: st.DataObject, life: Life) -> None:
    """Given any rows and records lost, and rows forged, the inbox holds what the log says, no gap."""
    rows = list(life.rows)
    live = [each for each in rows if data.draw(st.booleans())]
    sent = [each for each in life.told if data.draw(st.booleans())]
    if data.draw(st.booleans()):
        live.append(entry(max((each.seq for each in live), default=0) + 1, "forged"))
    right = righted(holding(life, live, sent))
    become = after(life, live, right)
    assert [each.seq for each in become] == list(range(1, len(become) + 1))
    expected = {about: not wanted.entry.retracted for about, wanted in life.wanted.items()}
    found = standing(become)
    assert found.keys() == expected.keys()
    for about, stands in found.items():
        read = any(each.about == about and each.seq <= life.counter.read_up_to for each in rows)
        excused = stands and not expected[about] and read and not life.wanted[about].for_good
        assert stands == expected[about] or excused
    again = Holding(
        replace(right.counter, last_seq=len(become)), list(become), [] if right.anew else sent, life.wanted
    )
    assert righted(again).nothing
    if right.anew:
        assert right.counter.epoch == life.counter.epoch + 1
        kept = [each.notification_id for each in become if each.notification_id != "other"]
        assert kept == sorted(kept, key=kept.index)


def test_what_the_notifier_is_late_with_is_left_to_it() -> None:
    """Given a message that is not applied yet, neither its lack nor its presence is wrong."""
    wanted = {entry(0, "late").about: Wanted(entry(1, "late"), for_good=False)}
    nothing_there = Holding(Counter(), [], [], wanted, late={"late"})
    assert righted(nothing_there).nothing
    ahead = Holding(Counter(1, 1), [entry(1, "late")], [], {}, late={"late"})
    assert righted(ahead).nothing


def test_a_log_without_its_beginning_takes_nothing_away() -> None:
    """Given a row that no event explains, of a log that was trimmed, the row stays; missing ones come."""
    wanted = {entry(0, "m").about: Wanted(entry(2, "m"), for_good=False)}
    right = righted(Holding(Counter(1, 1), [entry(1, "old")], [], wanted, whole=False))
    assert [each.message_id for each in right.put] == ["old", "m"]
