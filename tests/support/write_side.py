"""A backend whose users do what they do by chance, and the tables that it leaves."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, text

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.preferences import PreferenceBook
from rebuilder.database.tables import REBUILT
from tests.support.backend import Backend, user

USERS = ("지훈", "bora", "alex", "mina")
CHANNELS = ("일반", "ops", "비밀")


@dataclass
class Users:
    """Users who write, edit, delete, come and go by chance."""

    backend: Backend
    chance: random.Random
    posted: list[tuple[str, str]] = field(default_factory=list)
    keys: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def begin(self) -> None:
        """Make the channels; `비밀` is a private one."""
        for name in CHANNELS:
            body = {"channel_id": name, "name": name, "private": name == "비밀"}
            await self.backend.client.post("/channels", json=body, headers=user(USERS[0]))

    async def act(self, times: int) -> None:
        """Do so many things."""
        for _ in range(times):
            await self.chance.choice(
                (self.post, self.post, self.post, self.edit, self.delete, self.join, self.wish)
            )()

    async def post(self) -> None:
        author, channel = self.chance.choice(USERS), self.chance.choice(CHANNELS)
        body: dict[str, Any] = {
            "channel_id": channel,
            "content": f"배포 {self.chance.random()}",
            "mentions": self.chance.sample(USERS, self.chance.randrange(3)),
        }
        if self.chance.random() < 0.3:
            body["attachments"] = [{"name": "log.txt", "url": "https://files.example/1", "size_bytes": 4}]
        headers = user(author)
        if self.chance.random() < 0.5:
            headers |= {b"Idempotency-Key": f"k{self.chance.random()}".encode()}
        answer = await self.backend.client.post("/messages", json=body, headers=headers)
        if answer.status_code == 201:
            self.posted.append((author, answer.json()["message_id"]))

    async def edit(self) -> None:
        if self.posted:
            author, message_id = self.chance.choice(self.posted)
            body = {"content": f"고침 {self.chance.random()}", "mentions": ["alex"]}
            await self.backend.client.patch(f"/messages/{message_id}", json=body, headers=user(author))

    async def delete(self) -> None:
        if self.posted and self.chance.random() < 0.5:
            author, message_id = self.chance.choice(self.posted)
            await self.backend.client.delete(f"/messages/{message_id}", headers=user(author))

    async def join(self) -> None:
        path = f"/channels/{self.chance.choice(CHANNELS)}/members/{self.chance.choice(USERS[1:])}"
        if self.chance.random() < 0.7:
            role = self.chance.choice(("member", "owner"))
            await self.backend.client.put(path, json={"role": role}, headers=user(USERS[0]))
        else:
            await self.backend.client.delete(path, headers=user(USERS[0]))

    async def wish(self) -> None:
        book = PreferenceBook(self.backend.ports.database, SystemClock())
        level = self.chance.choice(("all", "mentions", "nothing"))
        await book.set_level(self.chance.choice(USERS), self.chance.choice(CHANNELS), level)  # type: ignore[arg-type]

    async def tell(self) -> None:
        """Tell the log everything, of users, too."""
        from tests.support.relaying import drain  # noqa: PLC0415

        await self.backend.relay()
        ports = self.backend.ports
        await drain(ports.database, ports.eventlog, "notifications", self.backend.health)


async def tables_of(database: Database) -> dict[str, Sequence[tuple[Any, ...]]]:
    """Return the rows of every table that a rebuild makes, in order."""
    found: dict[str, Sequence[tuple[Any, ...]]] = {}
    async with database.looking() as connection:
        for table in REBUILT:
            rows = (await connection.execute(select(table))).all()
            found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found


async def lose(database: Database) -> None:
    """Empty every table of the write side, as a database that was lost and migrated anew."""
    async with database.writing() as connection:
        for name in ("channel_reads", "outbox", *(table.name for table in reversed(REBUILT))):
            await connection.execute(text(f"DELETE FROM {name}"))
