"""The writes to the inbox: what a batch of events changes, in one transaction with what is to be told of it.

Guarantees: `seq` is gapless per user, whoever else writes; rows become visible in the order of `seq`;
a batch that was applied before changes nothing. No event makes a transaction long: what concerns the many
is left to the announcements.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain

from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.clock import Clock
from backbone.database.engine import Database
from backbone.outbox import shards_of
from backbone.preferences import wishes_of
from notifier.announcements import announce, take_back
from notifier.audiences import EventKey, audiences_of, key_of
from notifier.changes import Changes, Stored
from notifier.projection import Audience, Decision, Known, Told, concerned, decide
from notifier.rows import AT_ONCE, keep_known, lock_counters, lock_messages, standing_of, told_of
from notifier.withdrawals import Case, withdrawn_of
from schemas.events import MessageDeleted, MessagesEvent
from schemas.notifications import NotificationData

_Lives = Mapping[str, Sequence[MessagesEvent]]
"""The events of each message."""


class Inbox:
    """Every user's inbox, as the events of messages fill it."""

    def __init__(self, database: Database, clock: Clock, changes: type[Changes] = Changes) -> None:
        self._database = database
        self._clock = clock
        self._changes = changes
        self._shards = 0

    async def apply(self, events: Sequence[MessagesEvent]) -> set[str]:
        """Apply the events, in any order, some of them perhaps again; return the users whose inbox grew.

        Raises Unavailable: then nothing, or everything, was stored, and the batch may be applied again.
        """
        lives = _by_message(events)
        if not lives:
            return set()
        self._shards = self._shards or await shards_of(self._database, "notifications")
        async with self._database.writing() as connection:
            changes = await self._decided(connection, lives)
            grown = await changes.store(connection)
        changes.count()
        return grown

    async def _decided(self, connection: AsyncConnection, lives: _Lives) -> Changes:
        """Decide what the events change, and store what is then known of the messages."""
        events = list(chain(*lives.values()))
        known = await lock_messages(connection, sorted(lives))
        audiences = await audiences_of(connection, events)
        told = await told_of(connection, _concerned(events, audiences))
        decisions = {
            message_id: decide(known[message_id], told[message_id], life, _of_life(life, audiences))
            for message_id, life in lives.items()
        }
        await keep_known(connection, known, decisions)
        changed = {each: decisions[each] for each in lives if decisions[each].known != known[each]}
        standing = await _standing(connection, lives, known, changed, self._clock.now_ms())
        withdrawn = await withdrawn_of(connection, _cases(lives, decisions, standing, audiences))
        retracted = {
            message_id: [each for each in stored if each.told in withdrawn[message_id]]
            for message_id, stored in standing.items()
        }
        users = {each.user_id for decision in decisions.values() for each in decision.notify}
        users |= {each.user_id for each in chain(*retracted.values())}
        changes = self._changes(await lock_counters(connection, users), self._clock, self._shards)
        wishes = await wishes_of(connection, _places(lives, decisions))
        for message_id, decision in decisions.items():
            data = NotificationData(message_id=message_id, channel_id=_channel(lives[message_id]))
            changes.retract_all(retracted.get(message_id, ()), data, even_read=decision.known.deleted)
            changes.notify_all(decision.notify, data, wishes, withdrawn[message_id])
            await announce(connection, data, decision.announce, changes.now_ms)
        return changes


async def _standing(
    connection: AsyncConnection,
    lives: _Lives,
    before: Mapping[str, Known],
    decisions: Mapping[str, Decision],
    now_ms: int,
) -> Mapping[str, Sequence[Stored]]:
    """Return what stands of each message that may take something back; where it is much, that is left."""
    found = {}
    for message_id, decision in decisions.items():
        if not decision.known.withdraws_any:
            continue
        standing = await standing_of(connection, message_id, limit=AT_ONCE + 1)
        if len(standing) > AT_ONCE:
            data = NotificationData(message_id=message_id, channel_id=_channel(lives[message_id]))
            life = lives[message_id]
            new = max(each.sequence for each in life if not before[message_id].applied(each.sequence))
            # One that is under way may have passed by those whom a later event concerns: each has its own.
            await take_back(connection, data, new, now_ms)
        else:
            found[message_id] = standing
    return found


def _cases(
    lives: _Lives,
    decisions: Mapping[str, Decision],
    standing: Mapping[str, Sequence[Stored]],
    audiences: Mapping[EventKey, Audience],
) -> Mapping[str, Case]:
    return {
        message_id: Case(
            decision.known,
            _channel(lives[message_id]),
            audiences[key_of(lives[message_id][0])].private,
            [
                *(new.told for new in decision.notify),
                *(stored.told for stored in standing.get(message_id, ())),
            ],
        )
        for message_id, decision in decisions.items()
    }


def _places(lives: _Lives, decisions: Mapping[str, Decision]) -> set[tuple[str, str]]:
    """Return who is told of something in which channel."""
    return {
        (new.user_id, _channel(lives[message_id]))
        for message_id, decision in decisions.items()
        for new in decision.notify
    }


def _by_message(events: Sequence[MessagesEvent]) -> _Lives:
    """Return the events of each message, the messages by the time of their first event here."""
    lives: defaultdict[str, list[MessagesEvent]] = defaultdict(list)
    for event in sorted(events, key=lambda event: (event.timestamp, event.sequence)):
        lives[event.payload.message_id].append(event)
    return lives


def _of_life(life: Sequence[MessagesEvent], audiences: Mapping[EventKey, Audience]) -> Mapping[int, Audience]:
    return {event.sequence: audiences[key_of(event)] for event in life}


def _concerned(
    events: Sequence[MessagesEvent], audiences: Mapping[EventKey, Audience]
) -> set[tuple[str, Told]]:
    return {
        (event.payload.message_id, Told(user_id, reason))
        for event in events
        if not isinstance(event, MessageDeleted)
        for reason, users in concerned(event, audiences[key_of(event)].thread).items()
        for user_id in users
    }


def _channel(life: Sequence[MessagesEvent]) -> str:
    return life[0].payload.channel_id
