"""Searches of real processes whose indexer was killed: in time, honest, with the rights of the moment."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from backbone.settings import Settings
from tests.conftest import ADAPTERS
from tests.system.platform import own_stores
from tests.system.processes import Surroundings

# What a busy machine may take beyond the asked time; on an idle one it is some hundredths.
LATE_S = 1.0


@pytest.fixture(params=ADAPTERS)
async def surroundings(
    request: pytest.FixtureRequest, tmp_path: Path, unique: str
) -> AsyncIterator[Surroundings]:
    """Give settings for stores of the test's own, all set up."""
    if request.param == "embedded":
        surroundings = Surroundings(tmp_path, {})
        await surroundings.run("migrate")
        await surroundings.run("topics", "apply")
        yield surroundings
        return
    real: Settings = request.getfixturevalue("real_settings")
    async with own_stores(real, unique) as stores:
        surroundings = Surroundings(tmp_path, stores)
        await surroundings.run("migrate")
        await surroundings.run("topics", "apply")
        yield surroundings


class Client:
    """Speaks to the backend as one user."""

    def __init__(self, client: httpx.AsyncClient, user: str) -> None:
        self._client = client
        self._as = {"X-User-Id": user}

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        answer = await self._client.request(method, path, json=body, headers=self._as)
        assert answer.status_code < 300, answer.text
        return answer

    async def post(self, channel: str, content: str) -> httpx.Response:
        return await self.ask("POST", "/messages", {"channel_id": channel, "content": content})

    async def search(self, token: str | None = None, wait: str | None = None) -> tuple[httpx.Response, float]:
        """Search for everything; return the answer and how long it took, in seconds."""
        headers = dict(self._as)
        if token is not None:
            headers["Consistency-Token"] = token
        if wait is not None:
            headers["Prefer"] = f"wait={wait}"
        loop = asyncio.get_running_loop()
        start = loop.time()
        answer = await self._client.get("/messages/search", params={"q": "배포"}, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer, loop.time() - start


def contents(answer: httpx.Response) -> set[str]:
    return {hit["_source"]["content"] for hit in answer.json()}


async def test_the_indexer_is_killed(surroundings: Surroundings) -> None:
    """What is not indexed is not claimed; what was deleted and left is not shown; then all is caught up."""
    ports = surroundings.ports
    indexer = await surroundings.start("indexer", probe=ports.indexer)
    async with (
        surroundings.running("backend", probe=ports.api),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.api}", timeout=20) as client,
    ):
        owner, guest = Client(client, "owner"), Client(client, "guest")
        try:
            await owner.ask("POST", "/channels", {"channel_id": "team", "name": "team", "private": True})
            await owner.ask("PUT", "/channels/team/members/guest")
            gone = await owner.post("open", "배포 지울 것")
            last = await owner.post("team", "배포 팀")
            answer, _ = await guest.search(last.headers["Consistency-Token"], "10")
            assert answer.headers["Search-Complete"] == "true"
            assert "배포 팀" in contents(answer)
            answer, _ = await guest.search(gone.headers["Consistency-Token"], "10")
            assert contents(answer) == {"배포 지울 것", "배포 팀"}
        finally:
            indexer.kill()
            await indexer.wait()

        deleted = await owner.ask("DELETE", gone.headers["Location"])
        await guest.ask("DELETE", "/channels/team/members/guest")
        late = await owner.post("open", "배포 나중")
        answer, took_s = await guest.search()
        assert (contents(answer), answer.headers["Total-Count"]) == (set(), "1")
        assert "Search-Complete" not in answer.headers
        assert took_s < LATE_S
        for token in (deleted.headers["Consistency-Token"], late.headers["Consistency-Token"]):
            for wait, wait_s in (("0", 0.0), ("1", 1.0), (None, 2.0)):
                answer, took_s = await guest.search(token, wait)
                assert (answer.headers["Search-Complete"], contents(answer)) == ("false", set())
                assert wait_s <= took_s < wait_s + LATE_S

        async with surroundings.running("indexer", probe=ports.indexer):
            answer, _ = await guest.search(late.headers["Consistency-Token"], "10")
            assert (answer.headers["Search-Complete"], contents(answer)) == ("true", {"배포 나중"})
            answer, _ = await guest.search(deleted.headers["Consistency-Token"], "10")
            assert (answer.headers["Search-Complete"], contents(answer)) == ("true", {"배포 나중"})
