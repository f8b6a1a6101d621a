"""The API as a whole on both sets of stores: which pages may speak to it, its description, its probes."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest

from backbone.settings import Settings
from backend.api.stopping import answering_when_stopped
from tests.conftest import ADAPTERS
from tests.support.backend import Backend, running_backend
from tests.support.database import own_database


@pytest.fixture(params=ADAPTERS)
async def backend(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Backend]:
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with own_database(settings, unique) as own, running_backend(own) as running:
        yield running


async def test_pages_of_other_sites_are_refused(backend: Backend) -> None:
    """A browser may send a simple request for any page: only pages of this machine are served."""
    body = b'{"channel_id": "c", "author_id": "a", "content": "x"}'
    for origin, status in [("http://evil.example", 403), ("null", 403), ("http://localhost:3000", 201)]:
        headers = {"Origin": origin, "content-type": "text/plain"}
        answer = await backend.client.post("/messages", content=body, headers=headers)
        assert answer.status_code == status
        allowed = answer.headers.get("Access-Control-Allow-Origin")
        assert allowed == (origin if status == 201 else None)
    rebound = await backend.client.get("/messages/search?q=x", headers={"Host": "evil.example:8000"})
    assert rebound.status_code == 403


async def test_openapi_is_served(backend: Backend) -> None:
    """The description of the API lists the routes."""
    answer = await backend.client.get("/schema/openapi.json")
    assert {"/messages", "/messages/{message_id}", "/messages/search"} <= set(answer.json()["paths"])


async def test_probes(backend: Backend) -> None:
    """Live, ready and metrics answer."""
    assert (await backend.client.get("/health/live")).status_code == 200
    ready = await backend.client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ok")
    assert "maeari_" in (await backend.client.get("/metrics")).text


async def test_a_request_cut_off_by_the_stop_is_answered() -> None:
    """Given a request that outlasts the server's patience at its stop, the client is told to ask again."""
    begun = asyncio.Event()

    async def endless(_scope: object, _receive: object, _send: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    request = asyncio.ensure_future(answering_when_stopped(endless)({"type": "http"}, None, send))
    await begun.wait()
    request.cancel()
    await request
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"2") in sent[0]["headers"]
    assert b"/problems/stopping" in sent[1]["body"]
