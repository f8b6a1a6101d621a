"""Where one test does its harm: the platform under load, then repaired, settled and judged."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import ParamSpec, TypeVar

from backbone.errors import Unavailable
from backbone.eventlog import TopicPartition
from backbone.outbox import shards_of
from backbone.wiring import Ports as Stores
from backbone.wiring import open_ports
from schemas.topics import GROUP_INDEXER, GROUP_NOTIFIER, MESSAGES_CREATED, MESSAGES_STATE, STREAM_TOPICS
from tests.faults import oracle
from tests.faults.cluster import Brokers
from tests.faults.ledger import Entry, Ledger
from tests.faults.load import Load, loading
from tests.faults.oracle import Told
from tests.faults.platform import CONSUMERS, Member, Platform
from tests.support.waiting import until

ROUNDS = int(os.environ.get("MAEARI_FAULT_ROUNDS", "1"))
"""How often each test does its harm: once in `make test`, more often in `make faults`."""
A_ROUND_WITHIN_S = 240.0
"""Twice what the longest may take on a machine of two cores that does nothing else."""
SETTLED_WITHIN_S = 30.0
GROUPS = (GROUP_INDEXER, GROUP_NOTIFIER)
SHARDS_METRIC = "maeari_relay_shards"
T = TypeVar("T")
P = ParamSpec("P")
Figures = dict[str, str]


@dataclass
class Book:
    """All that was ever asked of the platform, for its log is one; and what each test had to tell."""

    entries: list[Entry] = field(default_factory=list)
    events: int = 0
    duplicates: int = 0
    figures: dict[str, Figures] = field(default_factory=dict)


class Arena:
    """The platform during one test; `told` is what the log held when all was over."""

    def __init__(self, name: str, platform: Platform, stores: Stores, book: Book) -> None:
        self.platform = platform
        self.servers = platform.servers
        self.stores = stores
        self.brokers = Brokers(platform.settings)
        self.told: Told | None = None
        self._name = name
        self._book = book
        self._notes = book.figures.setdefault(name, {})

    @asynccontextmanager
    async def under_load(self, *more_backends: str) -> AsyncIterator[Load]:
        """Keep all backends busy during the block; then everything is repaired, and the oracle asked."""
        began_s = monotonic()
        ledger = Ledger()
        urls = [backend.url for backend in self.platform.backends]
        try:
            async with loading(self._name, [*urls, *more_backends], ledger) as load:
                await load.more_acknowledged(20)
                yield load
                await load.more_acknowledged(20)
        finally:
            self._book.entries += ledger.entries
            await apart(self.platform.repair)
        await self._judge(ledger)
        self.note(took_s=monotonic() - began_s)
        print(line_of(self._name, self._notes))

    async def ends(self) -> dict[TopicPartition, int]:
        """Return where the topics of events and states end now, for a committed read."""
        states = await self.stores.eventlog.topics()
        return {
            TopicPartition(topic.name, number): end
            for topic in (*STREAM_TOPICS, MESSAGES_STATE)
            for number, end in enumerate(states[topic.name].end)
        }

    async def more_told(self, within_s: float = 40.0) -> None:
        """Wait until new events have come to each partition of the topic that most of them go to."""
        before = (await self.stores.eventlog.topics())[MESSAGES_CREATED.name].end
        silent: list[int] = []

        async def everywhere() -> bool:
            now = (await self.stores.eventlog.topics())[MESSAGES_CREATED.name].end
            silent[:] = [number for number, was in enumerate(before) if now[number] == was]
            return not silent

        try:
            await self.holds(everywhere, within_s)
        except TimeoutError:
            raise AssertionError(f"partitions without new events after {within_s:.0f} s: {silent}") from None

    async def shared(self, within_s: float = 30.0) -> None:
        """Wait until every group has all its members, and each of them its part of the partitions."""

        seen: dict[str, list[int]] = {}

        async def each_has_some() -> bool:
            for group in GROUPS:
                parts = await self.brokers.members(group)
                seen[group] = [len(part) for part in parts]
                if len(parts) != CONSUMERS or not all(parts):
                    return False
                assert len(frozenset().union(*parts)) == sum(map(len, parts)), f"{group}: read twice"
            return True

        try:
            await self.holds(each_has_some, within_s)
        except TimeoutError:
            raise AssertionError(f"the partitions of the members after {within_s:.0f} s: {seen}") from None

    async def shards(self) -> int:
        """Return how many shards the outbox of events has."""
        return await shards_of(self.stores.database, "messages")

    async def owns(self, backend: Member, shards: int) -> None:
        """Wait until a backend relays so many shards."""

        async def all_of_them() -> bool:
            return await apart(backend.metric, SHARDS_METRIC) == shards

        await self.holds(all_of_them, 20)

    async def shards_spread(self) -> int:
        """Wait until every shard has an owner, and every backend some shards; return how many there are."""
        total = await self.shards()

        async def spread() -> bool:
            owned = [await apart(backend.metric, SHARDS_METRIC) for backend in self.platform.backends]
            return sum(owned) == total and all(owned)

        await self.holds(spread, 20)
        return total

    async def holds(self, condition: Callable[[], Awaitable[bool]], within_s: float) -> None:
        """Wait until the condition holds; while a store does not answer, it does not."""

        async def attempt() -> bool:
            try:
                return await condition()
            except Unavailable:
                return False

        await until(attempt, within_s, every_s=0.2)

    def note(self, **figures: str | float) -> None:
        """Add what this test has to tell."""
        for name, value in figures.items():
            self._notes[name] = f"{value:.1f}" if isinstance(value, float) else str(value)

    async def _judge(self, ledger: Ledger) -> None:
        caught_up_s = await oracle.settled(self.stores, SETTLED_WITHIN_S)
        await self.holds(self.brokers.in_sync, SETTLED_WITHIN_S)
        told = self.told = await oracle.check(self.stores, self._book.entries)
        events = len(told.events) - told.duplicates
        self._notes |= {
            "acknowledged": str(ledger.acknowledged),
            "unknown": str(ledger.unknown),
            "events": str(events - self._book.events),
            "duplicates": str(told.duplicates - self._book.duplicates),
            "stall_s": f"{ledger.longest_stall_s:.1f}",
            "caught_up_s": f"{caught_up_s:.1f}",
        }
        self._book.events, self._book.duplicates = events, told.duplicates


async def apart(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Do work that blocks while the load goes on."""
    return await asyncio.to_thread(work, *arguments, **named)


def table(book: Book) -> Sequence[str]:
    """Return a line for each test."""
    return [line_of(name, figures) for name, figures in book.figures.items()]


@asynccontextmanager
async def arena_of(name: str, platform: Platform, book: Book) -> AsyncIterator[Arena]:
    """Open the stores for one test, past the platform."""
    async with open_ports(platform.settings) as stores:
        yield Arena(name, platform, stores, book)


def line_of(name: str, figures: Mapping[str, object]) -> str:
    return f"{name}: " + ", ".join(f"{key} {value}" for key, value in figures.items())
