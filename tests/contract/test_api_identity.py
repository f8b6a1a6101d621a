"""Who acts when MAEARI_AUTH=jwt: without a good token nobody does, on any route; with one, its subject."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from sqlalchemy import func, select

from backbone.database.tables import message_events
from backbone.settings import Settings, TokenSecurity
from tests.support.backend import Backend, running_backend, user
from tests.support.tokens import SECRET, IdentityProvider, bearer, identity_provider, rsa_key, token_for

OPEN = ("/health/live", "/health/ready", "/metrics", "/schema/openapi.json")
CHANNEL = "일반"


@pytest.fixture
async def first_message(embedded_settings: Settings) -> str:
    """A message of 철수's in a channel that is there already; return its id."""
    async with running_backend(embedded_settings) as backend:
        message: str = (await backend.post(CHANNEL, "철수", "안녕"))["message_id"]
        return message


@pytest.fixture
async def backend(embedded_settings: Settings, first_message: str) -> AsyncIterator[Backend]:
    security = TokenSecurity(secret=SECRET)
    settings = replace(
        embedded_settings, auth="jwt", token_security=security, allowed_origins=("http://localhost:3000",)
    )
    async with running_backend(settings) as running:
        assert first_message.startswith("msg_")
        yield running


async def events(backend: Backend) -> int:
    """Count the events of messages."""
    async with backend.ports.database.reading() as connection:
        return int(await connection.scalar(select(func.count()).select_from(message_events)) or 0)


def assert_challenged(answer: httpx.Response, bad_token: bool) -> None:
    """Check a refusal for want of a good token."""
    assert answer.status_code == 401, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/unauthenticated"
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="maeari"')
    assert ('error="invalid_token", error_description="' in challenge) is bad_token


@pytest.mark.parametrize(
    ("authorization", "bad_token"),
    [
        (None, False),
        ("Basic a2ltOnNlY3JldA==", False),
        (token_for("kim"), False),
        ("Bearer", True),
        ("Bearer x.y.z", True),
        (f"Bearer {token_for('kim', 'another secret that is as long as ours')}", True),
        (f"Bearer {token_for('kim', SECRET, exp=1)}", True),
        (f"Bearer {token_for('')}", True),
    ],
)
async def test_who_may_not(
    backend: Backend, first_message: str, authorization: str | None, bad_token: bool
) -> None:
    """No good token: 401 with a challenge, whoever the request names; nothing is stored, nothing shown."""
    before = await events(backend)
    headers = {"X-User-Id": "kim"} | ({} if authorization is None else {"Authorization": authorization})
    body = {"channel_id": CHANNEL, "author_id": "kim", "content": "x"}
    path = f"/messages/{first_message}"
    for answer in (
        await backend.client.post("/messages", json=body, headers=headers),
        await backend.client.post("/messages", content=b"no JSON", headers=headers),
        await backend.client.get(path, headers=headers),
        await backend.client.patch(path, json={"content": "x"}, headers=headers),
        await backend.client.delete(path, headers=headers),
        await backend.client.get("/messages/search?q=안녕", headers=headers),
    ):
        assert_challenged(answer, bad_token)
        assert "x.y.z" not in answer.text + str(answer.headers)
    assert await events(backend) == before


async def test_two_tokens_are_none(backend: Backend, first_message: str) -> None:
    """Which of two headers counts is not guessed."""
    headers = [("Authorization", f"Bearer {token_for(name)}") for name in ("kim", "lee")]
    assert_challenged(await backend.client.get(f"/messages/{first_message}", headers=headers), True)


async def test_every_route_asks_for_a_token(backend: Backend) -> None:
    """Whatever the description lists is closed, probes aside, and what it does not list is not there."""
    described = (await backend.client.get("/schema/openapi.json")).json()["paths"]
    routes = [(method, path) for path, methods in described.items() if path not in OPEN for method in methods]
    assert ("post", "/messages") in routes
    for method, path in routes:
        filled = path.replace("{", "").replace("}", "")
        assert_challenged(await backend.client.request(method.upper(), filled), False)
    for path in ("/nowhere", "/metrics/x", "/health", "/schemas"):
        assert (await backend.client.get(path)).status_code == 404


async def test_what_is_open(backend: Backend) -> None:
    """Probes and the description of the API answer anyone, with a bad token too."""
    for path in OPEN:
        for headers in ({}, {"Authorization": "Bearer x.y.z"}):
            assert (await backend.client.get(path, headers=headers)).status_code == 200, path


async def test_a_browser_asks_first_without_a_token(backend: Backend) -> None:
    """A preflight carries no token; its answer lets the page send one and read the challenge."""
    asking = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    answer = await backend.client.options("/messages", headers=asking)
    assert answer.status_code == 204
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
    assert (await backend.client.options("/messages")).status_code == 204
    refused = await backend.client.get("/messages/x", headers={"Origin": "http://localhost:3000"})
    assert_challenged(refused, False)
    assert "WWW-Authenticate" in refused.headers["Access-Control-Expose-Headers"]


