"""Archivers as processes: killed, frozen, on a full disk, in a bucket; what `maeari archive` says of it."""

import asyncio
import json
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb
import httpx
import pytest

from backbone.archive import Damaged, Missing, Storage
from backbone.archive.checking import check
from backbone.archive.folder import FolderStorage
from backbone.archive.layout import data_name
from backbone.archive.objects import open_bucket
from backbone.archive.partition import PartitionArchive
from backbone.archive.reading import Archive
from backbone.eventlog import EventLog
from backbone.settings import Settings, read_settings
from backbone.wiring import open_eventlog
from schemas.topics import ALL_TOPICS, MESSAGES_CREATED
from tests.conftest import ADAPTERS
from tests.support.archive import bucket_server, bucket_settings, in_archive, in_log, some_records
from tests.support.eventlog import append, dropped_topics, record
from tests.support.waiting import until
from tests.system.processes import Surroundings

KILLS = 4
WITHIN_S = 60
LIMIT_BYTES = 100_000


@dataclass
class Stage:
    """A log with its topics, and where archivers run over it."""

    surroundings: Surroundings
    log: EventLog
    storage: Storage

    async def feed(self, count: int, size: int = 50) -> None:
        """Append to every topic, in many partitions."""
        for number in range(count):
            await append(
                self.log,
                [record(topic, f"k{number % 7}", os.urandom(size).hex()) for topic in ALL_TOPICS],
            )

    async def start(self, port: int | None = None, **settings: str) -> asyncio.subprocess.Process:
        """Start an archiver and wait until it is ready."""
        port = port or self.surroundings.ports.indexer
        return await self.surroundings.start("archiver", probe=port, METRICS_PORT=str(port), **settings)

    async def is_complete(self) -> bool:
        """Say if the archive holds what the log holds, each record once and byte for byte."""
        with suppress(Missing, Damaged):
            return in_archive(self.storage, self.log) == await in_log(self.log)
        return False

    async def complete(self) -> None:
        await until(self.is_complete, WITHIN_S, every_s=0.2)

    def files(self) -> list[str]:
        return [path for path in self.storage.list("") if data_name(path)]


async def end(process: asyncio.subprocess.Process, how: Callable[[asyncio.subprocess.Process], None]) -> int:
    """End a process and return its exit code."""
    how(process)
    return await process.wait()


def kill(process: asyncio.subprocess.Process) -> None:
    process.kill()


def terminate(process: asyncio.subprocess.Process) -> None:
    process.terminate()


@asynccontextmanager
async def opened(
    tmp_path: Path, settings: dict[str, str], storage: Storage | None = None
) -> AsyncIterator[Stage]:
    surroundings = Surroundings(tmp_path, {"ARCHIVE_MAX_AGE": "1", "INSTANCE": "none", **settings})
    read = read_settings(surroundings.environment(), dotenv=None)
    async with dropped_topics(read):
        log = open_eventlog(read)
        try:
            await log.apply_topics(ALL_TOPICS, 3)
            yield Stage(surroundings, log, storage or FolderStorage(tmp_path / "data" / "archive"))
        finally:
            await log.close()


@pytest.fixture(params=ADAPTERS)
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """An empty log, with the archive in the data folder."""
    settings = {}
    if request.param == "real":
        real: Settings = request.getfixturevalue("real_settings")
        settings = {"EVENTLOG_URL": real.eventlog_url, "TOPIC_PREFIX": real.topic_prefix}
    async with opened(tmp_path, settings) as stage:
        yield stage


@pytest.mark.timeout(240)
async def test_kill_9_again_and_again(stage: Stage) -> None:
    """Killed at any moment under load, and started again: at the end each record is there once."""
    for number in range(KILLS):
        process = await stage.start()
        feeding = asyncio.create_task(stage.feed(15))
        enough = len(stage.files()) + number

        async def some_more(enough: int = enough) -> bool:
            return len(stage.files()) > enough

        await until(some_more, WITHIN_S, every_s=0.01)
        await end(process, kill)
        await feeding
    process = await stage.start()
    await stage.complete()
    assert await end(process, terminate) == 0
    output = await stage.surroundings.run("archive", "check")
    assert "all there and whole" in output
    assert len(stage.storage.list("_pending")) == 0


