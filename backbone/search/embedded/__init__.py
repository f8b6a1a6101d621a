"""The search index in one SQLite file with FTS5: the same hits as Elasticsearch without nori.

Guarantees: what was put is visible to the next search of every process, and on disk; an older
version never replaces a newer one; the alias moves in one transaction. Opens on first use.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from backbone.search import ItemFailure, Rights, SearchPage, SearchQuery, Tombstone, Witness
from backbone.search.admission import admitted
from backbone.search.cursors import AfterHit, seal, unseal
from backbone.search.embedded.layout import outdated, renew_words
from backbone.search.embedded.pages import (
    Asked,
    first_page_by_relevance,
    page_by_relevance,
    page_by_time,
)
from backbone.search.embedded.points import AfterPlace, keep_point, number_of_point, prolong_point
from backbone.search.embedded.purging import deleted_before, remove
from backbone.search.embedded.query import match_expression
from backbone.search.embedded.rows import rows_of, store_all
from backbone.search.embedded.searchers import Searchers
from backbone.search.embedded.store import (
    SearchFile,
    drop_index,
    make_index,
    name_of,
    number_of,
)
from backbone.search.embedded.swapping import EmbeddedSwap, point, pointed_at, previous_of, swapping
from backbone.search.embedded.witness import last_change
from schemas.documents import IndexedDocument, SearchDocument

T = TypeVar("T")
SCAN_PAGE = 1_000
_NOTHING = SearchPage(hits=(), total=0, cursor=None)

_decoder = msgspec.json.Decoder(SearchDocument)


class EmbeddedSearchIndex:
    """The indices of one alias in one file; some threads search, one looks small things up, one writes."""

    def __init__(
        self, path: Path, alias: str, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._alias = alias
        self._now_ms = now_ms
        self._path = path
        self._reader = SearchFile(path)
        self._writer = SearchFile(path)
        self._searchers = Searchers(path)
        self._reads = ThreadPoolExecutor(1, "search-reads")
        self._writes = ThreadPoolExecutor(1, "search-writes")

    async def ensure(self) -> None:
        def ensure(connection: sqlite3.Connection) -> None:
            if self._current(connection) is None:
                point(connection, self._alias, make_index(connection, self._alias))
            for number in outdated(connection):
                renew_words(connection, number)

        earlier = await self._read(outdated)
        if earlier or await self.current() is None:
            await self._write(ensure)

    async def exists(self) -> bool:
        return await self.current() is not None

    async def put(self, documents: Sequence[IndexedDocument], index: str | None = None) -> list[ItemFailure]:
        def put(connection: sqlite3.Connection) -> None:
            store_all(connection, rows, number_of(connection, self._alias, index))

        fit, refused = admitted(documents)
        # Words are cut before the file is locked.
        rows, unreadable = await self._in_thread(self._writes, lambda: rows_of(fit))
        await self._write(put)
        return refused + unreadable

    async def search(
        self,
        query: SearchQuery,
        rights: Rights,
        limit: int,
        cursor: str | None = None,
        witness: Witness | None = None,
    ) -> SearchPage:
        empty = bool(query.words or query.phrases) and match_expression(query) is None

        def asked(connection: sqlite3.Connection) -> Asked:
            number = number_of(connection, self._alias, None)
            return Asked(connection, number, query, rights, limit, witness)

        def find(connection: sqlite3.Connection) -> SearchPage:
            now = asked(connection)
            if empty:
                return replace(_NOTHING, witnessed=now.witnessed(last_change(connection, now.number)))
            return page_by_time(now, after)

        after: AfterHit | None = None
        if query.sort == "relevance":
            place = unseal(query, cursor, AfterPlace) if cursor is not None else None
            if place is not None and not empty:
                return await self._at_point(query, rights, limit, place, witness)
            if not empty:
                return await self._by_relevance(query, asked)
        elif cursor is not None:
            after = unseal(query, cursor, AfterHit)
        return await self._searchers.run(find)

    async def visible_version(self, message_id: str) -> int | None:
        def version(connection: sqlite3.Connection) -> int | None:
            number = number_of(connection, self._alias, None)
            sql = f"SELECT version FROM documents_{number} WHERE message_id = ?"
            row = connection.execute(sql, (message_id,)).fetchone()
            return None if row is None else int(row[0])

        return await self._read(version)

    async def refresh(self, index: str | None = None) -> None:
        await self._read(lambda connection: number_of(connection, self._alias, index))

    async def current(self) -> str | None:
        return await self._read(self._current)

    async def indices(self) -> list[str]:
        def names(connection: sqlite3.Connection) -> list[str]:
            sql = "SELECT alias || '-' || version FROM indices WHERE alias = ? ORDER BY version"
            return [row[0] for row in connection.execute(sql, (self._alias,))]

        return await self._read(names)

    async def create_next(self) -> str:
        return await self._write(lambda connection: name_of(connection, make_index(connection, self._alias)))

    def swapping(self, index: str) -> AbstractAsyncContextManager[EmbeddedSwap]:
        async def put(swap: EmbeddedSwap, documents: Sequence[IndexedDocument]) -> list[ItemFailure]:
            fit, refused = admitted(documents)
            rows, unreadable = await swap.alone(lambda _: rows_of(fit))
            await swap.alone(lambda connection: store_all(connection, rows, swap.number))
            return refused + unreadable

        return swapping(SearchFile(self._path), self._alias, index, put)

    async def release_writes(self) -> None:
        """The lock of whoever died is gone with it."""

    async def look_after_writes(self) -> None:
        """See release_writes."""

    async def previous(self) -> str | None:
        return await self._read(lambda connection: pointed_at(connection, previous_of(self._alias)))

    async def drop(self, index: str) -> None:
        def drop(connection: sqlite3.Connection) -> None:
            if self._current(connection) == index:
                raise ValueError(f"{index} is behind the alias {self._alias}")
            sql = "SELECT number FROM indices WHERE alias || '-' || version = ?"
            for (number,) in connection.execute(sql, (index,)).fetchall():
                drop_index(connection, number)

        await self._write(drop)

    async def drop_all(self) -> None:
        def drop(connection: sqlite3.Connection) -> None:
            sql = "SELECT number FROM indices WHERE alias = ?"
            for (number,) in connection.execute(sql, (self._alias,)).fetchall():
                drop_index(connection, number)

        await self._write(drop)

    async def scan(self, index: str | None = None) -> AsyncIterator[IndexedDocument]:
        last = 0

        def following(connection: sqlite3.Connection) -> list[Any]:
            sql = f"SELECT document, message_id, version, source FROM documents_{number} WHERE document > ?"
            return connection.execute(f"{sql} ORDER BY document LIMIT ?", (last, SCAN_PAGE)).fetchall()

        number = await self._read(lambda connection: number_of(connection, self._alias, index))
        while rows := await self._read(following):
            for last, message_id, version, source in rows:  # noqa: B007
                yield IndexedDocument(message_id, _decoder.decode(source)).guarded_by(version)

    async def tombstones(self, before_ms: int, limit: int) -> list[Tombstone]:
        return await self._read(lambda connection: deleted_before(connection, self._alias, before_ms, limit))

    async def purge(self, tombstones: Sequence[Tombstone]) -> int:
        return await self._write(lambda connection: remove(connection, self._alias, tombstones))

    async def close(self) -> None:
        await self._searchers.close()
        for file, executor in ((self._reader, self._reads), (self._writer, self._writes)):
            await self._in_thread(executor, file.close)
            executor.shutdown(wait=False)

    async def _by_relevance(
        self, query: SearchQuery, asked: Callable[[sqlite3.Connection], Asked]
    ) -> SearchPage:
        """Most searches have one page: a point in time is kept only where there is another."""
        page, ranking = await self._searchers.run(
            lambda connection: first_page_by_relevance(asked(connection))
        )
        if len(ranking.hits) <= len(page.hits):
            return page
        point = await self._write(lambda connection: keep_point(connection, ranking, self._now_ms()))
        return replace(page, cursor=seal(query, AfterPlace(point, len(page.hits))))

    async def _at_point(
        self, query: SearchQuery, rights: Rights, limit: int, place: AfterPlace, witness: Witness | None
    ) -> SearchPage:
        def search(connection: sqlite3.Connection) -> SearchPage:
            number = number_of_point(connection, place.point)
            return page_by_relevance(Asked(connection, number, query, rights, limit, witness), place)

        # Only this much is a write: the page is read beside the writers.
        await self._write(lambda connection: prolong_point(connection, place.point, self._now_ms()))
        return await self._searchers.run(search)

    def _current(self, connection: sqlite3.Connection) -> str | None:
        return pointed_at(connection, self._alias)

    async def _read(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        def transaction() -> T:
            with self._reader.reading() as connection:
                return operation(connection)

        return await self._in_thread(self._reads, transaction)

    async def _write(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        def transaction() -> T:
            with self._writer.writing() as connection:
                return operation(connection)

        return await self._in_thread(self._writes, transaction)

    async def _in_thread(self, executor: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, call)