async def test_nobody_acts_for_others(backend: Backend, first_message: str) -> None:
    """Another user in the body or in X-User-Id: 403, reading too; nothing is stored."""
    before = await events(backend)
    body = {"channel_id": CHANNEL, "content": "x"}
    path = f"/messages/{first_message}"
    kim = bearer("kim", scope="read write")
    as_author = {name.encode(): value.encode() for name, value in kim.items()} | user("철수")
    for answer in (
        await backend.client.post("/messages", json={**body, "author_id": "철수"}, headers=kim),
        await backend.client.post("/messages", json=body, headers=as_author),
        await backend.client.post("/messages", json={**body, "author_id": "kim"}, headers=as_author),
        await backend.client.patch(path, json={"content": "x"}, headers=as_author),
        await backend.client.delete(path, headers=as_author),
        await backend.client.get(path, headers=as_author),
        await backend.client.get("/messages/search?q=안녕", headers=as_author),
        await backend.client.patch(path, json={"content": "x"}, headers=kim),
        await backend.client.delete(path, headers=kim),
    ):
        assert answer.status_code == 403, answer.request
    assert await events(backend) == before


@pytest.mark.parametrize("named", ["", "body", "header", "both"])
async def test_the_subject_acts(backend: Backend, named: str) -> None:
    """The subject is the author, named once more or not; the scheme's letters are of any size."""
    body = {"channel_id": CHANNEL, "content": "x"} | (
        {"author_id": "보라"} if named in ("body", "both") else {}
    )
    headers = {b"Authorization": f"bEARER {token_for('보라')}".encode()}
    headers |= user("보라") if named in ("header", "both") else {}
    posted = await backend.client.post("/messages", json=body, headers=headers)
    assert (posted.status_code, posted.json()["author_id"]) == (201, "보라")
    path = posted.headers["Location"]
    assert (await backend.client.get(path, headers=headers)).status_code == 200
    assert (await backend.client.patch(path, json={"content": "y"}, headers=headers)).status_code == 200
    assert (await backend.client.delete(path, headers=headers)).status_code == 204


@pytest.mark.parametrize("claims", [{"scope": "read impersonate"}, {"scp": ["impersonate"]}])
async def test_impersonators_act_for_others(
    backend: Backend, first_message: str, claims: dict[str, object]
) -> None:
    """With the scope, the one who is named acts; two different ones are refused all the same."""
    gateway = {name.encode(): value.encode() for name, value in bearer("gateway", **claims).items()}
    body = {"channel_id": CHANNEL, "content": "x"}
    for more, headers, author in (
        ({"author_id": "철수"}, {}, "철수"),
        ({}, user("철수"), "철수"),
        ({}, {}, "gateway"),
    ):
        posted = await backend.client.post("/messages", json={**body, **more}, headers=gateway | headers)
        assert (posted.status_code, posted.json()["author_id"]) == (201, author)
    both = {**body, "author_id": "영희"}
    assert (
        await backend.client.post("/messages", json=both, headers=gateway | user("철수"))
    ).status_code == 403
    path = f"/messages/{first_message}"
    assert (await backend.client.delete(path, headers=gateway | user("철수"))).status_code == 204


async def test_a_provider_that_is_down(embedded_settings: Settings, first_message: str) -> None:
    """Until the keys can be had: 503 with Retry-After, and the probe says why; HS256 gets 401 even so."""
    async with identity_provider() as gone:
        security = TokenSecurity(jwks_url=gone.url)
    settings = replace(embedded_settings, auth="jwt", token_security=security)
    async with running_backend(settings) as backend:
        headers = {"Authorization": f"Bearer {rsa_key('one').sign('kim')}"}
        answer = await backend.client.get(f"/messages/{first_message}", headers=headers)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert "identity provider" in answer.json()["detail"]
        ready = await backend.client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        assert "jwks" in ready.json()["dependencies"]
        assert_challenged(await backend.client.get("/messages/x", headers=bearer("kim")), True)


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    async with identity_provider() as running:
        yield running


async def test_keys_of_a_provider(
    embedded_settings: Settings, first_message: str, provider: IdentityProvider
) -> None:
    """Given a JWKS, a token that its key signed is good, and one that our own secret might sign is not."""
    key = rsa_key("one")
    provider.publish(key)
    settings = replace(embedded_settings, auth="jwt", token_security=TokenSecurity(jwks_url=provider.url))
    async with running_backend(settings) as backend:
        path = f"/messages/{first_message}"
        headers = {"Authorization": f"Bearer {key.sign('kim')}"}
        assert (await backend.client.get(path, headers=headers)).status_code == 200
        assert_challenged(await backend.client.get(path, headers=bearer("kim")), True)
