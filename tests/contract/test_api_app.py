"""The API as a whole on both sets of stores: which pages may speak to it, its description, its probes."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from backbone.settings import Settings, TokenSecurity
from backend.api.stopping import answering_when_given_up
from tests.conftest import ADAPTERS
from tests.support.backend import Backend, running_backend
from tests.support.database import own_database
from tests.support.tokens import SECRET, bearer


@pytest.fixture(params=ADAPTERS)
async def backend(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Backend]:
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with own_database(settings, unique) as own, running_backend(own) as running:
        yield running


async def test_pages_of_other_sites_are_refused(backend: Backend) -> None:
    """A browser sends what a page asks: only this machine's pages are served; none may read the answer."""
    body = {"channel_id": "c", "author_id": "a", "content": "x"}
    for origin, status in [("http://evil.example", 403), ("null", 403), ("http://localhost:3000", 201)]:
        answer = await backend.client.post("/messages", json=body, headers={"Origin": origin})
        assert answer.status_code == status
        assert not any(name.startswith("access-control-") for name in answer.headers)
    rebound = await backend.client.get("/messages/search?q=x", headers={"Host": "evil.example:8000"})
    assert rebound.status_code == 403
    asked = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    preflight = await backend.client.options("/messages", headers=asked)
    assert not any(name.startswith("access-control-") for name in preflight.headers)


async def test_pages_that_are_named_may_read(embedded_settings: Settings) -> None:
    """With origins set, others are refused; those get CORS headers, and their preflight needs no token."""
    security = TokenSecurity(secret=SECRET)
    origin = "https://chat.example"
    settings = replace(embedded_settings, auth="jwt", token_security=security, allowed_origins=(origin,))
    async with running_backend(settings) as backend:
        foreign = {"Origin": "http://localhost:3000", **bearer("a")}
        refused = await backend.client.get("/channels", headers=foreign)
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        preflight = await backend.client.options("/messages", headers=asked)
        assert (preflight.status_code, preflight.headers["Access-Control-Allow-Origin"]) == (204, origin)
        foreign_preflight = await backend.client.options("/messages", headers={**asked, **foreign})
        assert (foreign_preflight.status_code, foreign_preflight.json()["status"]) == (403, 403)
        unknown = await backend.client.post("/channels", json={"name": "x"}, headers={"Origin": origin})
        made = await backend.client.post(
            "/channels", json={"name": "x"}, headers={"Origin": origin, **bearer("a")}
        )
        for answer, status in ((unknown, 401), (made, 201)):
            assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, origin)
            assert "RateLimit-Remaining" in answer.headers["Access-Control-Expose-Headers"]


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


async def given_up(within_s: float, stop: bool) -> Sequence[MutableMapping[str, Any]]:
    """Return what is sent where an app never answers, for the time or for the stop to end it."""
    begun = asyncio.Event()

    async def endless(_scope: object, _receive: object, _send: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/messages"}
    request = asyncio.ensure_future(answering_when_given_up(endless, within_s)(scope, None, send))
    await begun.wait()
    if stop:
        request.cancel()
    await request
    return sent


@pytest.mark.parametrize(("stop", "slug"), [(True, "stopping"), (False, "timed-out")])
async def test_a_request_given_up_is_answered(stop: bool, slug: str) -> None:
    """A request that outlasts the server's patience, or its life, is told to ask again."""
    sent = await given_up(60 if stop else 0.01, stop)
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"2") in sent[0]["headers"]
    assert f"/problems/{slug}".encode() in sent[1]["body"]
