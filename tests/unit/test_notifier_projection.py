"""The notifier's decisions: the same notifications in whatever order and however often events come."""

from collections.abc import Sequence

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

audiences = st.builds(Audience, private=st.booleans(), members=st.frozensets(st.sampled_from(USERS)))
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

    def __init__(self, audience: Audience) -> None:
        self.audience = audience
        self.known = Known()
        self.live: dict[Told, bool] = {}
        self.made = 0
        self.announcements: list[tuple[Announcement, frozenset[str]]] = []

    def apply(self, events: Sequence[MessagesEvent]) -> None:
        audiences = {event.sequence: self.audience for event in events}
        decision = decide(self.known, self.live, events, audiences)
        self.known = decision.known
        self._add(decision.notify)
        # Who was a member at the event does not change until it is announced.
        self.announcements += [(each, frozenset(self.audience.members)) for each in decision.announce]
        for told, stands in self.live.items():
            self.live[told] = stands and not self.known.withdraws(*told)

    def announce(self) -> None:
        for announcement, members in self.announcements:
            self._add(announced(self.known, self.live, announcement, members))
        self.announcements = []

    def standing(self) -> dict[str, bool]:
        """Announce the rest; return whose mention stands, and whose was taken back."""
        self.announce()
        return {told.user_id: stands for told, stands in self.live.items() if told.reason == "mention"}

    def _add(self, new: Sequence[NewNotification]) -> None:
        for each in new:
            told = Told(each.user_id, each.reason)
            assert told not in self.live
            self.live[told] = not each.retracted
            self.made += 1


def expected(events: Sequence[MessagesEvent], audience: Audience) -> dict[str, bool]:
    """The rule itself, over the whole history: who is notified, and whether it stands."""
    outcome: dict[str, bool] = {}
    for event in events:
        if isinstance(event, MessageDeleted):
            continue
        told = {each.user_id for each in recipients(event, audience) if each.reason == "mention"}
        if MENTION_CHANNEL in event.payload.mentions:
            told |= audience.members - {event.payload.author_id}
        outcome |= dict.fromkeys(told, True)
    for user_id in outcome:
        was_mentioned = False
        for event in events:
            mentioned = {user_id, MENTION_CHANNEL} & set(mentions_of(event))
            if was_mentioned and not mentioned:
                outcome[user_id] = False
            was_mentioned = was_mentioned or bool(mentioned)
    return outcome


@settings(deadline=None)
@given(st.data(), histories(), audiences)
def test_order_repeats_and_batches_do_not_matter(
    data: st.DataObject, events: list[MessagesEvent], audience: Audience
) -> None:
    """Given a message's events shuffled, repeated and cut into batches, the outcome is the rule's."""
    repeated = events + data.draw(st.lists(st.sampled_from(events), max_size=4))
    shuffled = data.draw(st.permutations(repeated))
    world = World(audience)
    while shuffled:
        size = data.draw(st.integers(1, len(shuffled)))
        world.apply(shuffled[:size])
        if data.draw(st.booleans()):
            world.announce()
        shuffled = shuffled[size:]
    assert world.standing() == expected(events, audience)


@settings(deadline=None)
@given(st.data(), histories(), audiences, audiences)
def test_a_replay_changes_nothing_whoever_has_joined_since(
    data: st.DataObject, events: list[MessagesEvent], audience: Audience, later: Audience
) -> None:
    """Given a message that was applied, its events again, under other members, change nothing."""
    world = World(audience)
    for event in events:
        world.apply([event])
    before, known = world.standing(), world.known
    world.audience = later
    world.apply(data.draw(st.permutations(events)))
    assert (world.standing(), world.known) == (before, known)


def test_an_edit_notifies_only_those_it_newly_mentions() -> None:
    """Given bora was told of the post, an edit that mentions bora and chul tells chul alone."""
    talk, world = Talk(), World(Audience(False, frozenset()))
    world.apply([talk.post("안녕 @bora", ["bora"], MESSAGE)])
    world.apply([talk.edit(MESSAGE, "안녕 @bora @chul", ["bora", "chul"])])
    assert world.standing() == {"bora": True, "chul": True}
    assert world.made == 2


def test_a_late_event_is_born_retracted() -> None:
    """Given the deletion came first, the post it deleted notifies nobody with its text."""
    talk, world = Talk(), World(Audience(False, frozenset()))
    post = talk.post("비밀", ["bora"], MESSAGE)
    world.apply([talk.delete(MESSAGE)])
    world.apply([post])
    assert world.standing() == {"bora": False}


def test_a_private_channel_tells_its_members_alone_and_nobody_of_their_own_words() -> None:
    """Given a private channel of author and bora, @channel, chul and the author's own name reach bora."""
    talk, world = Talk(private=True), World(Audience(True, frozenset({"author", "bora"})))
    world.apply([talk.post("모두", [MENTION_CHANNEL, "chul", "author"], MESSAGE)])
    assert world.standing() == {"bora": True}
