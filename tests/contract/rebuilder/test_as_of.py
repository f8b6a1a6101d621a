"""The index of a moment: what `as_of` answers, message by message, beside a live index that is left alone."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from backbone.archive.folder import FolderStorage
from backbone.progress import Silent
from backbone.search import Rights, SearchIndex, SearchQuery
from backbone.settings import Settings
from rebuilder import untold
from rebuilder.opening import open_log
from rebuilder.readers import Source
from rebuilder.search import target
from rebuilder.search.as_of import alias_of, drop_as_of, index_of, rebuild_as_of
from rebuilder.search.command import run
from rebuilder.search.rebuild import rebuild_search
from rebuilder.search.report import Report
from rebuilder.search.ways import Ways
from rebuilder.untold import Untold
from schemas.clock import format_ms, parse_ms
from schemas.documents import SearchDocument
from schemas.events import decode_message_event
from schemas.topics import MESSAGE_TOPICS, MESSAGES_UPDATED
from tests.conftest import ADAPTERS
from tests.contract.rebuilder.test_kills import variables
from tests.support.archive import archive_all
from tests.support.backend import Backend, make_topics, running_backend, user
from tests.support.database import own_database
from tests.support.eventlog import dropped_topics
from tests.support.search import dropped_indices
from tests.support.trimming import trim_all
from tests.support.write_side import USERS, Users


@pytest.fixture(params=ADAPTERS)
async def settings(
    request: pytest.FixtureRequest, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Settings]:
    monkeypatch.setattr(target, "DROP_GRACE_S", 0.0)
    chosen: Settings = request.getfixturevalue(f"{request.param}_settings")
    url = f"file://{tmp_path / 'archive'}"
    fast = replace(
        chosen, write_rate=100_000, write_burst=100_000, archive=replace(chosen.archive, url=url, chosen=True)
    )
    async with own_database(fast, unique) as own, dropped_topics(own), dropped_indices(own):
        yield own


@pytest.fixture
async def backend(settings: Settings) -> AsyncIterator[Backend]:
    async with running_backend(settings) as backend:
        await make_topics(backend, settings)
        await backend.ports.search.ensure()
        yield backend


@pytest.fixture
async def users(backend: Backend, request: pytest.FixtureRequest) -> Users:
    """Users with a past, told to the log."""
    users = Users(backend, random.Random(request.node.name))
    await users.begin()
    await users.act(120)
    await users.tell()
    return users


async def moments(backend: Backend) -> list[int]:
    """Return the moments of all events of messages, in order."""
    records = await backend.told(*MESSAGE_TOPICS)
    return sorted(decode_message_event(record.value or b"").timestamp for record in records)


async def build(backend: Backend, settings: Settings, moment: int, source: Source = "events") -> Report:
    log = await open_log(settings, backend.ports, source)
    return await rebuild_as_of(settings, backend.ports, log, Ways(source=source, until_ms=moment), Silent())


async def held(settings: Settings, moment: int) -> dict[str, SearchDocument]:
    """Return what the index of a moment holds."""
    search = index_of(settings, moment)
    try:
        await search.refresh()
        return dict([indexed async for indexed in search.scan()])
    finally:
        await search.close()


async def answered(backend: Backend, users: Users, moment: int) -> dict[str, tuple[object, ...]]:
    """Return what `GET /messages/{id}?as_of=` answers an owner: version, text, mentions, whether deleted."""
    found: dict[str, tuple[object, ...]] = {}
    for _, message_id in users.posted:
        path = f"/messages/{message_id}"
        answer = await backend.client.get(path, params={"as_of": format_ms(moment)}, headers=user(USERS[0]))
        if answer.status_code == 404:
            continue
        assert answer.status_code == 200, answer.text
        body = answer.json()
        values = body["version"], body["content"], tuple(body["mentions"])
        found[message_id] = (*values, "deleted_at" in body, body["channel_id"])
    return found


def shown(documents: dict[str, SearchDocument]) -> dict[str, tuple[object, ...]]:
    return {
        message_id: (each.version, each.content, each.mentions, each.deleted, each.channel)
        for message_id, each in documents.items()
    }


async def test_it_holds_what_as_of_answers(backend: Backend, users: Users, settings: Settings) -> None:
    """At moments of events and a millisecond before, out of the log and out of an archive without a log."""
    times = await moments(backend)
    chosen = [times[len(times) // 3], times[len(times) // 3] - 1, times[len(times) // 2], times[-1] + 1_000]
    expected = {moment: await answered(backend, users, moment) for moment in chosen}
    assert len({len(each) for each in expected.values()}) > 1
    for moment in chosen:
        report = await build(backend, settings, moment)
        assert (report.outcome, report.reason, report.as_of) == ("swapped", None, format_ms(moment))
        assert report.index == f"{alias_of(settings.search_alias, moment)}-1"
        assert shown(await held(settings, moment)) == expected[moment]
    await archive_all(
        backend.ports.eventlog, FolderStorage(Path(settings.archive.url.removeprefix("file://")))
    )
    for moment in chosen:
        report = await build(backend, settings, moment, "archive")
        assert (report.outcome, report.source) == ("swapped", "archive")
        assert shown(await held(settings, moment)) == expected[moment]


async def test_the_live_index_and_it_leave_each_other_alone(
    backend: Backend, users: Users, settings: Settings
) -> None:
    """Rebuilds, rollbacks and purges of the live one leave it; made again it is whole; dropped it is gone."""
    search, eventlog = backend.ports.search, backend.ports.eventlog
    moment = (await moments(backend))[-1]
    await build(backend, settings, moment)
    before = await held(settings, moment)
    live = await search.indices()
    assert live == [f"{settings.search_alias}-1"]
    await users.act(30)
    await users.tell()
    for ways in (Ways(), Ways(rollback=True), Ways(drop=True)):
        assert (await rebuild_search(eventlog, search, ways, Silent())).outcome == "swapped"
        assert await held(settings, moment) == before
    current, indices = await search.current(), await search.indices()
    assert (await build(backend, settings, moment)).outcome == "swapped"
    assert await held(settings, moment) == before
    assert (await search.current(), await search.indices()) == (current, indices)
    assert await drop_as_of(settings, backend.ports, moment)
    assert await drop_as_of(settings, backend.ports, moment) == []
    assert (await search.current(), await search.indices()) == (current, indices)


async def test_it_is_searched_under_its_alias(backend: Backend, users: Users, settings: Settings) -> None:
    moment = (await moments(backend))[-1]
    await build(backend, settings, moment)
    alive = [
        key for key, each in (await held(settings, moment)).items() if not each.deleted and not each.private
    ]
    search = index_of(settings, moment)
    page = await search.search(SearchQuery(sort="newest"), Rights(), 100)
    await search.close()
    assert {hit.id for hit in page.hits} == set(alive)


async def test_what_the_log_has_yet_to_be_told(
    backend: Backend, users: Users, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an event of that time in the outbox, it is refused; of a later time, nothing waits for it."""
    monkeypatch.setattr(untold, "TOLD_WITHIN_S", 0.1)
    posted = await backend.post("ops", "bora", "아직")
    moment = parse_ms(posted["created_at"])
    with pytest.raises(Untold, match="1 events of that time"):
        await build(backend, settings, moment)
    assert (await build(backend, settings, moment - 1)).outcome == "swapped"
    monkeypatch.setattr(untold, "TOLD_WITHIN_S", 30.0)
    building = asyncio.create_task(build(backend, settings, moment))
    await backend.relay()
    assert (await building).outcome == "swapped"
    assert posted["message_id"] in await held(settings, moment)


