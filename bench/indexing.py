"""Two indexers on the same backlog: the product's, and one that awaits a request for each event.

Guarantees: both read the same log from its beginning, in groups of their own, into fresh indices with the
same mapping; what they report is in the index afterwards. The clock starts at the first records that
come, so that joining a group is not measured.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import quote

import msgspec

from backbone.eventlog import EventLog
from backbone.eventlog.applying import Refusal, Taken
from backbone.eventlog.batches import BATCH_LIMITS, spans
from backbone.eventlog.events import read_message_event
from backbone.health import Health
from backbone.search import Rights, SearchIndex, SearchQuery
from backbone.settings import Settings
from backbone.wiring import open_search
from bench.failure import MeasurementFailed
from bench.index_figures import IndexRun, Kind
from indexer.projection import document_of_event
from indexer.service import TOPICS, Indexer
from schemas.documents import IndexedDocument
from schemas.events import MessagesEvent

REQUEST_TIMEOUT_S = 30.0
_COMES_WITHIN_S = 60.0
_JSON = {"accept": "application/json", "content-type": "application/json"}

IndexOne = Callable[[IndexedDocument], Awaitable[object]]


class _Stopwatch:
    """Counts documents, and measures from the first records on."""

    def __init__(self) -> None:
        self._opened_s = time.monotonic()
        self._began: tuple[float, float] | None = None
        self.documents = 0

    def begin(self) -> None:
        """Start, if it has not."""
        self._began = self._began or (time.perf_counter(), time.process_time())

    def took(self, documents: int) -> None:
        """Note what was indexed. Raises MeasurementFailed when nothing comes."""
        self.documents += documents
        if self._began is None and time.monotonic() - self._opened_s > _COMES_WITHIN_S:
            raise MeasurementFailed(f"no event came within {_COMES_WITHIN_S:g} s")

    def run(self, indexer: Kind, pair: int) -> IndexRun:
        assert self._began is not None, "a run that ends has begun"
        seconds = time.perf_counter() - self._began[0]
        cpu_s = time.process_time() - self._began[1]
        return IndexRun(
            indexer=indexer,
            pair=pair,
            documents=self.documents,
            seconds=round(seconds, 3),
            per_second=round(self.documents / seconds, 1),
            cpu_ms_per_document=round(cpu_s * 1000 / self.documents, 4),
        )


class _WatchedIndexer(Indexer):
    """The product's indexer, whose first batch starts a stopwatch."""

    def __init__(self, eventlog: EventLog, search: SearchIndex, group: str, watch: _Stopwatch) -> None:
        super().__init__(eventlog, search, Health(), group=group)
        self._watch = watch

    async def handle(self, batch: Sequence[Taken[MessagesEvent]]) -> Sequence[Refusal]:
        """See Indexer."""
        self._watch.begin()
        return await super().handle(batch)


async def index_in_bulk(stores: Settings, eventlog: EventLog, documents: int, pair: int) -> IndexRun:
    """Measure the product's indexer on so many documents. Raises Unavailable or MeasurementFailed."""
    async with fresh_index(_under(stores, f"bulk-{pair}")) as search:
        watch = _Stopwatch()
        indexer = _WatchedIndexer(eventlog, search, f"{stores.search_alias}-bulk-{pair}", watch)
        try:
            while watch.documents < documents:
                watch.took(await indexer.step())
            run = watch.run("bulk", pair)
        finally:
            await indexer.close()
        await _check(search, documents)
        return run


async def index_one_by_one(stores: Settings, eventlog: EventLog, documents: int, pair: int) -> IndexRun:
    """Measure an indexer as it is written at first. Raises Unavailable or MeasurementFailed."""
    own = _under(stores, f"single-{pair}")
    async with fresh_index(own) as search, _requests(stores, search, pair) as put:
        consumer = await eventlog.consumer(f"{stores.search_alias}-single-{pair}", TOPICS)
        watch = _Stopwatch()
        try:
            while watch.documents < documents:
                records = await consumer.poll(BATCH_LIMITS.records, BATCH_LIMITS.poll_s)
                if records:
                    watch.begin()
                for record in records[: documents - watch.documents]:
                    await put(document_of_event(read_message_event(record)))
                watch.took(min(len(records), documents - watch.documents))
                await consumer.commit({place: span.after for place, span in spans(records).items()})
            run = watch.run("one by one", pair)
        finally:
            await consumer.close()
        await _check(search, documents)
        return run


@asynccontextmanager
async def fresh_index(stores: Settings) -> AsyncIterator[SearchIndex]:
    """Make an index under the alias of `stores`, and drop it at the end."""
    search = open_search(stores)
    try:
        await search.ensure()
        yield search
    finally:
        try:
            await search.drop_all()
        finally:
            await search.close()


@asynccontextmanager
async def _requests(stores: Settings, search: SearchIndex, pair: int) -> AsyncIterator[IndexOne]:
    """Give what stores one document: on Elasticsearch the request that a client's `index` makes."""
    if not stores.search_url.startswith("http"):

        async def put(indexed: IndexedDocument) -> object:
            return await search.put([indexed])

        yield put
        return
    from backbone.search.elasticsearch.connection import Connection  # noqa: PLC0415 - only where it is used

    alias = _under(stores, f"single-{pair}").search_alias
    connection = Connection(stores.search_url, alias, stores.search_security)

    async def index(indexed: IndexedDocument) -> object:
        message_id, document = indexed
        path = f"/{alias}/_doc/{quote(message_id, safe='')}?version={document.version}&version_type=external"
        body = msgspec.json.encode(document)
        return await connection.send("PUT", path, body, _JSON, REQUEST_TIMEOUT_S)

    try:
        yield index
    finally:
        await connection.close()


async def _check(search: SearchIndex, documents: int) -> None:
    await search.refresh()
    found = (await search.search(SearchQuery(sort="newest"), Rights(), 1)).total
    if found < documents:
        raise MeasurementFailed(f"the index has {found:,} of {documents:,} documents")


def _under(stores: Settings, name: str) -> Settings:
    return replace(stores, search_alias=f"{stores.search_alias}-{name}")
