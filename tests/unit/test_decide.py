"""The domain's decisions: given a situation, when a command comes, then events or a rejection."""

from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.commands import Command, DeleteMessage, EditMessage, PostMessage
from backend.domain.decide import decide
from backend.domain.evolve import evolve_channel, evolve_message
from backend.domain.rejections import Forbidden, Gone, NotFound, Rejected, TooLarge
from backend.domain.state import ChannelState, MessageRecord, Situation
from schemas.clock import parse_ms
from schemas.events import ChannelCreated, MessageCreated, MessageDeleted, MessageUpdated, StreamEvent

NOW = 1_700_000_000_000


def posted(
    content: str = "안녕", actor: str = "a", message_id: str = "msg_1", channel: str = "c"
) -> PostMessage:
    return PostMessage(message_id=message_id, actor_id=actor, channel_id=channel, content=content)


class World:
    """One channel and its messages, as the events so far left them."""

    def __init__(self) -> None:
        self.channel: ChannelState | None = None
        self.messages: dict[str, MessageRecord] = {}
        self.events: list[StreamEvent] = []
        self.ids = count(1)

    def when(self, command: Command, now_ms: int = NOW) -> list[StreamEvent]:
        owner = self.channel is not None and self.channel.created_by == command.actor_id
        message = self.messages.get(command.message_id)
        situation = Situation(self.channel, message=message, role="owner" if owner else None)
        events = list(decide(command, situation, now_ms, lambda: f"evt_{next(self.ids)}"))
        for event in events:
            self.channel = evolve_channel(self.channel, event)
            if isinstance(event, (MessageCreated, MessageUpdated, MessageDeleted)):
                id_ = event.payload.message_id
                self.messages[id_] = evolve_message(self.messages.get(id_), event)
        self.events += events
        return events


def test_the_first_post_makes_the_channel() -> None:
    """channel.created is 1, public, owned by the author; the message is 2."""
    made, created = World().when(posted())
    assert isinstance(made, ChannelCreated)
    assert isinstance(created, MessageCreated)
    assert (made.sequence, created.sequence, created.payload.version) == (1, 2, 2)
    assert (made.payload.created_by, made.payload.private) == ("a", False)


def test_time_never_goes_back() -> None:
    """A clock set back: events keep the channel's time, and a message's next one is later by 1 ms."""
    world = World()
    world.when(posted())
    [later] = world.when(posted(message_id="msg_2"), now_ms=NOW - 5_000)
    [edited] = world.when(EditMessage("msg_2", "a", content="x"), now_ms=NOW - 5_000)
    assert (later.timestamp, edited.timestamp) == (NOW, NOW + 1)
    assert parse_ms(world.messages["msg_2"].message.updated_at) == NOW + 1


def test_a_private_channel_does_not_exist_for_strangers() -> None:
    """Whoever has no role there is told that there is no such thing."""
    private = ChannelState("c", "c", True, "owner", NOW, 1, NOW)
    with pytest.raises(NotFound):
        decide(posted(), Situation(private), NOW, str)
    [event] = decide(posted(), Situation(private, role="member"), NOW, str)
    assert isinstance(event, MessageCreated)
    assert event.private is True


def test_only_the_author_edits() -> None:
    """Not even the owner of the channel edits what another wrote; a deleted message is gone for all."""
    world = World()
    world.when(posted(actor="owner"))
    world.when(posted(actor="b", message_id="msg_2"))
    with pytest.raises(Forbidden):
        world.when(EditMessage("msg_2", "owner", content="x"))
    world.when(DeleteMessage("msg_2", "owner"))
    with pytest.raises(Gone):
        world.when(EditMessage("msg_2", "b", content="x"))


def test_an_event_too_large_for_the_log_is_refused() -> None:
    """An event beyond 512 KiB is rejected before anything happened."""
    with pytest.raises(TooLarge):
        World().when(posted("x" * 600_000))


COMMANDS = st.one_of(
    st.builds(
        posted, content=st.text(min_size=1), actor=st.sampled_from("abc"), message_id=st.sampled_from("123")
    ),
    st.builds(EditMessage, st.sampled_from("123"), st.sampled_from("abc"), content=st.text(min_size=1)),
    st.builds(DeleteMessage, st.sampled_from("123"), st.sampled_from("abc")),
)


@given(st.lists(st.tuples(COMMANDS, st.integers(NOW - 1_000, NOW + 1_000)), max_size=30))
def test_whatever_is_asked_sequences_are_gapless(commands: list[tuple[Command, int]]) -> None:
    """Any run of commands: sequences 1..N, times in order, and the state's version is its last event."""
    world = World()
    for command, now_ms in commands:
        if isinstance(command, PostMessage) and command.message_id in world.messages:
            continue
        try:
            world.when(command, now_ms)
        except Rejected:
            continue
    assert [event.sequence for event in world.events] == list(range(1, len(world.events) + 1))
    times = [event.timestamp for event in world.events]
    assert times == sorted(times)
    for id_, record in world.messages.items():
        of_it = [e for e in world.events if getattr(e.payload, "message_id", None) == id_]
        assert record.message.version == of_it[-1].sequence
        assert record.message.sequence == of_it[0].sequence
        assert record.deleted == isinstance(of_it[-1], MessageDeleted)
        assert all(a.timestamp < b.timestamp for a, b in pairwise(of_it))
