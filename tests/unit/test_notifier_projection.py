"""The notifier's decisions: the same notifications in whatever order and however often events come."""

from collections.abc import Iterable, Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.projection import (
    Announcement,
    Audience,
    Known,
    NewNotification,
    Told,
    announced,
    decide,
    mentions_of,
    recipients,
)
from schemas.events import MessageDeleted, MessagesEvent
from schemas.messages import MENTION_CHANNEL
from tests.support.messaging import Talk

USERS = ("author", "bora", "chul", "다나")
MESSAGE = "msg_1"
Members = Mapping[int, frozenset[str]]

members = st.frozensets(st.sampled_from(USERS))
mentions = st.lists(st.sampled_from((*USERS, MENTION_CHANNEL)), unique=True, max_size=3)


@st.composite
def histories(draw: st.DrawFn) -> list[MessagesEvent]:
    """The whole life of one message, in order."""
    talk = Talk()
    events: list[MessagesEvent] = [talk.post("0", draw(mentions), MESSAGE)]
    for number, mentioned in enumerate(draw(st.lists(mentions, max_size=4)), 1):
        events.append(talk.edit(MESSAGE, str(number), mentioned))
    if draw(st.booleans()):
        events.append(talk.delete(MESSAGE))
    return events


class World:
    """What would be stored: each user's notification of the message, standing or not."""

    def __init__(
        self, *, private: bool = False, always: Iterable[str] = (), moments: Members | None = None
    ) -> None:
        """`moments` say who was a member at which event; `always` at all others."""
        self.private = private
        self.always = frozenset(always)
        self.moments = moments or {}
        self.known = Known()
        self.live: dict[Told, bool] = {}
        self.made = 0
        self.announcements: list[Announcement] = []

    def members_at(self, sequence: int) -> frozenset[str]:
        return self.moments.get(sequence, self.always)

    def audience(self, event: MessagesEvent) -> Audience:
        return Audience(self.private, self.members_at(event.sequence))

    def apply(self, events: Sequence[MessagesEvent]) -> None:
        decision = decide(
            self.known, self.live, events, {each.sequence: self.audience(each) for each in events}
        )
        self.known = decision.known
        self._add(decision.notify)
        self.announcements += decision.announce
        for told, stands in self.live.items():
            self.live[told] = stands and not self._withdraws(told)

    def announce(self) -> None:
        for announcement in self.announcements:
            self._add(announced(self.live, announcement, self.members_at(announcement.sequence)))
        self.announcements = []

    def standing(self) -> dict[str, bool]:
        """Announce the rest; return whose mention stands, and whose was taken back."""
        self.announce()
        return {told.user_id: stands for told, stands in self.live.items() if told.reason == "mention"}

    def _add(self, new: Sequence[NewNotification]) -> None:
        for each in new:
            assert each.told not in self.live
            self.live[each.told] = not self._withdraws(each.told)
            self.made += 1

    def _withdraws(self, told: Told) -> bool:
        asked = self.known.in_doubt(told, private=self.private)
        member_at = {sequence for sequence in asked if told.user_id in self.members_at(sequence)}
        return self.known.withdraws(told, private=self.private, member_at=member_at)


def expected(events: Sequence[MessagesEvent], world: World) -> dict[str, bool]:
    """The rule itself, event by event: who is notified, and whether it stands."""
    outcome: dict[str, bool] = {}
    for event in events:
        mentioned = mentions_of(event)
        outcome = {
            user_id: stands and not {user_id, MENTION_CHANNEL}.isdisjoint(mentioned)
            for user_id, stands in outcome.items()
        }
        if isinstance(event, MessageDeleted):
            continue
        told = {each.user_id for each in recipients(event, world.audience(event)) if each.reason == "mention"}
        if MENTION_CHANNEL in mentioned:
            told |= world.members_at(event.sequence) - {event.payload.author_id}
        for user_id in told:
            outcome.setdefault(user_id, True)
    return outcome


@st.composite
def worlds(draw: st.DrawFn, events: Sequence[MessagesEvent]) -> World:
    """A channel whose members come and go between the events."""
    return World(private=draw(st.booleans()), moments={event.sequence: draw(members) for event in events})


@settings(deadline=None)
@given(st.data(), histories())
def test_order_repeats_and_batches_do_not_matter(data: st.DataObject, events: list[MessagesEvent]) -> None:
    """Given a message's events shuffled, repeated and cut into batches, the outcome is the rule's."""
    world = data.draw(worlds(events))
    repeated = events + data.draw(st.lists(st.sampled_from(events), max_size=4))
    shuffled = data.draw(st.permutations(repeated))
    while shuffled:
        size = data.draw(st.integers(1, len(shuffled)))
        world.apply(shuffled[:size])
        if data.draw(st.booleans()):
            world.announce()
        shuffled = shuffled[size:]
    assert world.standing() == expected(events, world)


@settings(deadline=None)
@given(st.data(), histories())
def test_a_replay_changes_nothing(data: st.DataObject, events: list[MessagesEvent]) -> None:
    """Given a message that was applied, its events again change nothing."""
    world = data.draw(worlds(events))
    for event in events:
        world.apply([event])
    before, known = world.standing(), world.known
    world.apply(data.draw(st.permutations(events)))
    assert (world.standing(), world.known) == (before, known)


def test_a_mention_that_told_nothing_takes_nothing_back() -> None:
    """Given bora, no member, missed an `@channel` that was edited away, being named tells bora."""
    talk, world = Talk(), World(always=["author", "chul"])
    world.apply([talk.post("모두", [MENTION_CHANNEL], MESSAGE)])
    world.apply([talk.edit(MESSAGE, "아니", [])])
    world.apply([talk.edit(MESSAGE, "bora", ["bora"])])
    assert world.standing() == {"bora": True, "chul": False}


def test_an_edit_notifies_only_those_it_newly_mentions() -> None:
    """Given bora was told of the post, an edit that mentions bora and chul tells chul alone."""
    talk, world = Talk(), World()
    world.apply([talk.post("안녕 @bora", ["bora"], MESSAGE)])
    world.apply([talk.edit(MESSAGE, "안녕 @bora @chul", ["bora", "chul"])])
    assert world.standing() == {"bora": True, "chul": True}
    assert world.made == 2


def test_a_late_event_is_born_retracted() -> None:
    """Given the deletion came first, the post it deleted notifies nobody with its text."""
    talk, world = Talk(), World()
    post = talk.post("비밀", ["bora"], MESSAGE)
    world.apply([talk.delete(MESSAGE)])
    world.apply([post])
    assert world.standing() == {"bora": False}


def test_a_private_channel_tells_its_members_alone_and_nobody_of_their_own_words() -> None:
    """Given a private channel of author and bora, @channel, chul and the author's own name reach bora."""
    talk, world = Talk(private=True), World(private=True, always=["author", "bora"])
    world.apply([talk.post("모두", [MENTION_CHANNEL, "chul", "author"], MESSAGE)])
    assert world.standing() == {"bora": True}
