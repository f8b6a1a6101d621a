"""The domain against the model: whatever users try, in whatever order, under whatever clock."""

import itertools
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from backend.commands.answers import Posted, answer_of
from backend.commands.group import Group
from backend.domain.channels import read_up_to
from backend.domain.commands import Command, MarkRead, PostMessage
from backend.domain.decide import decide
from backend.domain.evolve import evolve_channel, evolve_member, evolve_message, member_of
from backend.domain.rejections import Rejected
from backend.domain.state import ChannelState, MemberState, MessageRecord
from schemas.clock import parse_ms
from schemas.events import (
    ChannelCreated,
    ChannelsEvent,
    MessageCreated,
    MessagesEvent,
    MessageUpdated,
    StreamEvent,
    decode_stream_event,
    encode,
)
from tests.property.model import KnownMessage, Verdict
from tests.property.rules import CommandRules
from tests.support.worlds import NOW

# What an edit and a deletion may not change.
_FIXED = ("message_id", "channel_id", "author_id", "sequence", "parent_id", "created_at")


class DomainMachine(CommandRules):
    """One world without a database; `now` jumps ahead and back."""

    def __init__(self) -> None:
        super().__init__()
        self.group = Group()
        self.now = NOW

    @rule(now=st.integers(NOW - 5_000, NOW + 5_000))
    def the_clock_jumps(self, now: int) -> None:
        self.now = now

    def check(self, command: Command) -> Verdict:
        expected = self.model.judge(command)
        before = len(self.group.events)
        assert self._carry_out(command) == expected
        events = self.group.events[before:]
        made = expected == "done" and any(isinstance(event, ChannelCreated) for event in events)
        assert len(events) == (0 if expected != "done" else 2 if made and len(events) == 2 else 1)
        return expected

    def _carry_out(self, command: Command) -> Verdict:
        situation = self.group.situation(command)
        try:
            if isinstance(command, MarkRead):
                self.group.mark_read(command, read_up_to(command, situation))
                return "same"
            events = decide(command, situation, self.now)
        except Rejected as rejection:
            return type(rejection).__name__
        for event in events:
            self.group.apply(event)
        answer = answer_of(command, situation, self.group)
        if isinstance(answer, Posted) and isinstance(command, PostMessage):
            self._check_posted(command, answer)
            return "repeated" if answer.repeated else "done"
        return "done" if events else "same"

    def _check_posted(self, command: PostMessage, answer: Posted) -> None:
        """The answer is the message as it was first stored, whatever became of it."""
        expected = command.message_id
        if answer.repeated:
            assert command.idempotency_key is not None
            expected = self.model.message_of_key(command.actor_id, command.idempotency_key)
        created = [e.payload for e in self.group.events if isinstance(e, MessageCreated)]
        assert answer.message == next(m for m in created if m.message_id == expected)

    @invariant()
    def the_state_is_the_model_s(self) -> None:
        """Messages, roles, privacy, sequences and read marks."""
        channels = {
            id_: (channel.private, channel.last_sequence) for id_, channel in self.group.channels.items()
        }
        assert channels == {id_: (known.private, known.last) for id_, known in self.model.channels.items()}
        assert {key: member.role for key, member in self.group.members.items()} == {
            (id_, user): role
            for id_, known in self.model.channels.items()
            for user, role in known.roles.items()
        }
        assert {id_: known_of(record) for id_, record in self.group.messages.items()} == self.model.messages
        assert self.group.read_marks == self.model.read

    @invariant()
    def every_channel_has_an_owner(self) -> None:
        owned = {channel for (channel, _), member in self.group.members.items() if member.role == "owner"}
        assert owned == self.group.channels.keys()

    @invariant()
    def no_reply_has_a_reply(self) -> None:
        for record in self.group.messages.values():
            if record.message.parent_id is not None:
                parent = self.group.messages[record.message.parent_id].message
                assert (parent.parent_id, parent.channel_id) == (None, record.message.channel_id)

    @invariant()
    def the_newest_events_are_in_order(self) -> None:
        """Each channel's sequences are 1, 2, 3 …, and no time is before the one of the event before."""
        for channel_id in self.group.channels:
            events = [e for e in self.group.events if e.payload.channel_id == channel_id]
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            assert isinstance(events[0], ChannelCreated)
            assert all(a.timestamp <= b.timestamp for a, b in itertools.pairwise(events))

    def teardown(self) -> None:
        told = [decode_stream_event(encode(event)) for event in self.group.events]
        assert told == self.group.events, "an event is read as it was written"
        check_fold(told, self.group)
        check_messages(told)


def known_of(record: MessageRecord) -> KnownMessage:
    """Return the message as the model has it."""
    message = record.message
    said = {name: getattr(message, name) for name in ("content", "mentions", "attachments")}
    return KnownMessage(
        message.channel_id,
        message.author_id,
        said,
        message.parent_id,
        message.sequence,
        message.version,
        record.deleted_by,
    )


def check_fold(events: list[StreamEvent], group: Group) -> None:
    """The state is the fold of the events from the first on, whichever channels they are mixed with."""
    channels: dict[str, ChannelState] = {}
    messages: dict[str, MessageRecord] = {}
    members: dict[tuple[str, str], MemberState | None] = {}
    for event in sorted(events, key=lambda event: (event.payload.channel_id, event.sequence)):
        channel_id = event.payload.channel_id
        channels[channel_id] = evolve_channel(channels.get(channel_id), event)
        if isinstance(event, MessagesEvent):
            message_id = event.payload.message_id
            messages[message_id] = evolve_message(messages.get(message_id), event)
        if isinstance(event, ChannelsEvent):
            user = member_of(event)
            members[channel_id, user] = evolve_member(members.get((channel_id, user)), user, event)
    assert channels == group.channels
    assert messages == group.messages
    assert {key: member for key, member in members.items() if member} == group.members


def check_messages(events: list[StreamEvent]) -> None:
    """Each message's version is its last event, at least 1 ms apart; what is fixed stays."""
    last: dict[str, Any] = {}
    for event in events:
        if not isinstance(event, MessagesEvent):
            continue
        payload = event.payload
        assert payload.version == event.sequence
        before = last.get(payload.message_id)
        if before is None:
            assert isinstance(event, MessageCreated)
            assert payload.sequence == event.sequence
        else:
            assert isinstance(before, MessageCreated | MessageUpdated), "nothing happens to a deleted one"
            assert event.timestamp > before.timestamp
            for name in _FIXED:
                assert getattr(payload, name, None) in (None, getattr(before.payload, name))
        if isinstance(event, MessageCreated | MessageUpdated):
            assert parse_ms(event.payload.updated_at) == event.timestamp
        last[payload.message_id] = event


TestDomain = DomainMachine.TestCase
TestDomain.settings = settings(max_examples=250, stateful_step_count=40, deadline=None, print_blob=True)
