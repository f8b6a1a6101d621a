"""The whole path: post, search, mention, rebuild; one process on files, several on real servers.

Afterwards every store is what the fold of the log says, and a rebuilt index is the live one.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from backbone.settings import Settings, read_settings
from backbone.wiring import Ports as Stores
from backbone.wiring import open_ports
from tests.conftest import ADAPTERS
from tests.system import stores as compare
from tests.system.fold import Fold, expected_notifications
from tests.system.listeners import Listener, listening
from tests.system.platform import own_stores, system
from tests.system.processes import Surroundings
from tests.system.scenario import MESSAGES, USERS, Player, scenario


@pytest.fixture(params=ADAPTERS)
async def surroundings(
    request: pytest.FixtureRequest, tmp_path: Path, unique: str
) -> AsyncIterator[Surroundings]:
    """Give settings for stores of the test's own, and clean them up."""
    settings = {"LOG_FORMAT": "json"}
    if request.param == "embedded":
        yield Surroundings(tmp_path, settings)
        return
    real: Settings = request.getfixturevalue("real_settings")
    async with own_stores(real, unique) as stores:
        yield Surroundings(tmp_path, settings | stores)


@pytest.mark.timeout(240)
async def test_the_whole_path(surroundings: Surroundings) -> None:
    """200 messages, edits, deletions and mentions: every store is as the log says, each mention came once."""
    variables = surroundings.environment()
    settings = read_settings(variables, dotenv=None)
    actions = scenario()
    async with (
        system(surroundings),
        open_ports(settings) as stores,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.port}", timeout=20) as client,
        listening(settings.websocket_port, USERS) as listeners,
    ):
        player = Player(client)
        await player.play(actions)
        assert len(player.ids) == MESSAGES
        await visible(client, player.tokens)

        fold = await compare.settled(stores)
        assert set(fold.messages) == set(player.ids.values())
        await compare.check_database(stores.database, fold)
        await compare.check_states(stores.eventlog, fold)
        await compare.check_index(stores.search, fold)
        await compare.check_reads(client, fold)
        await compare.check_searches(client, fold)
        await check_mentions(stores, fold, listeners)
        await check_rebuild(surroundings, stores, fold)
        await compare.check_searches(client, fold)


async def visible(client: httpx.AsyncClient, tokens: list[str]) -> None:
    """Whoever names its last write finds it, or a newer version of it, in the search."""
    for token in tokens[-5:]:
        headers = {"Consistency-Token": token, "Prefer": "wait=10"}
        answer = await client.get("/messages/search", params={"q": "배포"}, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Search-Complete"] == "true"


async def check_mentions(stores: Stores, fold: Fold, listeners: dict[str, Listener]) -> None:
    """Every mention is in its user's inbox once, came over the open socket once, and is in the log."""
    expected = expected_notifications(fold)
    assert len(expected) > 100
    assert any(each.retracted for each in expected)
    inboxes = await compare.check_inboxes(stores.database, fold)
    for user_id, listener in listeners.items():
        entries = inboxes.get(user_id, [])
        await listener.received(1 + len(entries))
        compare.check_frames(listener.frames, entries)
    await compare.check_notifications_told(stores.eventlog, inboxes)


async def check_rebuild(surroundings: Surroundings, stores: Stores, fold: Fold) -> None:
    """A rebuild by a process of its own leaves another index with the same documents behind the alias.

    A rollback goes back to the index before, which holds the same.
    """
    before = await stores.search.current()
    live = await compare.documents_of(stores.search)
    report = json.loads(await surroundings.run("rebuild", "search", "--json"))
    after = await stores.search.current()
    assert (report["outcome"], report["index_before"], report["index"]) == ("swapped", before, after)
    assert before != after
    assert report["counts"]["messages"] == len(fold.messages)
    assert report["counts"]["deleted"] == len(fold.deleted)
    assert await compare.documents_of(stores.search) == live
    await compare.check_index(stores.search, fold)
    assert await stores.search.indices() == [before, after]
    rolled = json.loads(await surroundings.run("rebuild", "search", "--rollback", "--drop", "--json"))
    assert (rolled["index"], rolled["dropped"]) == (before, [after])
    assert await stores.search.indices() == [before]
    await compare.check_index(stores.search, fold)
