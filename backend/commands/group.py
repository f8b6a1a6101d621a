"""What the commands of one transaction know, and what they have decided so far."""

from dataclasses import dataclass, field

from backend.domain.commands import (
    Command,
    DeleteMessage,
    EditMessage,
    MarkRead,
    MessageChange,
    PostMessage,
    PutMember,
    RemoveMember,
)
from backend.domain.evolve import evolve_channel, evolve_member, evolve_message, member_of
from backend.domain.state import ChannelState, EarlierPost, MemberState, MessageRecord, Situation
from schemas.events import ChannelCreated, ChannelsEvent, MessageCreated, MessagesEvent, StreamEvent


@dataclass
class Group:
    """Keys of pairs are (channel, user), (author, hash of the key) and, for read marks, (user, channel).

    `members` holds those whom the commands name, and all owners of channels whose members may change.
    """

    channels: dict[str, ChannelState] = field(default_factory=dict)
    messages: dict[str, MessageRecord] = field(default_factory=dict)
    members: dict[tuple[str, str], MemberState] = field(default_factory=dict)
    earlier: dict[tuple[str, str], EarlierPost] = field(default_factory=dict)
    events: list[StreamEvent] = field(default_factory=list)
    made_channels: set[str] = field(default_factory=set)
    touched_messages: set[str] = field(default_factory=set)
    touched_members: set[tuple[str, str]] = field(default_factory=set)
    read_marks: dict[tuple[str, str], int] = field(default_factory=dict)

    def situation(self, command: Command) -> Situation:
        """Return what a decision on `command` may look at now."""
        channel_id = self.channel_of(command)
        channel = self.channels.get(channel_id)
        actor = self.members.get((channel_id, command.actor_id))
        role = None if actor is None else actor.role
        match command:
            case PostMessage():
                parent = self.messages.get(command.parent_id) if command.parent_id else None
                key_hash = command.idempotency_key_hash
                earlier = self.earlier.get((command.actor_id, key_hash)) if key_hash else None
                return Situation(channel, role=role, parent=parent, earlier=earlier)
            case EditMessage() | DeleteMessage():
                return Situation(channel, role=role, message=self.messages.get(command.message_id))
            case PutMember() | RemoveMember():
                member = self.members.get((channel_id, command.user_id))
                return Situation(channel, role=role, member=member, owners=self._owners(channel_id))
            case _:
                return Situation(channel, role=role)

    def channel_of(self, command: Command) -> str:
        """Return the channel that the command is about; empty where its message does not exist."""
        if not isinstance(command, MessageChange):
            return command.channel_id
        record = self.messages.get(command.message_id)
        return "" if record is None else record.message.channel_id

    def apply(self, event: StreamEvent) -> None:
        """Take an event into the state, so that the next command of the group sees it."""
        channel_id = event.payload.channel_id
        self.channels[channel_id] = evolve_channel(self.channels.get(channel_id), event)
        self.events.append(event)
        if isinstance(event, ChannelsEvent):
            self._apply_membership(event)
        elif isinstance(event, MessagesEvent):
            message_id = event.payload.message_id
            self.messages[message_id] = evolve_message(self.messages.get(message_id), event)
            self.touched_messages.add(message_id)
        if isinstance(event, MessageCreated) and isinstance(event.idempotency_key_hash, str):
            key = (event.payload.author_id, event.idempotency_key_hash)
            self.earlier[key] = EarlierPost(str(event.request_hash), event.payload)

    def mark_read(self, command: MarkRead, sequence: int) -> None:
        """Note a read mark; it only rises."""
        key = (command.actor_id, command.channel_id)
        self.read_marks[key] = max(sequence, self.read_marks.get(key, 0))

    def _apply_membership(self, event: ChannelsEvent) -> None:
        key = (event.payload.channel_id, member_of(event))
        member = evolve_member(self.members.get(key), key[1], event)
        if member is None:
            self.members.pop(key, None)
        else:
            self.members[key] = member
        self.touched_members.add(key)
        if isinstance(event, ChannelCreated):
            self.made_channels.add(key[0])

    def _owners(self, channel_id: str) -> int:
        return sum(
            member.role == "owner" for (channel, _), member in self.members.items() if channel == channel_id
        )
