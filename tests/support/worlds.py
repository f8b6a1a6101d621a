"""A world without a database: commands decided and applied one after the other, the clock in the hand."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from backend.commands.answers import Answer, answer_of
from backend.commands.group import Group
from backend.domain.commands import (
    DeleteMessage,
    EditMessage,
    EventfulCommand,
    MakeChannel,
    PostMessage,
    PutMember,
    RemoveMember,
)
from backend.domain.decide import decide
from schemas.channels import Role
from schemas.events import StreamEvent

NOW = 1_700_000_000_000

_numbers = count(1)


def post(
    actor: str = "author", content: str = "안녕", channel: str = "c", auto: bool = False, **more: Any
) -> PostMessage:
    """Return a post with ids of its own; `auto`: it makes the channel where there is none."""
    number = next(_numbers)
    return PostMessage(
        event_id=f"evt_{number}",
        message_id=more.pop("message_id", f"msg_{number}"),
        actor_id=actor,
        channel_id=channel,
        content=content,
        channel_event_id=f"evt_{number}-channel" if auto else None,
        **more,
    )


def edit(message_id: str, actor: str = "author", **changes: Any) -> EditMessage:
    """Return an edit."""
    return EditMessage(f"evt_{next(_numbers)}", message_id, actor, **changes)


def delete(message_id: str, actor: str = "author", if_match: frozenset[int] | None = None) -> DeleteMessage:
    """Return a deletion."""
    return DeleteMessage(f"evt_{next(_numbers)}", message_id, actor, if_match)


def make(channel: str = "c", actor: str = "owner", private: bool = False) -> MakeChannel:
    """Return the making of a channel."""
    return MakeChannel(f"evt_{next(_numbers)}", actor, channel, channel, private)


def put(user: str, role: Role | None = None, by: str = "owner", channel: str = "c") -> PutMember:
    """Return a join, an addition or a change of role."""
    return PutMember(f"evt_{next(_numbers)}", by, channel, user, role)


def remove(user: str, by: str = "owner", channel: str = "c") -> RemoveMember:
    """Return a leave or a removal."""
    return RemoveMember(f"evt_{next(_numbers)}", by, channel, user)


class World:
    """Everything that has happened; `group` is its state."""

    def __init__(self, *history: EventfulCommand) -> None:
        self.group = Group()
        for command in history:
            assert self.when(command), f"{command} was to change something"

    def when(self, command: EventfulCommand, now_ms: int = NOW) -> Sequence[StreamEvent]:
        """Carry the command out; return its events. Raises Rejected."""
        return self.carry_out(command, now_ms)[0]

    def carry_out(self, command: EventfulCommand, now_ms: int = NOW) -> tuple[Sequence[StreamEvent], Answer]:
        """Carry the command out; return its events and its answer. Raises Rejected."""
        situation = self.group.situation(command)
        events = decide(command, situation, now_ms)
        for event in events:
            self.group.apply(event)
        return events, answer_of(command, situation, self.group)

    def role(self, user: str, channel: str = "c") -> Role | None:
        """Return the user's role in the channel."""
        member = self.group.members.get((channel, user))
        return None if member is None else member.role