@pytest.mark.timeout(240)
async def test_a_zombie_writes_late(stage: Stage) -> None:
    """Frozen with records in hand until another has archived them, then awake: nothing is twice."""
    zombie = await stage.start(ARCHIVE_MAX_AGE="3")
    try:
        await stage.feed(5)
        await stage.complete()
        await stage.feed(10)
        await until(lambda: waiting(stage.surroundings.ports.indexer), WITHIN_S)
        zombie.send_signal(signal.SIGSTOP)
        await stage.feed(10)
        owner = await stage.start(stage.surroundings.ports.notifier)
        try:
            await stage.complete()
            zombie.send_signal(signal.SIGCONT)
            await stage.feed(10)
            await stage.complete()
        finally:
            assert await end(owner, terminate) == 0
        await stage.feed(5)
        await stage.complete()
    finally:
        zombie.send_signal(signal.SIGCONT)
        assert await end(zombie, terminate) == 0
    assert check(stage.storage, None).ok
    assert "all there and whole" in await stage.surroundings.run("archive", "check")


async def waiting(port: int) -> int:
    """Return how many records an archiver has in hand."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    name = "maeari_archive_waiting_records "
    return int(float(next(line for line in text.splitlines() if line.startswith(name)).split()[1]))


async def test_sigterm_archives_what_was_read(stage: Stage) -> None:
    """With files that are not due for an hour: asked to stop, it writes them."""
    process = await stage.start(ARCHIVE_MAX_AGE="3600")
    try:
        await stage.feed(10)
        expected = len(await in_log(stage.log))

        async def all_read() -> bool:
            return await waiting(stage.surroundings.ports.indexer) == expected

        await until(all_read, 4)
    finally:
        assert await end(process, terminate) == 0
    assert await stage.is_complete()


async def test_the_disk_is_full(tmp_path: Path, real_settings: Settings) -> None:
    """No file may grow beyond some bytes: the probe says so, nothing is lost; with room all is archived."""
    settings = {"EVENTLOG_URL": real_settings.eventlog_url, "TOPIC_PREFIX": real_settings.topic_prefix}
    async with opened(tmp_path, settings) as stage:
        process = await stage.start()
        try:
            await stage.feed(3)
            await stage.complete()
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (LIMIT_BYTES, resource.RLIM_INFINITY))
            await stage.feed(10, size=60_000)

            async def says_so() -> bool:
                async with httpx.AsyncClient() as client:
                    url = f"http://127.0.0.1:{stage.surroundings.ports.indexer}/health/ready"
                    answer = await client.get(url)
                return answer.status_code == 503 and "too large" in answer.json()["dependencies"]["archive"]

            await until(says_so, WITHIN_S)
            assert check(stage.storage, None).ok
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            await stage.complete()
        finally:
            assert await end(process, terminate) == 0
        assert "all there and whole" in await stage.surroundings.run("archive", "check")


@pytest.mark.timeout(240)
async def test_kill_9_before_each_call_that_changes_the_disk(tmp_path: Path) -> None:
    """Killed before the first, the second, … : whoever comes next goes on, and each record is there once."""
    storage = FolderStorage(tmp_path)
    end_, deaths = 0, 0
    while True:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.dying", str(tmp_path), str(end_), "5", str(deaths)),
            cwd=Path(__file__).parents[2],
        )
        code = await process.wait()
        assert code in (0, -signal.SIGKILL)
        partition = PartitionArchive(storage, "p.messages.created", 0)
        assert partition.refresh() in (end_, end_ + 5)
        end_ = partition.end
        assert check(storage, None).findings == ()
        if code == 0:
            break
        deaths += 1
    assert deaths >= 12
    archive = Archive(storage, lambda name: f"p.{name}")
    found = [each for batch in archive.records(MESSAGES_CREATED.name, 0) for each in batch]
    assert found == some_records(200, holes=False)[:end_]
    assert len(storage.list("_pending")) == 0


async def test_in_a_bucket(tmp_path: Path) -> None:
    """The same on storage that speaks like S3; neither logs nor answers show a secret."""
    with bucket_server() as endpoint:
        bucket = bucket_settings(endpoint)
        settings = {
            "ARCHIVE_URL": bucket.url,
            "ARCHIVE_ENDPOINT": endpoint,
            "ARCHIVE_ACCESS_KEY": bucket.access_key or "",
            "ARCHIVE_SECRET_KEY": bucket.secret_key or "",
        }
        async with opened(tmp_path, settings, open_bucket(bucket)) as stage:
            process = await stage.start()
            await stage.feed(5)
            await stage.complete()
            await end(process, kill)
            await stage.feed(5)
            process = await stage.start()
            await stage.complete()
            assert await end(process, terminate) == 0
            output = await stage.surroundings.run("archive", "check")
            assert "all there and whole" in output
            gone = stage.files()[0]
            stage.storage.remove(gone)
            code, output, errors = await stage.surroundings.attempt("archive", "check", "--json")
            (finding,) = json.loads(output)["findings"]
            assert (code, finding["kind"], finding["file"]) == (1, "missing", gone)
            log = (tmp_path / "archiver.log").read_text(encoding="utf-8")
            assert "not-to-be-shown" not in log + output + errors
            code, _, errors = await stage.surroundings.attempt(
                "archive", "list", ARCHIVE_ENDPOINT="http://127.0.0.1:9"
            )
            assert (code, len(errors.splitlines())) == (1, 1)
            assert errors.startswith("maeari: MAEARI_ARCHIVE_URL: archive is not available")


async def test_the_commands(stage: Stage) -> None:
    """They say what is held, what lacks and what is damaged, by exit codes, too; DuckDB reads the folder."""
    process = await stage.start()
    await stage.feed(10)
    await stage.complete()
    assert await end(process, terminate) == 0
    listed = json.loads(await stage.surroundings.run("archive", "list", "--json"))
    assert sorted(entry["file"] for entry in listed["ranges"]) == sorted(stage.files())
    assert stage.files()[0].split("/")[0] in await stage.surroundings.run("archive", "list")
    folder = stage.storage.url.removeprefix("file://")
    with duckdb.connect() as database:
        (count,) = database.execute(f"SELECT count(*) FROM '{folder}/**/*.parquet'").fetchall()[0]
    assert count == len(await in_log(stage.log))

    path = stage.files()[0]
    whole = stage.storage.read(path)
    stage.storage.put(path, whole[:-10])
    code, output, _ = await stage.surroundings.attempt("archive", "check")
    name = data_name(path)
    assert name is not None
    assert code == 1
    assert f"damaged: {name.topic}/{name.partition} {name.first}-{name.last}: " in output
    stage.storage.put(path, whole)

    for entry in stage.storage.list("_manifest"):
        stage.storage.remove(entry)
    code, output, _ = await stage.surroundings.attempt("archive", "check")
    assert code == 1
    assert output.count("not in manifest: ") == len(stage.files())
    assert (await stage.surroundings.run("archive", "mend")).count("entered") == len(stage.files())
    await stage.surroundings.run("archive", "check")
    assert await stage.surroundings.run("archive", "mend") == "nothing to do\n"


async def test_dev_archives_into_its_own_folder(tmp_path: Path) -> None:
    """Whatever the settings say: the archive of another log would take records of two."""
    elsewhere = tmp_path / "elsewhere"
    surroundings = Surroundings(tmp_path, {"ARCHIVE_URL": f"file://{elsewhere}", "ARCHIVE_MAX_AGE": "1"})
    async with surroundings.running("dev", probe=surroundings.ports.api):
        body = {"channel_id": "c", "author_id": "a", "content": "한 줄"}
        url = f"http://127.0.0.1:{surroundings.ports.api}/messages"
        async with httpx.AsyncClient() as client:
            assert (await client.post(url, json=body)).status_code == 201
        storage = FolderStorage(surroundings.data / "archive")
        log = open_eventlog(read_settings(surroundings.environment(), dotenv=None))

        async def told() -> bool:
            return any(each.topic == MESSAGES_CREATED.name for each in await in_log(log))

        await until(told)
    # Asked to stop it has archived what it had read; what it had not is the next one's.
    async with surroundings.running("dev", probe=surroundings.ports.api):

        async def complete() -> bool:
            return in_archive(storage, log) == await in_log(log)

        await until(complete, WITHIN_S)
    await log.close()
    assert not elsewhere.is_dir()
    assert "MAEARI_ARCHIVE_URL is not used" in (tmp_path / "dev.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ARCHIVE_URL", "/somewhere"),
        ("ARCHIVE_URL", "s3://"),
        ("ARCHIVE_URL", "file:///proc/archive"),
        ("ARCHIVE_ENDPOINT", "https://key:secret@host"),
        ("ARCHIVE_MAX_AGE", "0"),
        ("ARCHIVE_MAX_BYTES", "1 GB"),
        ("ARCHIVE_SECRET_KEY", "without-the-other"),
    ],
)
async def test_wrong_settings(tmp_path: Path, name: str, value: str) -> None:
    """Exit code 2, and one line that names the setting."""
    surroundings = Surroundings(tmp_path)
    await surroundings.run("topics", "apply")
    code, _, errors = await surroundings.attempt("archiver", **{name: value})
    assert (code, len(errors.splitlines())) == (2, 1), errors
    assert errors.startswith("maeari: MAEARI_ARCHIVE_")
    assert "secret" not in errors.replace("SECRET", "").replace("a secret key", "")


async def test_an_archive_of_nothing_is_not_whole(tmp_path: Path) -> None:
    """Given no archiver that ever ran, `check` answers 1 and says what to look at."""
    surroundings = Surroundings(tmp_path)
    await surroundings.run("topics", "apply")
    ended, output, _ = await surroundings.attempt("archive", "check")
    assert ended == 1
    assert "nothing is archived there; see MAEARI_ARCHIVE_URL" in output
