"""Who may do what: every access check of the backend, over a channel, the actor's role in it, and a message.

A public channel is read by everyone, and whoever reads it may post in it. A private one does not exist
for those outside: `backbone/access.py` says so, to the inbox too. Authors edit their own messages; authors
and owners delete; owners manage members and see what was deleted.
"""

from backbone.access import may_read, sees_deleted
from backend.domain.rejections import Forbidden, Gone, NotFound
from backend.domain.state import ChannelState, MessageRecord
from schemas.channels import Role
from schemas.messages import Message


def no_such_channel() -> NotFound:
    """Return the one refusal for channels that do not exist, and for those that do so for others only."""
    return NotFound("there is no such channel")


def no_such_message() -> NotFound:
    """Return the one refusal for messages that do not exist, and for those of others' channels."""
    return NotFound("there is no such message")


def require_channel(channel: ChannelState | None, role: Role | None) -> ChannelState:
    """Return the channel. Raises NotFound where there is none for the one who asks."""
    if channel is None or not may_read(channel.private, role):
        raise no_such_channel()
    return channel


def require_message(
    channel: ChannelState | None, record: MessageRecord | None, role: Role | None
) -> tuple[ChannelState, MessageRecord]:
    """Return the message, deleted or not, and its channel. Raises NotFound as `require_channel` does."""
    if channel is None or record is None or not may_read(channel.private, role):
        raise no_such_message()
    return channel, record


def require_may_edit(message: Message, actor_id: str) -> None:
    """Raises Forbidden for others than the author."""
    if message.author_id != actor_id:
        raise Forbidden("only its author may edit a message")


def require_may_delete(message: Message, actor_id: str, role: Role | None) -> None:
    """Raises Forbidden for others than the author and the channel's owners."""
    if message.author_id != actor_id and role != "owner":
        raise Forbidden("only its author or an owner of the channel may delete a message")


def require_may_put(
    actor_id: str, actor_role: Role | None, user_id: str, present: Role | None, wanted: Role
) -> None:
    """Raises Forbidden where the actor may not give the user the role; `present` is the one it has."""
    joins = present is None and wanted == "member"
    stays_or_steps_down = present is not None and wanted in (present, "member")
    if actor_role == "owner" or (actor_id == user_id and (joins or stays_or_steps_down)):
        return
    raise Forbidden("only an owner of the channel may add others or change roles")


def require_may_remove(actor_id: str, actor_role: Role | None, user_id: str) -> None:
    """Raises Forbidden for others than the user itself and the channel's owners."""
    if actor_id != user_id and actor_role != "owner":
        raise Forbidden("only an owner of the channel may remove others")


def require_may_see(deleted: bool, role: Role | None) -> None:
    """Raises Gone for a deleted message, where someone with this role may not see what it was."""
    if deleted and not sees_deleted(role):
        raise Gone("the message was deleted")
