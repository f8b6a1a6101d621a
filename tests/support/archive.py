"""Archives of a test's own: in a folder, in memory, and in a bucket of a server that speaks like S3."""

import random
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from fsspec.implementations.memory import MemoryFileSystem
from moto.server import ThreadedMotoServer

from backbone.archive import Storage
from backbone.archive.folder import FolderStorage
from backbone.archive.objects import ObjectStorage, open_bucket
from backbone.archive.partition import PartitionArchive
from backbone.archive.reading import Archive
from backbone.archive.settings import ArchiveSettings
from backbone.eventlog import EventLog, Record
from schemas.topics import ALL_TOPICS
from tests.support.eventlog import read_all

STORAGES = ("folder", "memory", "bucket")


@contextmanager
def bucket_server() -> Iterator[str]:
    """Give the address of a server that speaks like S3."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def bucket_settings(endpoint: str) -> ArchiveSettings:
    """Return settings of a prefix in a new bucket of the server."""
    bucket = f"b{uuid.uuid4().hex[:12]}"
    assert httpx.put(f"{endpoint}/{bucket}").status_code == 200
    return ArchiveSettings(
        url=f"s3://{bucket}/the/archive", endpoint=endpoint, access_key="key", secret_key="not-to-be-shown"
    )


def storage_of(kind: str, folder: Path, endpoint: str) -> Storage:
    """Return an empty storage."""
    match kind:
        case "folder":
            return FolderStorage(folder / "archive")
        case "memory":
            return ObjectStorage(MemoryFileSystem(), f"/{uuid.uuid4().hex}", "memory:")
        case _:
            return open_bucket(bucket_settings(endpoint))


async def in_log(eventlog: EventLog) -> list[Record]:
    """Return all that the log holds, in order by partition."""
    return _sorted(await read_all(eventlog, *ALL_TOPICS))


def in_archive(storage: Storage, eventlog: EventLog) -> list[Record]:
    """Return all that the archive holds, in order by partition; fails where anything is twice, or lacks."""
    archive = Archive(storage, eventlog.full_name)
    found = [
        record
        for topic in ALL_TOPICS
        for partition in archive.partitions(topic.name)
        for records in archive.records(topic.name, partition)
        for record in records
    ]
    return _sorted(found)


def _sorted(records: Sequence[Record]) -> list[Record]:
    return sorted(records, key=lambda each: (each.topic, each.partition, each.offset))


def some_records(
    count: int, first: int = 0, seed: int = 1, holes: bool = True, timestamp_ms: int = 1_760_000_000_000
) -> list[Record]:
    """Return records of every kind that a log may hold, ours and others', with holes between them."""
    chance = random.Random(seed)
    keys: Sequence[bytes | None] = (b"c", "채널".encode(), b"\xff\xfe", b"", None)
    values: Sequence[bytes | None] = (
        b'{"event_type":"message.created","sequence":1}',
        b"\xff garbage",
        b"",
        None,
    )
    records, offset = [], first
    for number in range(count):
        headers = (("event_type", b"message.created"), ("", b""), ("b", b"\x00\xff"))[: chance.randint(0, 3)]
        without = tuple(place for place, (_, value) in enumerate(headers) if not value)[
            : chance.randint(0, 1)
        ]
        records.append(
            Record.of_bytes(
                "messages.created",
                0,
                offset,
                chance.choice(keys),
                chance.choice(values),
                headers,
                timestamp_ms + number,
                without,
            )
        )
        offset += chance.choice((1, 1, 1, 2, 7)) if holes else 1
    return records


async def archive_all(eventlog: EventLog, storage: Storage, per_file: int = 40) -> None:
    """Archive what the log holds behind the archive's end, in files of so many records."""
    by_place: dict[tuple[str, int], list[Record]] = {}
    for record in await in_log(eventlog):
        by_place.setdefault((record.topic, record.partition), []).append(record)
    storage.prepare()
    for (topic, number), records in by_place.items():
        partition = PartitionArchive(storage, eventlog.full_name(topic), number)
        end = partition.refresh()
        left = [record for record in records if record.offset >= end]
        for at in range(0, len(left), per_file):
            partition.append(left[at : at + per_file], partition.end)
