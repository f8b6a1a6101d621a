"""The decisions: a command and its situation in, events out, or Rejected.

Events take the channel's next sequences. Their time is never before the channel's last event, and
at least 1 ms after the message's own last one. No events means: it already is as asked.
"""

from collections.abc import Sequence
from typing import assert_never

from backend.domain.channels import make_channel, put_member, remove_member
from backend.domain.commands import (
    DeleteMessage,
    EditMessage,
    EventfulCommand,
    MakeChannel,
    PostMessage,
    PutMember,
    RemoveMember,
)
from backend.domain.messages import delete_message, edit_message, post_message
from backend.domain.state import Situation
from schemas.events import StreamEvent


def decide(command: EventfulCommand, situation: Situation, now_ms: int) -> Sequence[StreamEvent]:
    """Return the events that carry the command out. Raises Rejected."""
    match command:
        case PostMessage():
            return post_message(command, situation, now_ms)
        case EditMessage():
            return edit_message(command, situation, now_ms)
        case DeleteMessage():
            return delete_message(command, situation, now_ms)
        case MakeChannel():
            return make_channel(command, situation, now_ms)
        case PutMember():
            return put_member(command, situation, now_ms)
        case RemoveMember():
            return remove_member(command, situation, now_ms)
        case _:
            assert_never(command)
