"""Decisions about channels and their members: make, join, leave, add, remove, change a role, mark as read."""

from collections.abc import Sequence

from backend.domain.access import require_channel, require_may_put, require_may_remove
from backend.domain.commands import MakeChannel, MarkRead, MemberCommand, PutMember, RemoveMember
from backend.domain.rejections import Conflict
from backend.domain.state import ChannelState, Situation
from schemas.channels import Channel, Membership, Role
from schemas.clock import format_ms
from schemas.events import (
    ChannelCreated,
    ChannelMemberAdded,
    ChannelMemberRemoved,
    ChannelRoleChanged,
    StreamEvent,
)


def make_channel(command: MakeChannel, situation: Situation, now_ms: int) -> Sequence[StreamEvent]:
    """Make it, unless its id is taken. Raises Conflict."""
    if situation.channel is not None:
        raise Conflict("this channel_id is taken")
    return (
        channel_created(
            command.event_id, command.actor_id, command.channel_id, command.name, command.private, now_ms
        ),
    )


def put_member(command: PutMember, situation: Situation, now_ms: int) -> Sequence[StreamEvent]:
    """Give the user the role. Raises NotFound, Forbidden, or Conflict for the last owner."""
    channel = require_channel(situation.channel, situation.role)
    present = None if situation.member is None else situation.member.role
    wanted: Role = command.role or present or "member"
    require_may_put(command.actor_id, situation.role, command.user_id, present, wanted)
    if wanted == present:
        return ()
    if present == "owner":
        _require_another_owner(situation)
    change = ChannelMemberAdded if present is None else ChannelRoleChanged
    return (_membership_event(change, command, channel, wanted, now_ms),)


def remove_member(command: RemoveMember, situation: Situation, now_ms: int) -> Sequence[StreamEvent]:
    """Take the user out. Raises NotFound, Forbidden, or Conflict for the last owner."""
    channel = require_channel(situation.channel, situation.role)
    require_may_remove(command.actor_id, situation.role, command.user_id)
    if situation.member is None:
        return ()
    if situation.member.role == "owner":
        _require_another_owner(situation)
    return (_membership_event(ChannelMemberRemoved, command, channel, situation.member.role, now_ms),)


def read_up_to(command: MarkRead, situation: Situation) -> int:
    """Return up to where the channel is read: never beyond its last event. Raises NotFound."""
    return min(command.sequence, require_channel(situation.channel, situation.role).last_sequence)


def channel_created(
    event_id: str, actor_id: str, channel_id: str, name: str, private: bool, now_ms: int
) -> ChannelCreated:
    """Return the first event of a channel."""
    return ChannelCreated(
        event_id=event_id,
        timestamp=now_ms,
        sequence=1,
        payload=Channel(
            channel_id=channel_id,
            name=name,
            private=private,
            created_by=actor_id,
            created_at=format_ms(now_ms),
        ),
    )


def _membership_event(
    change: type[ChannelMemberAdded | ChannelMemberRemoved | ChannelRoleChanged],
    command: MemberCommand,
    channel: ChannelState,
    role: Role,
    now_ms: int,
) -> StreamEvent:
    sequence = channel.last_sequence + 1
    return change(
        event_id=command.event_id,
        timestamp=max(now_ms, channel.last_event_at),
        sequence=sequence,
        payload=Membership(
            channel_id=channel.channel_id,
            user_id=command.user_id,
            role=role,
            version=sequence,
            changed_by=command.actor_id,
        ),
    )


def _require_another_owner(situation: Situation) -> None:
    if situation.owners <= 1:
        raise Conflict("a channel needs an owner: make someone else one first")
