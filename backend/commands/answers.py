"""What is answered to a command once it is stored."""

from dataclasses import dataclass
from typing import assert_never

from backend.commands.group import Group
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
from backend.domain.state import ChannelState, MemberState, MessageRecord, Situation
from schemas.channels import Membership
from schemas.messages import Message


@dataclass(frozen=True, slots=True)
class Posted:
    """The message; `repeated` where an earlier post with the same key is answered, as it was first stored."""

    message: Message
    repeated: bool = False


Answer = Posted | MessageRecord | ChannelState | Membership | None


def answer_of(command: Command, situation: Situation, group: Group) -> Answer:
    """Return the answer to a command that was decided over `situation`, and has been applied to `group`."""
    match command:
        case PostMessage():
            if situation.earlier is not None:
                return Posted(situation.earlier.message, repeated=True)
            return Posted(group.messages[command.message_id].message)
        case MakeChannel():
            return group.channels[command.channel_id]
        case PutMember():
            return _membership(command, group.members[command.channel_id, command.user_id])
        case EditMessage() | DeleteMessage():
            return group.messages[command.message_id]
        case RemoveMember() | MarkRead():
            return None
        case _:
            assert_never(command)


def _membership(command: PutMember, member: MemberState) -> Membership:
    return Membership(
        channel_id=command.channel_id, user_id=command.user_id, role=member.role, version=member.version
    )