async def test_before_anything_was_written(backend: Backend, users: Users, settings: Settings) -> None:
    """Given a moment before the first message, and a log without its past: told what there is."""
    times = await moments(backend)
    report = await build(backend, settings, times[0] - 1)
    assert report.outcome == "refused"
    reason = f"no message had been written by {format_ms(times[0] - 1)}: the first event is of "
    assert report.reason == f"{reason}{format_ms(times[0])}"
    assert await drop_as_of(settings, backend.ports, times[0] - 1) == []
    await trim_all(settings, MESSAGE_TOPICS[:1])
    report = await build(backend, settings, times[-1])
    assert report.outcome == "refused"
    assert "cannot be restored" in str(report.reason)
    assert report.gaps


_BUILDS = """
import asyncio, os, signal, sys
from backbone.progress import Silent
from backbone.settings import read_settings
from backbone.wiring import open_ports
from rebuilder.search import as_of, target
from rebuilder.opening import open_log
from rebuilder.search.ways import Ways
from tests.support.rebuilding import Meddling

async def die():
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    settings = read_settings(dict(os.environ), dotenv=None)
    async with open_ports(settings) as ports:
        real = as_of.open_search
        as_of.open_search = lambda chosen: Meddling(real(chosen), **{sys.argv[1]: die})
        source = sys.argv[3]
        log = await open_log(settings, ports, source)
        ways = Ways(source=source, until_ms=int(sys.argv[2]))
        await as_of.rebuild_as_of(settings, ports, log, ways, Silent())

target.DROP_GRACE_S = 0.0
asyncio.run(main())
"""


