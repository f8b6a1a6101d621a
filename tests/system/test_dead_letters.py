"""A record that no consumer can read, met by people: the channel waits, the commands show and mend it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from backbone.eventlog import NewRecord
from backbone.settings import read_settings
from backbone.wiring import open_eventlog
from maeari.dead_letters.letters import living, without_content
from schemas.topics import GROUP_INDEXER, GROUP_NOTIFIER, MESSAGES_CREATED
from tests.conftest import ADAPTERS
from tests.support.eventlog import append
from tests.support.waiting import until
from tests.system.platform import own_stores, system
from tests.system.processes import Surroundings

CHANNEL = "공지"
PATIENCE_S = 30
GROUP = ("--group", GROUP_INDEXER)


@pytest.fixture(params=ADAPTERS)
async def surroundings(
    request: pytest.FixtureRequest, tmp_path: Path, unique: str
) -> AsyncIterator[Surroundings]:
    if request.param == "embedded":
        yield Surroundings(tmp_path)
        return
    async with own_stores(request.getfixturevalue("real_settings"), unique) as settings:
        yield Surroundings(tmp_path, settings)


async def test_a_poisoned_channel(surroundings: Surroundings) -> None:
    """It waits while others go on, is listed and shown, and goes on where the bad record is dropped."""
    async with (
        system(surroundings),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{surroundings.ports.api}") as client,
    ):
        await post(client, CHANNEL, "앞선 글")
        await until(lambda: found(client, "앞선"), PATIENCE_S)
        await poison(surroundings)
        await post(client, CHANNEL, "기다리는 글")
        await post(client, "free", "elsewhere")
        await until(lambda: found(client, "elsewhere"), PATIENCE_S)
        await until(lambda: parked(surroundings), PATIENCE_S)
        assert not await found(client, "기다리는")

        (bad,) = [each for each in await listed(surroundings) if each["group"] == GROUP_INDEXER]
        assert (bad["ordering_key"], bad["records"], bad["alone"]) == (CHANNEL, 2, False)
        assert "schema_version 7" in bad["error"]
        shown = await surroundings.run("dead-letters", "show", *GROUP)
        assert "기다리는 글" in shown
        assert shown.splitlines()[0] == bad["first"]
        lag = json.loads(await surroundings.run("lag", "--json"))
        parked_keys = {each["group"]: each["parked_keys"] for each in lag["groups"]}
        assert {group for group, keys in parked_keys.items() if keys} == {GROUP_INDEXER, GROUP_NOTIFIER}
        assert parked_keys[GROUP_INDEXER] == parked_keys[GROUP_NOTIFIER] == 1

        code, output, errors = await surroundings.attempt("dead-letters", "replay", *GROUP, "--key", CHANNEL)
        assert (code, output) == (1, f"{CHANNEL}: replayed 0, 2 still parked\n")
        assert errors.count("\n") == 1
        assert "schema_version 7" in errors
        await surroundings.run("dead-letters", "drop", *GROUP, "--source", bad["first"])
        await surroundings.run("dead-letters", "replay", *GROUP, "--key", CHANNEL)
        await until(lambda: found(client, "기다리는"), PATIENCE_S)
        await surroundings.run("dead-letters", "drop", "--group", GROUP_NOTIFIER, "--all", "--yes")
        assert await surroundings.run("dead-letters", "list") == "nothing is parked\n"


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("replay", *GROUP), 2, "--all"),
        (("replay", *GROUP, "--key", "k", "--all"), 2, "choose"),
        (("replay", "--key", "k"), 2, "--group"),
        (("drop", *GROUP, "--key", "k"), 1, "has not parked a record of the key 'k'"),
        (("drop", *GROUP, "--source", "t/0/1"), 1, "has not parked the record t/0/1"),
        (("replay", *GROUP, "--all"), 1, "search-indexer has not parked a record"),
        (("replay", "--group", "nobody", "--all"), 2, "search-indexer"),
        (("replay", *GROUP, "--key", "k", "--timeout", "nan"), 2, "--timeout"),
        (("drop", *GROUP, "--source", "nonsense"), 2, "TOPIC/PARTITION/OFFSET"),
    ],
)
async def test_what_is_not_there_is_said(
    tmp_path: Path, arguments: tuple[str, ...], code: int, line: str
) -> None:
    """Wrong usage exits with 2, and what is not parked with 1; nothing is asked of anybody."""
    surroundings = Surroundings(tmp_path)
    await surroundings.run("topics", "apply")
    ended, output, errors = await surroundings.attempt("dead-letters", *arguments)
    assert (ended, output) == (code, "")
    assert line in errors
    assert errors.count("\n") == 1


async def test_a_request_waits_for_its_group(tmp_path: Path) -> None:
    """Given no member, the command says so in time; the request is done by the next one."""
    surroundings = Surroundings(tmp_path)
    async with system(surroundings):
        await poison(surroundings)
        await until(lambda: parked(surroundings), PATIENCE_S)
    code, output, errors = await surroundings.attempt(
        "dead-letters", "drop", *GROUP, "--key", CHANNEL, "--timeout", "0.5"
    )
    assert (code, output) == (1, "")
    assert "no member of search-indexer" in errors
    async with system(surroundings):

        async def done() -> bool:
            return GROUP_INDEXER not in await groups_with_letters(surroundings)

        await until(done, PATIENCE_S)


async def post(client: httpx.AsyncClient, channel: str, content: str) -> None:
    body = {"channel_id": channel, "author_id": "a", "content": content}
    (await client.post("/messages", json=body)).raise_for_status()


async def found(client: httpx.AsyncClient, word: str) -> bool:
    return bool((await client.get("/messages/search", params={"q": word})).json())


async def poison(surroundings: Surroundings) -> None:
    """Append what a later version would say, and wait for no one."""
    eventlog = open_eventlog(read_settings(surroundings.environment(), dotenv=None))
    value = b'{"event_type":"message.created","schema_version":7,"content":"?"}'
    try:
        await append(eventlog, [NewRecord(MESSAGES_CREATED.name, CHANNEL, CHANNEL, value)])
    finally:
        await eventlog.close()


async def groups_with_letters(surroundings: Surroundings) -> set[str]:
    eventlog = open_eventlog(read_settings(surroundings.environment(), dotenv=None))
    try:
        return {each.letter.group for each in await living(eventlog, None, None, without_content)}
    finally:
        await eventlog.close()


async def parked(surroundings: Surroundings) -> bool:
    return await groups_with_letters(surroundings) == {GROUP_INDEXER, GROUP_NOTIFIER}


async def listed(surroundings: Surroundings) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = json.loads(await surroundings.run("dead-letters", "list", "--json"))
    return keys
