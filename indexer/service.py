"""The indexer's work: message events from the log into the search index, in bulk.

Guarantees: offsets are committed after the index took the batch; of a message only the newest version
of a batch is sent, and the index keeps the newest of all; an event that cannot be indexed is refused,
with its reason.
"""

import asyncio
from collections.abc import Sequence

import structlog

from backbone.clock import Clock
from backbone.errors import Unavailable
from backbone.eventlog import EventLog, Record
from backbone.eventlog.applying import Refusal, Taken
from backbone.eventlog.batches import BatchLimits
from backbone.eventlog.consumer import ConsumingLoop
from backbone.eventlog.events import read_message_event
from backbone.health import Health, keep_asking
from backbone.search import DEPENDENCY, SearchIndex
from indexer.projection import document_of_event
from indexer.purging import Purge
from schemas.documents import IndexedDocument
from schemas.events import MessagesEvent
from schemas.topics import GROUP_INDEXER, MESSAGE_TOPICS

TOPICS = MESSAGE_TOPICS
# Several bulk requests of the index, which are on their way at once; the bytes are bounded as ever.
LIMITS = BatchLimits(records=2_000)
ASK_EVERY_S = 5.0

log = structlog.get_logger()
Versions = list[tuple[Record, IndexedDocument]]


class Indexer:
    """One member of the group `search-indexer`."""

    def __init__(
        self,
        eventlog: EventLog,
        search: SearchIndex,
        health: Health,
        instance: str | None = None,
        group: str = GROUP_INDEXER,
    ) -> None:
        """`group` is another one for measurements, which take no part in the work of the real one."""
        self._search = search
        self._health = health
        self._loop = ConsumingLoop(
            eventlog,
            group,
            TOPICS,
            read_message_event,
            self.handle,
            health,
            limits=LIMITS,
            instance=instance,
        )

    async def handle(self, batch: Sequence[Taken[MessagesEvent]]) -> Sequence[Refusal]:
        """Apply a batch of events; return those that can never be. Raises Unavailable."""
        messages: dict[str, Versions] = {}
        for record, event in batch:
            indexed = document_of_event(event)
            messages.setdefault(indexed.message_id, []).append((record, indexed))
        return await self._put_newest(messages)

    async def step(self) -> int:
        """Take one batch from the log to the index; return how many records it had."""
        return await self._loop.step()

    async def run(self, stop: asyncio.Event) -> None:
        """Take batch after batch until `stop` is set."""
        await self._loop.run(stop)

    async def close(self) -> None:
        """Leave the group."""
        await self._loop.close()

    async def _put_newest(self, messages: dict[str, Versions]) -> list[Refusal]:
        """Store the newest version of each message, or the newest that the index takes."""
        refusals: list[Refusal] = []
        for versions in messages.values():
            versions.sort(key=lambda version: version[1].document.version)
        while messages:
            newest = {message_id: versions.pop() for message_id, versions in messages.items()}
            failures = await self._search.put([indexed for _, indexed in newest.values()])
            self._health.up(DEPENDENCY)
            refusals += [
                Refusal(newest[failure.message_id][0], f"the index refuses it: {failure.reason}")
                for failure in failures
            ]
            refused = {failure.message_id for failure in failures}
            messages = {key: versions for key, versions in messages.items() if key in refused and versions}
        return refusals


async def ask(search: SearchIndex) -> None:
    """Ask the index something small, and see to it that nobody dead holds up the next write."""
    await search.exists()
    await search.look_after_writes()


async def warn_of_an_empty_index(eventlog: EventLog, search: SearchIndex) -> None:
    """Say so when the index holds nothing of what the group has read: only a rebuild brings it back."""
    try:
        committed = await eventlog.committed(GROUP_INDEXER, TOPICS)
        if not any(committed.values()):
            return
        async for _ in search.scan():
            return
    except Unavailable:
        return  # the loop will tell
    log.warning("search_index_is_empty", remedy="maeari rebuild search")


async def serve(
    eventlog: EventLog,
    search: SearchIndex,
    clock: Clock,
    health: Health,
    stop: asyncio.Event,
    instance: str | None = None,
) -> None:
    """Index and purge until `stop` is set; the topics, the index and its alias exist already."""
    indexer = Indexer(eventlog, search, health, instance)
    try:
        await warn_of_an_empty_index(eventlog, search)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(indexer.run(stop), name="indexer")
            tasks.create_task(Purge(eventlog, search, clock).run(stop), name="purge")
            looking = keep_asking(health, DEPENDENCY, lambda: ask(search), ASK_EVERY_S, stop)
            tasks.create_task(looking, name="search")
    finally:
        await indexer.close()