@pytest.mark.parametrize("moment", ["before_put", "before_hold", "in_hold", "before_move", "after_swap"])
async def test_killed_at_a_phase(backend: Backend, users: Users, settings: Settings, moment: str) -> None:
    """Killed as it is made for the first time, and again: it is not there, or whole; live is what was."""
    until_ms = (await moments(backend))[-20]
    folder = settings.archive.url.removeprefix("file://")
    await archive_all(backend.ports.eventlog, FolderStorage(Path(folder)))
    search = backend.ports.search
    await rebuild_search(backend.ports.eventlog, search, Ways(), Silent())
    live = await everything(search)
    for source in ("events", "archive"):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _BUILDS, moment, str(until_ms), source,
            env={**variables(settings), "MAEARI_ARCHIVE_URL": settings.archive.url},
        )  # fmt: skip
        assert await child.wait() == -signal.SIGKILL
        assert await everything(search) == live
        side = index_of(settings, until_ms)
        assert await side.exists() == (moment == "after_swap" or source == "archive")
        await side.close()
        assert (await build(backend, settings, until_ms)).outcome == "swapped"
        assert shown(await held(settings, until_ms)) == await answered(backend, users, until_ms)
    side = index_of(settings, until_ms)
    assert len(await side.indices()) == 1
    await side.close()


async def everything(search: SearchIndex) -> tuple[object, ...]:
    documents = {message_id: document async for message_id, document in search.scan()}
    return await search.current(), await search.indices(), documents


async def test_the_command(
    backend: Backend, users: Users, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says which index it made, and under which alias; `drop` takes it away, once."""
    moment = (await moments(backend))[-1]
    alias = alias_of(settings.search_alias, moment)
    assert await run(settings, Ways(until_ms=moment)) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"{alias}-1 holds the messages as of {format_ms(moment)}: alias {alias}"
    assert await run(settings, Ways(until_ms=moment, drop=True)) == 0
    assert capsys.readouterr().out == f"dropped {alias}-1\n"
    assert await run(settings, Ways(until_ms=moment, drop=True)) == 1
    assert capsys.readouterr().err.startswith("maeari: there is no index as of ")


async def test_last_events_that_were_trimmed(
    backend: Backend, users: Users, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a log without the last edit of a channel, with nothing behind it, it is missed."""
    posted = await backend.post("ops", "bora", "one")
    body = {"content": "two"}
    edited = await backend.client.patch(f"/messages/{posted['message_id']}", json=body, headers=user("bora"))
    await users.tell()
    version = edited.json()["version"]
    await trim_all(settings, (MESSAGES_UPDATED,))
    assert await run(settings, Ways(source="events")) == 1
    said = capsys.readouterr().out
    assert "--from archive has what was archived" in said
    assert f"channel 'ops': event {version} is missing" in said or f" to {version} are missing" in said
