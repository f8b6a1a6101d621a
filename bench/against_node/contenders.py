"""Those who are compared: how each one's processes are started, on stores of its own."""

import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from os import environ
from typing import Literal, Protocol

from backbone.settings import Settings
from bench.against_node.figures import MAEARI
from bench.against_node.questions import write_questions
from bench.against_node.variant import NO_RELAY, PLAIN_MATCH
from bench.npm import NodeFolder
from bench.server import (
    PROGRAM,
    RunningService,
    free_port,
    running_backend,
    running_indexer,
    running_notifier,
    running_program,
)

EXPRESS, FASTIFY = "express", "fastify"
# Connections of the guide's pool to PostgreSQL: 10, pg's default, gave less; 32 and 64 gave no more.
POOL_SIZE = 20


Question = Literal["own", "match", "maeari's"]
"""What a search asks Elasticsearch: what it always asks, one `match` of the content, or what maeari asks."""


class Contender(Protocol):
    """One of those who are compared."""

    @property
    def name(self) -> str: ...

    @property
    def stores(self) -> Settings: ...

    @property
    def table(self) -> str:
        """The table of its messages."""

    def backend(
        self, core: int | None, *, bus: bool = True, question: Question = "own"
    ) -> AbstractAsyncContextManager[RunningService]:
        """Run its backend; without `bus` no event is told."""

    def indexer(self, core: int | None) -> AbstractAsyncContextManager[RunningService]:
        """Run its indexer on the alias of the stores."""

    def notifier(self, core: int | None) -> AbstractAsyncContextManager[tuple[RunningService, int]]:
        """Run its notifier; yield it, and the port of its sockets."""


@dataclass(frozen=True)
class Maeari:
    """The product, as its users start it."""

    stores: Settings
    name: str = MAEARI
    table: str = "messages"

    @asynccontextmanager
    async def backend(
        self, core: int | None, *, bus: bool = True, question: Question = "own"
    ) -> AsyncIterator[RunningService]:
        """See Contender."""
        variant = PLAIN_MATCH if question == "match" else None if bus else NO_RELAY
        changed = (sys.executable, "-m", "bench.against_node.variant", variant) if variant else PROGRAM
        async with running_backend(self.stores, core, changed, WRITE_RATE=100_000, WRITE_BURST=100_000) as it:
            yield it

    def indexer(self, core: int | None) -> AbstractAsyncContextManager[RunningService]:
        """See Contender."""
        return running_indexer(self.stores, core)

    def notifier(self, core: int | None) -> AbstractAsyncContextManager[tuple[RunningService, int]]:
        """See Contender."""
        return running_notifier(self.stores, core)


@dataclass(frozen=True)
class Node:
    """The guide in Node.js, with express or with fastify."""

    name: str
    stores: Settings
    folder: NodeFolder
    table: str = "guide_messages"

    def backend(
        self, core: int | None, *, bus: bool = True, question: Question = "own"
    ) -> AbstractAsyncContextManager[RunningService]:
        """See Contender."""
        variables = {"HTTP": self.name, "EVENT_BUS": "on" if bus else "off"}
        if question == "maeari's":
            variables["QUESTIONS"] = str(write_questions(self.stores.data))
        return self._running("backend", core, **variables)

    def indexer(self, core: int | None) -> AbstractAsyncContextManager[RunningService]:
        """See Contender."""
        return self._running("indexer", core)

    @asynccontextmanager
    async def notifier(self, core: int | None) -> AsyncIterator[tuple[RunningService, int]]:
        """See Contender."""
        async with self._running("notifier", core) as notifier:
            yield notifier, notifier.port

    @asynccontextmanager
    async def _running(
        self, program: str, core: int | None, **variables: str
    ) -> AsyncIterator[RunningService]:
        port = free_port()
        own = self.environment(program, PORT=str(port), **variables)
        name = f"{program} in Node.js"
        log = self.stores.data / f"{program}.log"
        command = self.folder.command(f"{program}.js")
        async with running_program(name, command, own, port, log, core) as service:
            yield service

    def environment(self, program: str, **variables: str) -> dict[str, str]:
        """Return the environment of one of its programs; the group is of these stores alone."""
        stores = self.stores
        return {
            **environ,
            "NODE_ENV": "production",
            "DATABASE_URL": stores.database_url.replace("postgresql+asyncpg:", "postgresql:", 1),
            "KAFKA_BROKERS": stores.eventlog_url.removeprefix("kafka://"),
            "ELASTICSEARCH_URL": stores.search_url,
            "TOPIC_PREFIX": stores.topic_prefix,
            "SEARCH_ALIAS": stores.search_alias,
            "GROUP_ID": f"{stores.search_alias}-{program}",
            "POOL_SIZE": str(POOL_SIZE),
            **variables,
        }
