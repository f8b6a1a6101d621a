"""What the contract says of channels and messages, as plainly as it can be said: the judge of the backend.

Nothing of the domain is called here; commands are read as data. Sequences are counted, times are not.
"""

from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET

from backend.domain.commands import (
    Command,
    DeleteMessage,
    EditMessage,
    MakeChannel,
    MarkRead,
    PostMessage,
    PutMember,
    RemoveMember,
)

# Verdicts: "done" (with an event), "same" (it was so already), "repeated" (a key's), or a rejection's name.
Verdict = str
_RANK = {None: 0, "member": 1, "owner": 2}


@dataclass
class KnownMessage:
    """A message as it must be now; a deleted one has lost what it said."""

    channel: str
    author: str
    said: dict[str, Any]
    parent: str | None
    sequence: int
    version: int
    deleted_by: str | None = None


@dataclass
class KnownChannel:
    """A channel as it must be now; `last` is the number of its last event."""

    private: bool
    roles: dict[str, str]
    last: int = 1

    def hidden_from(self, user: str) -> bool:
        return self.private and user not in self.roles

    def next(self) -> int:
        self.last += 1
        return self.last


@dataclass
class Model:
    """Everything that must be so after the commands judged until now."""

    channels: dict[str, KnownChannel] = field(default_factory=dict)
    messages: dict[str, KnownMessage] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[tuple[Any, ...], str]] = field(default_factory=dict)
    read: dict[tuple[str, str], int] = field(default_factory=dict)

    def judge(self, command: Command) -> Verdict:
        """Say what must come of the command, and take it in."""
        match command:
            case PostMessage():
                return self._post(command)
            case EditMessage() | DeleteMessage():
                return self._change(command)
            case MakeChannel():
                return self._make(command)
            case PutMember() | RemoveMember() | MarkRead():
                return self._in_channel(command)

    def _make(self, command: MakeChannel) -> Verdict:
        if command.channel_id in self.channels:
            return "Conflict"
        self.channels[command.channel_id] = KnownChannel(command.private, {command.actor_id: "owner"})
        return "done"

    def _in_channel(self, command: PutMember | RemoveMember | MarkRead) -> Verdict:
        channel = self.channels.get(command.channel_id)
        if channel is None or channel.hidden_from(command.actor_id):
            return "NotFound"
        match command:
            case PutMember():
                return _put(channel, command)
            case RemoveMember():
                return _remove(channel, command)
            case MarkRead():
                key = (command.actor_id, command.channel_id)
                self.read[key] = max(self.read.get(key, 0), min(command.sequence, channel.last))
                return "same"

    def message_of_key(self, author: str, key: str) -> str:
        """Return which message the author's key stands for."""
        return self.keys[author, key][1]

    def _post(self, command: PostMessage) -> Verdict:
        channel = self.channels.get(command.channel_id)
        if channel is None and command.channel_event_id is None:
            return "NotFound"
        if channel is not None and channel.hidden_from(command.actor_id):
            return "NotFound"
        said = _said(command)
        body = (command.channel_id, command.parent_id, said)
        key = (command.actor_id, command.idempotency_key or "")
        if command.idempotency_key is not None and key in self.keys:
            return "repeated" if self.keys[key][0] == body else "KeyReused"
        if command.parent_id is not None:
            parent = self.messages.get(command.parent_id)
            alive_here = parent and parent.deleted_by is None and parent.channel == command.channel_id
            if not alive_here or (parent and parent.parent is not None):
                return "Invalid"
        if channel is None:
            channel = self.channels[command.channel_id] = KnownChannel(False, {command.actor_id: "owner"})
        number = channel.next()
        self.messages[command.message_id] = KnownMessage(
            command.channel_id, command.actor_id, said, command.parent_id, number, number
        )
        if command.idempotency_key is not None:
            self.keys[key] = (body, command.message_id)
        return "done"

    def _change(self, command: EditMessage | DeleteMessage) -> Verdict:
        message = self.messages.get(command.message_id)
        if message is None or self.channels[message.channel].hidden_from(command.actor_id):
            return "NotFound"
        if isinstance(command, EditMessage):
            return self._edit(command, message)
        return self._delete(command, message)

    def _edit(self, command: EditMessage, message: KnownMessage) -> Verdict:
        if message.deleted_by is not None:
            return "Gone"
        if message.author != command.actor_id:
            return "Forbidden"
        if command.if_match is not None and message.version not in command.if_match:
            return "Stale"
        said = {**message.said, **_said(command)}
        if said == message.said:
            return "same"
        message.said, message.version = said, self.channels[message.channel].next()
        return "done"

    def _delete(self, command: DeleteMessage, message: KnownMessage) -> Verdict:
        channel = self.channels[message.channel]
        if command.actor_id != message.author and channel.roles.get(command.actor_id) != "owner":
            return "Forbidden"
        if message.deleted_by is not None:
            return "same"
        if command.if_match is not None and message.version not in command.if_match:
            return "Stale"
        message.said = {"content": "", "mentions": (), "attachments": ()}
        message.version, message.deleted_by = channel.next(), command.actor_id
        return "done"


def _put(channel: KnownChannel, command: PutMember) -> Verdict:
    present = channel.roles.get(command.user_id)
    wanted = command.role or present or "member"
    # Nobody rises by their own hand, beyond the first step in.
    own_right = command.actor_id == command.user_id and _RANK[wanted] <= max(1, _RANK[present])
    if channel.roles.get(command.actor_id) != "owner" and not own_right:
        return "Forbidden"
    if wanted == present:
        return "same"
    if _last_owner(channel, command.user_id):
        return "Conflict"
    channel.roles[command.user_id] = wanted
    channel.next()
    return "done"


def _remove(channel: KnownChannel, command: RemoveMember) -> Verdict:
    if channel.roles.get(command.actor_id) != "owner" and command.actor_id != command.user_id:
        return "Forbidden"
    if command.user_id not in channel.roles:
        return "same"
    if _last_owner(channel, command.user_id):
        return "Conflict"
    del channel.roles[command.user_id]
    channel.next()
    return "done"


def _last_owner(channel: KnownChannel, user: str) -> bool:
    return [name for name, role in channel.roles.items() if role == "owner"] == [user]


def _said(command: PostMessage | EditMessage) -> dict[str, Any]:
    names = ("content", "mentions", "attachments")
    return {name: value for name in names if (value := getattr(command, name)) is not UNSET}
