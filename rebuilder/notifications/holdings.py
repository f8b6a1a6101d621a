"""What is known of some users' inboxes, from the live tables and the side ones: what `righted` decides by."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.tables import notified_messages
from backbone.eventlog import TopicPartition
from backbone.mailbox import NOTIFICATION
from backbone.muting import muted_by
from backbone.preferences import Wish, wishes_of
from rebuilder.notifications.evidence import counters_of, rows_of, sent_of
from rebuilder.notifications.inboxes import About, Entry, Holding, Wanted
from rebuilder.notifications.tables import touched

Wishes = Mapping[tuple[str, str], Wish]


@dataclass(frozen=True, slots=True)
class Horizon:
    """What can be judged: not what the notifier is `late` with, nor what a log lacks that is not `whole`."""

    late: Collection[str]
    whole: bool


async def late_messages(side: AsyncConnection, committed: Mapping[TopicPartition, int]) -> frozenset[str]:
    """Return the messages with events that the live notifier has yet to apply."""
    rows = await side.execute(select(touched))
    return frozenset(
        row.message_id
        for row in rows
        if row.at_offset >= committed.get(TopicPartition(row.topic, row.partition), 0)
    )


async def holdings_of(
    live: AsyncConnection, side: AsyncConnection, users: Collection[str], horizon: Horizon
) -> Mapping[str, Holding]:
    """Return what is known of the inboxes of these users."""
    counters = await counters_of(live, side, users)
    rows = await rows_of(live, users)
    sent = await sent_of(side, {user_id: began for user_id, (_, began) in counters.items()})
    rehearsed = await rows_of(side, users)
    deleted = await _deleted(side, {each.message_id for entries in rehearsed.values() for each in entries})
    every = [each for entries in (*sent.values(), *rehearsed.values()) for each in entries]
    wishes = await wishes_of(live, {(each.user_id, each.channel_id) for each in every})
    return {
        user_id: Holding(
            counter=counters[user_id][0],
            live=rows.get(user_id, ()),
            sent=[_explained(each, wishes) for each in sent.get(user_id, ())],
            wanted=_wanted(rehearsed.get(user_id, ()), wishes, deleted),
            late=horizon.late,
            whole=horizon.whole,
        )
        for user_id in users
    }


def _wanted(entries: Collection[Entry], wishes: Wishes, deleted: Collection[str]) -> Mapping[About, Wanted]:
    """Return what is to be there: what the rehearsal took back later is born without a text."""
    taken_back = {each.about for each in entries if each.kind != NOTIFICATION}
    found = {}
    for entry in entries:
        if entry.kind == NOTIFICATION:
            retracted = entry.retracted or entry.about in taken_back
            by = _muted_by(entry, wishes)
            wanted = replace(entry, retracted=retracted, muted=by is not None, muted_by=by)
            found[entry.about] = Wanted(wanted, for_good=entry.message_id in deleted)
    return found


def _muted_by(entry: Entry, wishes: Wishes) -> str | None:
    wish = wishes.get((entry.user_id, entry.channel_id), Wish())
    return muted_by(wish.level, wish.do_not_disturb, entry.reason, entry.created_at)


def _explained(entry: Entry, wishes: Wishes) -> Entry:
    """Return what was sent with the reason for which it was muted, which the log does not tell."""
    if not entry.muted:
        return entry
    return replace(entry, muted_by=_muted_by(entry, wishes) or "channel_level")


async def _deleted(side: AsyncConnection, message_ids: Collection[str]) -> frozenset[str]:
    columns = notified_messages.c
    found: set[str] = set()
    ids = sorted(message_ids)
    for start in range(0, len(ids), 1000):
        query = select(columns.message_id).where(
            columns.message_id.in_(ids[start : start + 1000]), columns.deleted
        )
        found.update(await side.scalars(query))
    return frozenset(found)
