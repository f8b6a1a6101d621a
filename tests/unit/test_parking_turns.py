"""Whose turn it is among what is asked of parked records: no log, no clock but the test's."""

from backbone.errors import Unavailable
from backbone.eventlog.parking.ledger import Asked, Ledger
from backbone.eventlog.parking.letters import Source
from backbone.eventlog.parking.turns import Pending, Turns
from backbone.eventlog.patience import FIRST_PAUSE_S, LONGEST_PAUSE_S
from schemas.dead_letters import Action, LetterRequest

DOWN = Unavailable("search", "down")


class Asking:
    """Requests about keys with one letter each, which lie at offset 0; later ones have higher offsets."""

    def __init__(self, *keys: str) -> None:
        self.ledger = Ledger("g")
        self.offset = 0
        for number, key in enumerate(keys):
            self.ledger.put(Source("t", 0, number), key, alone=False, offset=0)

    def asked(self, action: Action, key: str, *sources: str) -> Pending:
        self.offset += 1
        request = LetterRequest(
            request_id=str(self.offset), action=action, group="g", ordering_key=key, sources=sources or None
        )
        return Pending(0, Asked.of(request, self.offset), self.ledger)


def tried(turns: Turns, pending: list[Pending], now_s: float = 0.0) -> list[Pending]:
    """Try all that may be, without trouble; return them."""
    chosen = [each for each in turns.order(pending) if turns.may_try(each, now_s)]
    for each in chosen:
        turns.succeeded(each, only_dropped=each.only_drops)
    return chosen


def test_of_a_key_the_first_request_alone_is_done() -> None:
    """The second one's turn comes when the first is no longer there."""
    asking = Asking("a")
    first, second = asking.asked("replay", "a"), asking.asked("replay", "a")
    turns = Turns()
    assert tried(turns, [second, first]) == [first]
    assert tried(turns, [second, first]) == [first]
    assert tried(turns, [second]) == [second]


def test_a_drop_goes_before_whatever_was_asked_for_before() -> None:
    """The named letters' and the whole key's; of two drops the earlier one."""
    asking = Asking("a")
    replay, whole, named = (
        asking.asked("replay", "a"),
        asking.asked("drop", "a"),
        asking.asked("drop", "a", "t/0/0"),
    )
    assert tried(Turns(), [replay, whole, named]) == [whole]
    assert tried(Turns(), [replay, named]) == [named]


def test_a_drop_that_has_dropped_all_takes_its_turn_as_a_replay() -> None:
    """What lies behind it is not what was to be dropped, and may be what another one drops."""
    asking = Asking()
    replay, first = asking.asked("replay", "a"), asking.asked("drop", "a")
    asking.offset += 1
    asking.ledger.put(Source("t", 0, 7), "a", alone=False, offset=asking.offset)
    second = asking.asked("drop", "a")
    assert tried(Turns(), [replay, first]) == [replay]
    assert tried(Turns(), [replay, first, second]) == [second]


def test_keys_take_turns_however_many_requests_one_has() -> None:
    """Who has waited longest comes first; a key that is new waits behind those."""
    asking = Asking("a", "b", "c")
    of_a = [asking.asked("replay", "a") for _ in range(3)]
    b, c = asking.asked("replay", "b"), asking.asked("replay", "c")
    turns = Turns()
    assert turns.order([*of_a, b]) == [of_a[0], b]
    turns.succeeded(of_a[0], only_dropped=False)
    assert turns.order([*of_a, b, c]) == [b, of_a[0], c]


def test_a_failing_key_waits_longer_and_longer_and_alone() -> None:
    """A defect that it meets keeps no other from its turn."""
    asking = Asking("a", "b")
    a, b = asking.asked("replay", "a"), asking.asked("replay", "b")
    turns = Turns()
    turns.order([a, b])
    turns.failed(a, ValueError("a defect"), 0.0)
    assert turns.reasons
    assert not turns.may_try(a, FIRST_PAUSE_S * 0.49)
    assert turns.may_try(a, FIRST_PAUSE_S)
    assert turns.may_try(b, 0.0)
    for _ in range(10):
        turns.failed(a, ValueError("a defect"), 0.0)
    assert not turns.may_try(a, LONGEST_PAUSE_S * 0.49)
    assert turns.may_try(a, LONGEST_PAUSE_S)
    turns.succeeded(a, only_dropped=False)
    assert turns.may_try(a, 0.0)
    assert not turns.reasons


def test_what_is_down_for_one_replay_is_down_for_all_but_no_drop_waits() -> None:
    """After the pause one of the others finds out; when one goes through, all others may."""
    asking = Asking("a", "b", "c", "d")
    a, b, c = (asking.asked("replay", key) for key in "abc")
    drop = asking.asked("drop", "d")
    turns = Turns()
    turns.order([a, b, c, drop])
    turns.failed(a, DOWN, 0.0)
    assert [turns.may_try(each, 0.0) for each in (a, b, c, drop)] == [False, False, False, True]
    turns.succeeded(drop, only_dropped=True)
    assert not turns.may_try(b, 0.0)
    assert turns.order([a, b, c]) == [b, c, a]
    assert turns.may_try(b, FIRST_PAUSE_S)
    turns.succeeded(b, only_dropped=False)
    assert turns.may_try(c, 0.0)
    assert not turns.may_try(a, 0.0)


def test_a_key_without_requests_is_forgotten() -> None:
    """Its failures say nothing about the next one."""
    asking = Asking("a")
    a = asking.asked("replay", "a")
    turns = Turns()
    turns.order([a])
    turns.failed(a, ValueError("a defect"), 0.0)
    turns.order([])
    assert not turns.reasons
    turns.order([a])
    assert turns.may_try(a, 0.0)


def test_sources_are_read_once_and_found_whatever_else_is_named() -> None:
    """Of what a request names only letters of its key are meant, in order; the queue's by themselves."""
    ledger = Ledger("g")
    for offset, (key, alone) in enumerate([("a", False), ("a", False), ("a", True), ("b", True)]):
        ledger.put(Source("t", 0, offset), key, alone, offset)
    names = ("t/0/3", "t/0/2", "t/0/1", "t/0/1", "t/0/0", "t/0/9", "nothing", "t/x/1", "")
    request = LetterRequest(request_id="1", action="drop", group="g", ordering_key="a", sources=names)
    asked = Asked.of(request, 10)
    assert list(ledger.queued(asked)) == [Source("t", 0, 0), Source("t", 0, 1)]
    assert list(ledger.standing_alone(asked)) == [Source("t", 0, 2)]
