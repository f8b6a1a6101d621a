"""Who connects when MAEARI_AUTH=jwt: without a good token the socket is closed with 4401."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import structlog

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.database.migrations import migrate
from backbone.health import Health
from backbone.settings import TokenSecurity
from backbone.tokens.jwks import JwksKeys
from backbone.tokens.secret import SecretKey
from backbone.tokens.verifier import JwtVerifier
from schemas.frames import SUBPROTOCOL, Hello
from tests.support.sockets import Node, node
from tests.support.tokens import SECRET, bearer, identity_provider, rsa_key, token_for

KIM = token_for("kim")
EXPIRED = token_for("kim", SECRET, exp=1)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty inbox in a file."""
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'database.sqlite3'}")
    await migrate(database)
    yield database
    await database.close()


@pytest.fixture
async def server(database: Database) -> AsyncIterator[Node]:
    """A node that asks for tokens."""
    async with node(database, verifier=checks()) as served:
        yield served


def checks() -> JwtVerifier:
    return JwtVerifier(SecretKey(SECRET), TokenSecurity(secret=SECRET), SystemClock())


def as_bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("headers", "subprotocols", "query"),
    [
        pytest.param({}, (SUBPROTOCOL,), "", id="nothing"),
        pytest.param({}, (SUBPROTOCOL,), "user_id=kim", id="only a name"),
        pytest.param({}, (SUBPROTOCOL,), f"token={KIM}", id="a token in the query"),
        pytest.param({}, (SUBPROTOCOL, KIM), "", id="a subprotocol without bearer."),
        pytest.param({}, (SUBPROTOCOL, "bearer."), "", id="an empty subprotocol"),
        pytest.param({}, (SUBPROTOCOL, "bearer.x.y.z"), "", id="a bad subprotocol"),
        pytest.param({}, (SUBPROTOCOL, f"bearer.{EXPIRED}"), "", id="an expired subprotocol"),
        pytest.param({"Authorization": KIM}, (), "", id="no scheme"),
        pytest.param({"Authorization": "Basic a2lt"}, (), "", id="another scheme"),
        pytest.param({"Authorization": "Bearer "}, (), "", id="no token"),
        pytest.param(as_bearer("토큰".encode().hex()), (), "", id="not a JWT"),
        pytest.param(as_bearer(EXPIRED), (), "", id="expired"),
        pytest.param(as_bearer(token_for("kim", SECRET * 2)), (), "", id="another secret"),
        pytest.param(as_bearer(KIM), (), "user_id=lee", id="another user"),
        pytest.param(as_bearer(KIM), (), "user_id=", id="no user"),
        pytest.param(as_bearer(KIM), (), "user_id=kim&user_id=kim", id="a user twice"),
        pytest.param(bearer("kim", scope="read"), (), "user_id=lee", id="another user, another scope"),
        pytest.param(as_bearer(KIM), (f"bearer.{token_for('lee')}",), "", id="two tokens"),
        pytest.param({}, (f"bearer.{KIM}", f"bearer.{token_for('lee')}"), "", id="two subprotocols"),
        pytest.param(as_bearer(EXPIRED), (f"bearer.{KIM}",), "", id="a bad one and a good one"),
    ],
)
async def test_who_may_not(
    server: Node, headers: Mapping[str, str], subprotocols: tuple[str, ...], query: str
) -> None:
    """4401, and neither answer nor log shows a token."""
    with structlog.testing.capture_logs() as logs:
        async with server.connected(None, query=query, headers=headers, subprotocols=subprotocols) as client:
            assert await client.close_code() == 4401
            assert client.socket.subprotocol == (SUBPROTOCOL if SUBPROTOCOL in subprotocols else None)
            told = f"{client.socket.close_reason} {logs}"
    assert not any(token in told for token in (KIM, EXPIRED, "x.y.z"))


@pytest.mark.parametrize(
    ("headers", "subprotocols", "query", "user_id"),
    [
        pytest.param(as_bearer(KIM), (SUBPROTOCOL,), "", "kim", id="header"),
        pytest.param({"Authorization": f"bEARER  {KIM}"}, (), "user_id=kim", "kim", id="the same name"),
        pytest.param({}, (SUBPROTOCOL, f"bearer.{KIM}"), "", "kim", id="subprotocol"),
        pytest.param({}, (f"bearer.{KIM}", SUBPROTOCOL), "", "kim", id="subprotocol, in front"),
        pytest.param({}, (f"bearer.{KIM}",), "", "kim", id="no subprotocol but the token"),
        pytest.param(as_bearer(KIM), (f"bearer.{KIM}",), "", "kim", id="the same token twice"),
        pytest.param({"Authorization": "Basic a2lt"}, (f"bearer.{KIM}",), "", "kim", id="Basic beside it"),
        pytest.param(bearer("보라"), (), "user_id=%EB%B3%B4%EB%9D%BC", "보라", id="any script"),
        pytest.param(bearer("gate", scope="impersonate"), (), "user_id=kim", "kim", id="impersonator"),
        pytest.param(bearer("gate", scope="impersonate"), (), "", "gate", id="impersonator as itself"),
    ],
)
async def test_who_may(
    server: Node, headers: Mapping[str, str], subprotocols: tuple[str, ...], query: str, user_id: str
) -> None:
    """The subject, or whom an impersonator names; only `maeari.v1` is ever chosen."""
    async with server.connected(None, query=query, headers=headers, subprotocols=subprotocols) as client:
        assert await client.frame() == Hello(user_id=user_id, epoch=1, latest_seq=0, heartbeat_s=30)
        assert client.socket.subprotocol == (SUBPROTOCOL if SUBPROTOCOL in subprotocols else None)


async def test_a_wrong_position_is_told_to_those_who_may(server: Node) -> None:
    """First who, then where: 4401 without a token, 4400 with one."""
    async with server.connected(None, query="after=x") as client:
        assert await client.close_code() == 4401
    async with server.connected(None, query="after=x", headers=as_bearer(KIM)) as client:
        assert await client.close_code() == 4400


async def test_a_socket_ends_with_its_token(server: Node) -> None:
    """Given a token with an end, the socket is closed with 4401 then; others stay."""
    ends_s = SystemClock().now_ms() / 1000 + 1
    async with (
        server.connected(None, headers=bearer("kim", exp=ends_s)) as brief,
        server.connected(None, headers=bearer("kim", exp=ends_s + 3_600)) as long,
    ):
        await brief.hello()
        await long.hello()
        assert await brief.close_code() == 4401
        assert SystemClock().now_ms() / 1000 >= ends_s
        await long.say('{"type":"read","up_to":0}')
        ping = await long.socket.ping()
        async with asyncio.timeout(5):
            await ping


async def test_a_provider_that_is_down(database: Database) -> None:
    """While nobody can tell who connects, the client is told to come again: 1012; then it may."""
    key = rsa_key("one")
    async with identity_provider() as provider:
        provider.publish(key)
        provider.status = 503
        keys = JwksKeys(provider.url, Health(), retry_s=0)
        verifier = JwtVerifier(keys, TokenSecurity(jwks_url=provider.url), SystemClock())
        async with node(database, verifier=verifier) as server:
            async with server.connected(None, headers=as_bearer(key.sign("kim"))) as client:
                assert await client.close_code() == 1012
            provider.status = 200
            async with server.connected(None, headers=as_bearer(key.sign("kim"))) as client:
                assert (await client.hello()).user_id == "kim"
