"""A whole platform to verify: what its users do, and the stores behind them, each in the test's hand."""

import asyncio
import random
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from elasticsearch import AsyncElasticsearch
from sqlalchemy import text

from backbone.archive.folder import FolderStorage
from backbone.archive.layout import date_of
from backbone.archive.partition import PartitionArchive
from backbone.clock import SystemClock
from backbone.eventlog import Record, TopicPartition
from backbone.progress import Silent
from backbone.settings import Settings
from rebuilder.verify.reading import ArchiveSource
from rebuilder.verify.report import Report
from rebuilder.verify.verification import Verification, Ways
from rebuilder.verify.workers import Workers
from schemas.documents import IndexedDocument, SearchDocument
from schemas.topics import MESSAGE_TOPICS
from tests.support.backend import Backend
from tests.support.eventlog import read_all
from tests.support.histories import Platform
from tests.support.searching import searchable_backend
from tests.support.write_side import Users

# Long enough for what goes on, short for what never comes.
TIMEOUT_S = 20.0


@dataclass
class Stage:
    """A platform of a test's own; nothing is told, indexed or archived by itself."""

    settings: Settings
    backend: Backend
    platform: Platform
    users: Users
    folder: Path

    @property
    def storage(self) -> FolderStorage:
        return FolderStorage(self.folder)

    async def settle(self) -> None:
        """Bring every store up to what was written."""
        await self.users.tell()
        await self.platform.index_everything()
        await self.archive()

    async def archive(self) -> None:
        """Archive what the log holds of messages, as far as it is not archived."""
        by_place: dict[TopicPartition, list[Record]] = defaultdict(list)
        for record in await read_all(self.platform.eventlog, *MESSAGE_TOPICS):
            by_place[record.topic_partition].append(record)
        for place, records in by_place.items():
            chain = PartitionArchive(
                self.storage, self.platform.eventlog.full_name(place.topic), place.partition
            )
            end = chain.refresh()
            if end == 0 and records[0].offset:
                chain.note_lost(0, records[0].offset - 1)
            by_date: dict[str, list[Record]] = defaultdict(list)
            for record in records:
                if record.offset >= end:
                    by_date[date_of(record.timestamp_ms)].append(record)
            for each in by_date.values():
                chain.append(each, chain.end)

    def forget_archive(self) -> None:
        """Remove the archive."""
        shutil.rmtree(self.folder, ignore_errors=True)

    async def verify(
        self, timeout_s: float = TIMEOUT_S, later_ms: int = 0, workers: Workers | None = None
    ) -> Report:
        """Compare the stores, as if it were that much later."""
        ways = Ways(timeout_s=timeout_s, now_ms=SystemClock().now_ms() + later_ms)
        archive = ArchiveSource(self.storage, self.platform.eventlog.full_name)
        return await Verification(self.backend.ports, archive, ways, Silent(), workers).run()

    async def sql(self, statement: str, **values: Any) -> None:
        """Forge something in the database."""
        async with self.backend.ports.database.writing() as connection:
            await connection.execute(text(statement), values)

    async def message(self, *, deleted: bool = False, edited: bool | None = None) -> Any:
        """Return the row of some message."""
        wanted = "deleted_at IS NOT NULL" if deleted else "deleted_at IS NULL"
        if edited is not None:
            wanted += " AND version > sequence" if edited else " AND version = sequence"
        query = f"SELECT * FROM messages WHERE {wanted} ORDER BY message_id LIMIT 1"
        async with self.backend.ports.database.looking() as connection:
            return (await connection.execute(text(query))).one()

    async def document(self, message_id: str) -> SearchDocument:
        """Return what the index holds of a message."""
        return (await self.platform.documents())[message_id]

    async def forge_guard(self, message_id: str, version: int) -> None:
        """Have the index take its document for another version than the document says."""
        search, url = self.platform.search, self.settings.search_url
        document = await self.document(message_id)
        if url.startswith("embedded:"):
            with sqlite3.connect(url.removeprefix("embedded:")) as file:
                (number,) = file.execute("SELECT number FROM aliases").fetchone()
                change = f"UPDATE documents_{number} SET version = ? WHERE message_id = ?"
                file.execute(change, (version, message_id))
            file.close()
            return
        async with AsyncElasticsearch(url) as client:
            await _index(client, await search.current() or "", message_id, document, version)
        await search.refresh()

    async def forge_document(self, message_id: str, document: SearchDocument | None) -> None:
        """Put a document in place of the one that the index holds, or none."""
        search, url = self.platform.search, self.settings.search_url
        if url.startswith("embedded:"):
            with sqlite3.connect(url.removeprefix("embedded:")) as file:
                (number,) = file.execute("SELECT number FROM aliases").fetchone()
                file.execute(f"DELETE FROM documents_{number} WHERE message_id = ?", (message_id,))
            file.close()
            if document is not None:
                assert await search.put([IndexedDocument(message_id, document)]) == []
            return
        async with AsyncElasticsearch(url) as client:
            index = await search.current() or ""
            if document is not None:
                await _index(client, index, message_id, document, document.version)
            else:
                await client.delete(index=index, id=message_id)
        await search.refresh()


async def _index(
    client: AsyncElasticsearch, index: str, message_id: str, document: SearchDocument, version: int
) -> None:
    source = msgspec.to_builtins(document)
    await client.index(
        index=index, id=message_id, document=source, version=version, version_type="external_gte"
    )


@asynccontextmanager
async def staged(settings: Settings, name: str, folder: Path, seed: int) -> AsyncIterator[Stage]:
    """Run a platform whose users have a past, which every store holds."""
    fast = replace(settings, write_rate=100_000, write_burst=100_000)
    async with searchable_backend(fast, name) as searchable:
        backend = searchable.backend
        users = Users(backend, random.Random(seed))
        stage = Stage(fast, backend, searchable.behind, users, folder)
        yield stage


async def with_a_past(stage: Stage, times: int = 80) -> None:
    """Let users do something, and bring every store up to it."""
    await stage.users.begin()
    await stage.users.act(times)
    await stage.settle()


@asynccontextmanager
async def under_load(stage: Stage) -> AsyncIterator[None]:
    """Write, tell, index and archive without a pause during the block, each beside the others."""
    stop = asyncio.Event()

    async def go_on(work: Callable[[], Awaitable[None]]) -> None:
        while not stop.is_set():
            await work()

    async with asyncio.TaskGroup() as tasks:
        works = (lambda: stage.users.act(3), stage.users.tell, stage.platform.index_everything, stage.archive)
        for work in works:
            tasks.create_task(go_on(work))
        try:
            yield
        finally:
            stop.set()
