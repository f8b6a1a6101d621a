"""The backend over real stores, in this process: an HTTP client, and the relay to be stepped by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx

from backbone.clock import SystemClock
from backbone.database.migrations import migrate
from backbone.eventlog import Record
from backbone.health import Health
from backbone.settings import Settings
from backbone.wiring import Ports, open_ports
from backend.api.app import create_app
from backend.commands.executor import CommandExecutor
from backend.limits import WriteLimit
from schemas.topics import ALL_TOPICS, Topic
from tests.support.eventlog import read_all
from tests.support.relaying import drain


@dataclass
class Backend:
    """A running API; `client` speaks to it."""

    ports: Ports
    executor: CommandExecutor
    client: httpx.AsyncClient
    health: Health = field(default_factory=lambda: Health("database"))

    async def post(self, channel: str, author: str, content: str, **more: Any) -> dict[str, Any]:
        """Post a message that must be taken; return it."""
        body = {"channel_id": channel, "author_id": author, "content": content, **more}
        answer = await self.client.post("/messages", json=body)
        assert answer.status_code == 201, answer.text
        message: dict[str, Any] = answer.json()
        return message

    async def relay(self) -> int:
        """Tell the log everything that the outbox holds; return how many events that were."""
        return await drain(self.ports.database, self.ports.eventlog, "messages", self.health)

    async def told(self, *topics: Topic) -> list[Record]:
        """Return what the log holds in the topics."""
        return await read_all(self.ports.eventlog, *topics)


@asynccontextmanager
async def running_backend(settings: Settings, limit: WriteLimit | None = None) -> AsyncIterator[Backend]:
    """Migrate, open the ports and serve the app to an HTTP client, without a socket."""
    if limit is None:
        limit = WriteLimit(settings.write_rate, settings.write_burst)
    async with open_ports(settings) as ports:
        await migrate(ports.database)
        clock = SystemClock()
        executor = CommandExecutor(ports.database, clock, lambda command: limit.take(command.actor_id))
        health = Health("database")
        app = create_app(executor, ports.database, ports.search, clock, health, settings, limit)
        transport = httpx.ASGITransport(app=cast(Any, app), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield Backend(ports, executor, client, health)
        await executor.close()


async def make_topics(backend: Backend, settings: Settings) -> None:
    """Make all topics under the test's own prefix."""
    await backend.ports.eventlog.apply_topics(ALL_TOPICS, settings.partitions)


def user(user_id: str, **headers: str) -> dict[bytes, bytes]:
    """Return the headers of a request by `user_id`, in the bytes that a client would send."""
    return {name.encode(): value.encode() for name, value in {"X-User-Id": user_id, **headers}.items()}
