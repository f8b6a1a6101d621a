"""The rows of one transaction: entries of inboxes, and the events in the outbox that tell of them.

Guarantees: numbers are given in the order of the calls, gapless per user from the locked counter on;
the outbox holds a user's events in the order of `seq`.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Column, bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.clock import Clock
from backbone.database.rows import RowsStatement, insert_rows, write_together
from backbone.database.tables import inbox, inbox_counters, outbox
from backbone.mailbox import NOTIFICATION, RETRACTED
from backbone.muting import muted_by
from backbone.outbox import outbox_row
from backbone.preferences import Wish
from notifier.metrics import ENTRIES_WRITTEN
from notifier.projection import NewNotification, Told
from schemas.clock import format_ms
from schemas.events import NotificationRetracted, NotificationSent
from schemas.notifications import TITLES, Notification, NotificationData, Reason
from schemas.preferences import MutedBy


@dataclass(frozen=True, slots=True)
class Stored:
    """A notification as it stands in its user's inbox."""

    user_id: str
    reason: Reason
    seq: int
    notification_id: str
    created_at: int
    muted: bool
    retracted: bool

    @property
    def told(self) -> Told:
        """Return who was told, and why."""
        return Told(self.user_id, self.reason)


@dataclass(frozen=True, slots=True)
class Counter:
    """A user's counter, locked: the last number given, and the last one read."""

    last_seq: int
    read_up_to: int


class Changes:
    """The rows of one transaction, collected; numbers are given in the order of the calls."""

    def __init__(self, counters: Mapping[str, Counter], clock: Clock, shards: int) -> None:
        self._clock = clock
        self._shards = shards
        self._counters = counters
        self._last_seq = {user_id: counter.last_seq for user_id, counter in counters.items()}
        self.now_ms = clock.now_ms()
        self.entries: list[dict[str, Any]] = []
        self.outbox: list[Mapping[str, object]] = []
        self.emptied: list[dict[str, Any]] = []

    def notify_all(
        self,
        news: Iterable[NewNotification],
        data: NotificationData,
        wishes: Mapping[tuple[str, str], Wish],
        withdrawn: Container[Told],
    ) -> None:
        """Add notifications of a message, some `withdrawn`, muted where (user, channel) wishes that."""
        for new in news:
            wish = wishes.get((new.user_id, data.channel_id), Wish())
            muted = muted_by(wish.level, wish.do_not_disturb, new.reason, new.happened_at)
            self._notify(new, data, muted, retracted=new.told in withdrawn)

    def _notify(
        self, new: NewNotification, data: NotificationData, muted: MutedBy | None, *, retracted: bool
    ) -> None:
        """Add a notification; one that is born retracted keeps its place without a text."""
        self._add(
            NOTIFICATION,
            Notification(
                notification_id=self._clock.new_id("ntf_"),
                user_id=new.user_id,
                reason=new.reason,
                title=None if retracted else TITLES[new.reason],
                body=None if retracted else new.content,
                data=data,
                created_at=format_ms(self._dated(new.happened_at)),
                muted=muted is not None,
                retracted=True if retracted else msgspec.UNSET,
            ),
            muted,
            new.happened_at,
        )

    def retract_all(self, withdrawn: Iterable[Stored], data: NotificationData, *, even_read: bool) -> None:
        """Take notifications of a message back, those that were read only where `even_read`."""
        for stored in withdrawn:
            if even_read or stored.seq > self._counters[stored.user_id].read_up_to:
                self._retract(stored, data)

    def _retract(self, stored: Stored, data: NotificationData) -> None:
        """Take a notification back: its text goes, and the retraction takes a number of its own."""
        self.emptied.append({"of_user": stored.user_id, "of_seq": stored.seq})
        self._add(
            RETRACTED,
            Notification(
                notification_id=stored.notification_id,
                user_id=stored.user_id,
                reason=stored.reason,
                title=None,
                body=None,
                data=data,
                created_at=format_ms(stored.created_at),
                muted=stored.muted,
                retracted=True,
            ),
        )

    def _add(
        self,
        kind: str,
        notification: Notification,
        muted: MutedBy | None = None,
        happened_at: int | None = None,
    ) -> None:
        user_id = notification.user_id
        made_at = self.now_ms if happened_at is None else self._dated(happened_at)
        seq = self._last_seq[user_id] = self._last_seq[user_id] + 1
        self.entries.append(
            {
                "user_id": user_id,
                "seq": seq,
                "kind": kind,
                "notification_id": notification.notification_id,
                "message_id": notification.data.message_id,
                "channel_id": notification.data.channel_id,
                "reason": notification.reason,
                "title": notification.title,
                "body": notification.body,
                "created_at": made_at,
                "retracted": notification.retracted is True,
                "muted": notification.muted,
                "muted_by": muted,
            }
        )
        self._tell(NotificationSent if kind == NOTIFICATION else NotificationRetracted, seq, notification)

    def _tell(
        self, kind: type[NotificationSent | NotificationRetracted], seq: int, notification: Notification
    ) -> None:
        event = kind(
            event_id=self._clock.new_id("evt_"), timestamp=self.now_ms, seq=seq, payload=notification
        )
        self.outbox.append(outbox_row("notifications", self._shards, notification.user_id, event))

    def _dated(self, happened_at: int) -> int:
        """Return when a notification of what happened then was made, in epoch ms: now."""
        return self.now_ms

    async def store(self, connection: AsyncConnection) -> set[str]:
        """Write all rows; return the users whose inbox grew."""
        if not self.entries:
            return set()
        users = {entry["user_id"] for entry in self.entries}
        if self.emptied:
            await connection.execute(_EMPTY_TEXT, self.emptied)
        await write_together(
            connection,
            [
                (_INSERT_ENTRIES, [_values(_ENTRY, entry) for entry in self.entries]),
                (_INSERT_OUTBOX, [_values(_OUTBOX, row) for row in self.outbox]),
                (_RAISE_COUNTERS, [(user, self._last_seq[user]) for user in sorted(users)]),
            ],
        )
        return users

    def count(self) -> None:
        """Count what was stored, once it was."""
        for entry in self.entries:
            ENTRIES_WRITTEN.labels(entry["kind"]).inc()


def _values(columns: Sequence[Column[Any]], row: Mapping[str, Any]) -> list[Any]:
    return [row[column.name] for column in columns]


_ENTRY = tuple(column for column in inbox.c if column.name != "read_at")
_INSERT_ENTRIES = insert_rows(inbox, _ENTRY)
_OUTBOX = tuple(column for column in outbox.c if column.name not in ("position", "record_key"))
_INSERT_OUTBOX = insert_rows(outbox, _OUTBOX)
_EMPTY_TEXT = (
    update(inbox)
    .where(inbox.c.user_id == bindparam("of_user"), inbox.c.seq == bindparam("of_seq"))
    .values(title=None, body=None, retracted=True)
)
_RAISE_COUNTERS = RowsStatement(
    (inbox_counters.c.user_id, inbox_counters.c.last_seq),
    "UPDATE inbox_counters SET last_seq = given.last_seq FROM {given}"
    " WHERE inbox_counters.user_id = given.user_id",
)
