"""Every user's inbox beside what the log says of it: who differs, and one digest of each side."""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec
from sqlalchemy import select

from backbone.database.engine import Database
from backbone.database.tables import inbox, inbox_counters
from backbone.mailbox import NOTIFICATION
from rebuilder.database.side import Side
from rebuilder.notifications.holdings import Horizon, holdings_of
from rebuilder.notifications.inboxes import About, Holding, Righted, righted

USERS_AT_ONCE = 200
_HASH_BYTES = 16


@dataclass
class Tally:
    """What a comparison counted; `sums` are of the hashes of all (user, message, reason, retracted)."""

    users: int = 0
    notifications: int = 0
    retracted: int = 0
    read_before: int = 0
    differing: int = 0
    sums: dict[str, int] = field(default_factory=lambda: {"log": 0, "inboxes": 0})

    def count(self, user_id: str, holding: Holding) -> None:
        """Count a user in."""
        self.users += bool(holding.wanted)
        told = {each.about for each in holding.live if each.kind != NOTIFICATION}
        live = {
            each.about: each.retracted or each.about in told
            for each in holding.live
            if each.kind == NOTIFICATION
        }
        numbers = {each.about: each.seq for each in holding.live if each.kind == NOTIFICATION}
        for about, wanted in holding.wanted.items():
            if about.message_id in holding.late:
                continue
            self.notifications += 1
            retracted = wanted.entry.retracted
            self.retracted += retracted
            stands = live.get(about) is False and numbers[about] <= holding.counter.read_up_to
            if retracted and stands and not wanted.for_good:
                # Read before it was edited away: it stands, and rightly.
                self.read_before += 1
                retracted = False
            self._add("log", user_id, about, retracted)
        for about, retracted in live.items():
            judged = holding.whole or about in holding.wanted
            if judged and about.message_id not in holding.late:
                self._add("inboxes", user_id, about, retracted)

    def digests(self) -> dict[str, str]:
        """Return both digests as text."""
        return {name: f"{number:0{2 * _HASH_BYTES}x}" for name, number in self.sums.items()}

    def _add(self, name: str, user_id: str, about: About, retracted: bool) -> None:
        text = msgspec.json.encode((user_id, *about, retracted))
        hashed = int.from_bytes(blake2b(text, digest_size=_HASH_BYTES).digest())
        self.sums[name] = (self.sums[name] + hashed) % (1 << (8 * _HASH_BYTES))


async def differing(
    live: Database, side: Side, horizon: Horizon, tally: Tally
) -> AsyncIterator[Mapping[str, Righted]]:
    """Yield what is to become of the inboxes that differ, some users at a time; all are counted."""
    async for users in _every_user(live, side):
        async with live.looking() as of_live, side.database.looking() as of_side:
            holdings = await holdings_of(of_live, of_side, users, horizon)
        found = {}
        for user_id, holding in holdings.items():
            tally.count(user_id, holding)
            right = righted(holding)
            if not right.nothing:
                found[user_id] = right
        tally.differing += len(found)
        if found:
            yield found


async def _every_user(live: Database, side: Side) -> AsyncIterator[list[str]]:
    """Yield the users that either store knows, each once."""
    async for users in _users(side.database):
        yield users
    async for users in _users(live):
        if others := await _unknown(side.database, users):
            yield others
    lost = select(inbox.c.user_id).distinct().where(inbox.c.user_id.not_in(select(inbox_counters.c.user_id)))
    async with live.looking() as connection:
        without = list(await connection.scalars(lost))
    for start in range(0, len(without), USERS_AT_ONCE):
        if others := await _unknown(side.database, without[start : start + USERS_AT_ONCE]):
            yield others


async def _users(database: Database) -> AsyncIterator[list[str]]:
    columns, after = inbox_counters.c, ""
    while True:
        query = select(columns.user_id).where(columns.user_id > after).order_by(columns.user_id)
        async with database.looking() as connection:
            users = list(await connection.scalars(query.limit(USERS_AT_ONCE)))
        if not users:
            return
        yield users
        after = users[-1]


async def _unknown(database: Database, users: Iterable[str]) -> list[str]:
    columns = inbox_counters.c
    async with database.looking() as connection:
        known = set(await connection.scalars(select(columns.user_id).where(columns.user_id.in_(list(users)))))
    return [each for each in users if each not in known]
