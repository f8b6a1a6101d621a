"""The search route over real stores: the index holds what the test has told it, nothing moves by itself."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import text

from backbone.database.tables import channel_members, channels
from backbone.settings import Settings
from tests.support.backend import Backend, running_backend
from tests.support.database import own_database
from tests.support.eventlog import dropped_topics
from tests.support.histories import Platform
from tests.support.search import dropped_indices


@dataclass
class SearchableBackend:
    """A backend, and the platform behind it, which indexes when it is told to."""

    backend: Backend
    behind: Platform

    async def index(self) -> None:
        """Tell the log what is stored, and the index what the log holds."""
        await self.backend.relay()
        await self.behind.index_everything()
        await self.behind.search.refresh()

    async def search(self, q: str = "", **parameters: str | int) -> httpx.Response:
        return await self.backend.client.get("/messages/search", params={"q": q, **parameters})

    async def found(self, q: str, **parameters: str | int) -> list[str]:
        answer = await self.search(q, **parameters)
        assert answer.status_code == 200, answer.text
        return [hit["_source"]["content"] for hit in answer.json()]


@asynccontextmanager
async def searchable_backend(settings: Settings, name: str) -> AsyncIterator[SearchableBackend]:
    """Run a backend on stores of its own, whose topics and index exist and are empty."""
    async with (
        own_database(settings, name) as own,
        dropped_topics(own),
        dropped_indices(own),
        running_backend(own) as backend,
    ):
        behind = Platform(backend.ports.eventlog, backend.ports.search)
        await behind.set_up()
        yield SearchableBackend(backend, behind)


async def make_private(searchable: SearchableBackend, channel_id: str, *members: str) -> None:
    """Turn the next writes to the channel into a private one's, with these members."""
    row = {"channel_id": channel_id, "name": channel_id, "private": True, "created_by": members[0],
           "created_at": 1, "last_sequence": 1, "last_event_at": 1}  # fmt: skip
    async with searchable.backend.ports.database.writing() as connection:
        await connection.execute(channels.insert(), [row])
        await connection.execute(
            channel_members.insert(),
            [{"channel_id": channel_id, "user_id": m, "role": "owner", "version": 1} for m in members],
        )


_NUMBERS = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)"
_CHANNELS = text(
    "INSERT INTO channels (channel_id, name, private, created_by, created_at, last_sequence, last_event_at) "
    f"{_NUMBERS} "
    "SELECT CAST(:prefix AS TEXT) || i, 'many', CAST(:private AS BOOLEAN), 'owner', 1, 1, 1 FROM n"
)
_MEMBERS = text(
    "INSERT INTO channel_members (channel_id, user_id, role, version) "
    f"{_NUMBERS} SELECT CAST(:prefix AS TEXT) || i, :user, 'member', 1 FROM n"
)


async def make_many(
    searchable: SearchableBackend, prefix: str, count: int, *, private: bool, members: Sequence[str] = ()
) -> None:
    """Make the channels `<prefix>0`, `<prefix>1` …, all with these members, within the database."""
    async with searchable.backend.ports.database.writing() as connection:
        numbered: dict[str, Any] = {"prefix": prefix, "count": count}
        await connection.execute(_CHANNELS, {**numbered, "private": private})
        for user in members:
            await connection.execute(_MEMBERS, {**numbered, "user": user})
