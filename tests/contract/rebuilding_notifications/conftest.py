"""A backend and a notifier whose inboxes are lost and rebuilt, on the files and on the servers."""

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import Table, delete, select

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.database.tables import (
    followed_partitions,
    inbox,
    inbox_counters,
    memberships,
    notified_messages,
    thread_authors,
)
from backbone.eventlog import TopicPartition
from backbone.health import Health
from backbone.mailbox import Mailbox
from backbone.progress import Silent
from backbone.settings import Settings
from notifier.hub import Hub
from notifier.service import Notifier
from rebuilder.database.side import REHEARSAL, open_side
from rebuilder.notifications.rebuild import Rebuild, Ways
from rebuilder.notifications.report import NotificationsReport
from rebuilder.readers import Log
from schemas.topics import GROUP_NOTIFIER, STREAM_TOPICS
from tests.conftest import ADAPTERS
from tests.support.backend import Backend, make_topics, running_backend, user
from tests.support.database import own_database
from tests.support.eventlog import dropped_topics
from tests.support.relaying import drain
from tests.support.write_side import CHANNELS, USERS

PATIENCE_S = 60
GUESTS = tuple(f"guest{number}" for number in range(4))


MEMORY = (memberships, thread_authors, notified_messages, followed_partitions)
EVERYTHING = (inbox, inbox_counters, *MEMORY)
# When something was read is the mark's moment in what comes back; why it was muted is asked again.
LEFT_OUT = {"read_at", "muted_by"}

Rows = Mapping[str, Sequence[tuple[Any, ...]]]


async def rows_of(database: Database, tables: Collection[Table] = EVERYTHING) -> Rows:
    """Return the rows of tables, in order."""
    found = {}
    async with database.looking() as connection:
        for table in tables:
            columns = [column for column in table.c if column.name not in LEFT_OUT]
            rows = (await connection.execute(select(*columns))).all()
            found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found


async def lose(database: Database, *tables: Table) -> None:
    """Empty tables."""
    async with database.writing() as connection:
        for table in tables:
            await connection.execute(delete(table))


@pytest.fixture(params=ADAPTERS)
async def settings(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Settings]:
    chosen: Settings = request.getfixturevalue(f"{request.param}_settings")
    fast = replace(chosen, write_rate=100_000, write_burst=100_000)
    async with own_database(fast, unique) as own, dropped_topics(own):
        yield own


@dataclass
class Office:
    """People who write to each other, and the notifier that tells them."""

    backend: Backend
    notifier: Notifier
    chance: random.Random

    async def begin(self) -> None:
        """Make the channels; `비밀` is a private one."""
        for name in CHANNELS:
            body = {"channel_id": name, "name": name, "private": name == "비밀"}
            await self.backend.client.post("/channels", json=body, headers=user(USERS[0]))
        self.posted: list[tuple[str, str, str]] = []

    async def act(self, times: int) -> None:
        """Do so many things: post, reply, edit, delete, come and go."""
        acts = (self.post, self.post, self.post, self.reply, self.edit, self.delete, self.join)
        for _ in range(times):
            await self.chance.choice(acts)()

    def mentions(self) -> list[str]:
        """Return whom to mention by chance."""
        some = self.chance.sample((*USERS, *GUESTS), self.chance.randrange(3))
        return [*some, "@channel"] if self.chance.random() < 0.2 else some

    async def post(self, parent_id: str | None = None, channel: str | None = None) -> None:
        author = self.chance.choice(USERS)
        body = {
            "channel_id": channel or self.chance.choice(CHANNELS),
            "content": f"배포 {self.chance.random()}",
            "mentions": self.mentions(),
            "parent_id": parent_id,
        }
        answer = await self.backend.client.post("/messages", json=body, headers=user(author))
        if answer.status_code == 201:
            self.posted.append((author, body["channel_id"], answer.json()["message_id"]))  # type: ignore[arg-type]

    async def reply(self) -> None:
        if self.posted:
            _, channel, message_id = self.chance.choice(self.posted)
            await self.post(message_id, channel)

    async def edit(self) -> None:
        if self.posted:
            author, _, message_id = self.chance.choice(self.posted)
            body = {"content": f"고침 {self.chance.random()}", "mentions": self.mentions()}
            await self.backend.client.patch(f"/messages/{message_id}", json=body, headers=user(author))

    async def delete(self) -> None:
        if self.posted and self.chance.random() < 0.5:
            author, _, message_id = self.chance.choice(self.posted)
            await self.backend.client.delete(f"/messages/{message_id}", headers=user(author))

    async def join(self) -> None:
        path = f"/channels/{self.chance.choice(CHANNELS)}/members/{self.chance.choice((*USERS[1:], *GUESTS))}"
        if self.chance.random() < 0.7:
            await self.backend.client.put(path, json={"role": "member"}, headers=user(USERS[0]))
        else:
            await self.backend.client.delete(path, headers=user(USERS[0]))

    async def read(self) -> None:
        """Have some read some of their inbox."""
        mailbox = Mailbox(self.backend.ports.database, SystemClock())
        for each in self.chance.sample((*USERS, *GUESTS), 4):
            standing = await mailbox.standing(each)
            if standing.latest_seq:
                await mailbox.mark_read(each, self.chance.randint(1, standing.latest_seq))

    async def notify(self, *, relayed: bool = True) -> None:
        """Tell the log, take it all into inboxes, and tell the log of these."""
        await self.backend.relay()
        async with asyncio.timeout(PATIENCE_S):
            # A step may find nothing while the group is still forming.
            while not await self._all_applied():
                await self.notifier.step()
        if relayed:
            await self.tell()

    async def _all_applied(self) -> bool:
        eventlog = self.backend.ports.eventlog
        states, committed = await eventlog.topics(), await eventlog.committed(GROUP_NOTIFIER, STREAM_TOPICS)
        return all(
            committed.get(TopicPartition(topic.name, number), 0) >= end
            for topic in STREAM_TOPICS
            for number, end in enumerate(states[topic.name].end)
        )

    async def tell(self) -> None:
        """Tell the log of notifications and of what was read."""
        ports = self.backend.ports
        await drain(ports.database, ports.eventlog, "notifications", self.backend.health)


@pytest.fixture
async def office(settings: Settings, request: pytest.FixtureRequest) -> AsyncIterator[Office]:
    """An office with a past, all of it told to the log."""
    async with running_backend(settings) as backend:
        await make_topics(backend, settings)
        ports = backend.ports
        notifier = Notifier(ports.eventlog, ports.database, SystemClock(), Health("database"), Hub())
        try:
            office = Office(backend, notifier, random.Random(request.node.name))
            await office.begin()
            for _ in range(3):
                await office.act(40)
                await office.notify()
                await office.read()
            await office.notify()
            yield office
        finally:
            await notifier.close()


async def rebuild(office: Office, ways: Ways | None = None, log: Log | None = None) -> NotificationsReport:
    """Rebuild the office's notifications."""
    ports = office.backend.ports
    async with open_side(ports.database, REHEARSAL) as side:
        work = Rebuild(log or ports.eventlog, ports.database, side, SystemClock(), ways or Ways(), Silent())
        return await work.run()
