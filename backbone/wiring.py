"""The only file that chooses adapters: settings in, ports out. Drivers load when they are chosen."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from backbone.archive import Storage
from backbone.archive.settings import ArchiveSettings
from backbone.database.engine import Database
from backbone.eventlog import EventLog
from backbone.search import SearchIndex
from backbone.settings import Settings


@dataclass(frozen=True)
class Ports:
    """The three stores, as a process is given them."""

    database: Database
    eventlog: EventLog
    search: SearchIndex


@asynccontextmanager
async def open_ports(settings: Settings) -> AsyncIterator[Ports]:
    """Open all three, each connecting on first use, and close them at the end of the block."""
    async with AsyncExitStack() as stack:
        database = open_database(settings)
        stack.push_async_callback(database.close)
        eventlog = open_eventlog(settings)
        stack.push_async_callback(eventlog.close)
        search = open_search(settings)
        stack.push_async_callback(search.close)
        yield Ports(database, eventlog, search)


def open_database(settings: Settings) -> Database:
    """Return the database of the settings; it connects on first use."""
    return Database(settings.database_url)


def open_eventlog(settings: Settings) -> EventLog:
    """Return the event log of the settings; it connects on first use."""
    if settings.eventlog_url.startswith("kafka://"):
        from backbone.eventlog.kafka import KafkaEventLog  # noqa: PLC0415

        return KafkaEventLog(
            bootstrap_servers=settings.eventlog_url.removeprefix("kafka://"),
            prefix=settings.topic_prefix,
            compression=settings.compression,
            security=settings.kafka_security,
        )
    from backbone.eventlog.embedded import EmbeddedEventLog  # noqa: PLC0415

    return EmbeddedEventLog(Path(settings.eventlog_url.removeprefix("embedded:")), settings.topic_prefix)


def open_search(settings: Settings) -> SearchIndex:
    """Return the search index of the settings; it connects on first use."""
    if settings.search_url.startswith("http"):
        from backbone.search.elasticsearch import ElasticsearchIndex  # noqa: PLC0415

        return ElasticsearchIndex(settings.search_url, settings.search_alias, settings.search_security)
    from backbone.search.embedded import EmbeddedSearchIndex  # noqa: PLC0415

    return EmbeddedSearchIndex(Path(settings.search_url.removeprefix("embedded:")), settings.search_alias)


def open_archive(settings: ArchiveSettings) -> Storage:
    """Return the archive of the settings; its calls block. Raises SetupError where a library lacks."""
    if settings.url.startswith("s3://"):
        from backbone.archive.objects import open_bucket  # noqa: PLC0415

        return open_bucket(settings)
    from backbone.archive.folder import FolderStorage  # noqa: PLC0415

    return FolderStorage(Path(settings.url.removeprefix("file://")))
