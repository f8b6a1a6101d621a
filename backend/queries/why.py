"""Why a user was or was not told of a message: what the notifier stored, or what it goes by.

Guarantees: whoever asks for oneself learns nothing of a message that one may not read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.tables import channels, inbox, memberships, message_events, messages, notified_messages
from backbone.mailbox import NOTIFICATION
from backend.domain.access import no_such_message
from backend.queries.messages import require_message_row
from schemas.events import MessageCreated, MessagesEvent, MessageUpdated, decode_message_event
from schemas.messages import MENTION_CHANNEL
from schemas.notifications import Because, Reason, Why, WhyReason

_SENT_BECAUSE: dict[Reason, Because] = {"mention": "mentioned", "reply": "replied"}


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the answer follows from; `presence` is when the user came (True) and went, by sequence."""

    user_id: str
    author_id: str
    private: bool
    deleted: bool
    processed: bool
    events: Sequence[MessageCreated | MessageUpdated]
    presence: Sequence[tuple[int, bool]]
    thread: frozenset[str] | None

    def was_member(self, sequence: int) -> bool:
        """Say whether the user was in the channel when its event of this number came."""
        return next((present for at, present in reversed(self.presence) if at < sequence), False)

    def may_know(self, sequence: int) -> bool:
        """Say whether the user may be told of the event."""
        return not self.private or self.was_member(sequence)


async def explain(database: Database, message_id: str, user_id: str, *, for_another: bool = False) -> Why:
    """Say what became of each reason to tell the user of a message.

    Raises NotFound where there is no such message, or the user may not know of it, unless somebody who may
    act for the user asks `for_another`.
    """
    async with database.reading() as connection:
        if for_another:
            row = await _message(connection, message_id)
        else:
            row = await require_message_row(connection, message_id, user_id)
        stored = await _stored(connection, message_id, user_id)
        facts = await _facts(connection, row, user_id)
    reasons: tuple[Reason, ...] = ("mention", "reply")
    found = (_told(stored[each], facts) if each in stored else _untold(each, facts) for each in reasons)
    return Why(message_id=message_id, user_id=user_id, reasons=tuple(found))


def _told(row: RowMapping, facts: _Facts) -> WhyReason:
    """Say what became of a notification that is there."""
    reason: Reason = row["reason"]
    if row["retracted"] or facts.deleted:
        because: Because = "message_deleted" if facts.deleted else "mention_removed"
        return WhyReason(reason=reason, outcome="retracted", because=because, seq=row["seq"])
    if row["muted"]:
        return WhyReason(reason=reason, outcome="muted", because=row["muted_by"], seq=row["seq"])
    return WhyReason(reason=reason, outcome="sent", because=_SENT_BECAUSE[reason], seq=row["seq"])


def _untold(reason: Reason, facts: _Facts) -> WhyReason:
    """Say why there is no notification, or not yet."""
    because = _hindrance_of_mention(facts) if reason == "mention" else _hindrance_of_reply(facts)
    # Until the notifier has taken the message in, it may not have heard who was in the channel either.
    if because is None or (because == "not_a_member" and not facts.processed):
        return WhyReason(reason=reason, outcome="pending", because="not_yet_processed")
    return WhyReason(reason=reason, outcome="not_sent", because=because)


def _hindrance_of_mention(facts: _Facts) -> Because | None:
    named = [event for event in facts.events if facts.user_id in event.payload.mentions]
    to_all = [event for event in facts.events if MENTION_CHANNEL in event.payload.mentions]
    if not named and not to_all:
        return "not_mentioned"
    if facts.user_id == facts.author_id:
        return "own_message"
    reached = any(facts.may_know(event.sequence) for event in named)
    reached = reached or any(facts.was_member(event.sequence) for event in to_all)
    return None if reached else "not_a_member"


def _hindrance_of_reply(facts: _Facts) -> Because | None:
    if facts.thread is None:
        return "not_a_reply"
    if facts.user_id == facts.author_id:
        return "own_message"
    if facts.user_id not in facts.thread:
        return "not_in_the_thread"
    return None if facts.may_know(facts.events[0].sequence) else "not_a_member"


async def _message(connection: AsyncConnection, message_id: str) -> RowMapping:
    row = await connection.execute(select(messages).where(messages.c.message_id == message_id))
    if (found := row.mappings().one_or_none()) is None:
        raise no_such_message()
    return found


async def _stored(connection: AsyncConnection, message_id: str, user_id: str) -> dict[str, RowMapping]:
    columns = inbox.c
    query = select(inbox).where(
        columns.user_id == user_id, columns.message_id == message_id, columns.kind == NOTIFICATION
    )
    return {row["reason"]: row for row in (await connection.execute(query)).mappings()}


async def _facts(connection: AsyncConnection, row: RowMapping, user_id: str) -> _Facts:
    channel_id = row["channel_id"]
    private = select(channels.c.private).where(channels.c.channel_id == channel_id)
    presence = (
        select(memberships.c.sequence, memberships.c.present)
        .where(memberships.c.channel_id == channel_id, memberships.c.user_id == user_id)
        .order_by(memberships.c.sequence)
    )
    noted = notified_messages.c
    version = select(noted.version).where(noted.message_id == row["message_id"])
    columns = message_events.c
    bodies = select(columns.body).where(columns.message_id == row["message_id"]).order_by(columns.sequence)
    events: list[MessagesEvent] = [decode_message_event(body) for body in await connection.scalars(bodies)]
    return _Facts(
        user_id=user_id,
        author_id=row["author_id"],
        private=bool(await connection.scalar(private)),
        deleted=row["deleted_at"] is not None,
        processed=(await connection.scalar(version) or 0) >= row["version"],
        events=[event for event in events if isinstance(event, MessageCreated | MessageUpdated)],
        presence=[(at, present) for at, present in await connection.execute(presence)],
        thread=await _thread(connection, row),
    )


async def _thread(connection: AsyncConnection, row: RowMapping) -> frozenset[str] | None:
    """Return who wrote in the thread before the message, None where it is no reply."""
    parent_id: Any = row["parent_id"]
    if parent_id is None:
        return None
    columns = messages.c
    of_thread = (columns.message_id == parent_id) | (columns.parent_id == parent_id)
    query = select(columns.author_id).where(of_thread, columns.sequence < row["sequence"])
    return frozenset(await connection.scalars(query))
