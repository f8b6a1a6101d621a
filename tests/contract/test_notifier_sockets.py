"""The sockets' manners: who may connect, what is said first, what ends a connection and how."""

import asyncio
import socket
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from websockets.exceptions import InvalidStatus

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.database.migrations import migrate
from backbone.errors import SetupError, Unavailable
from backbone.http import bind
from backbone.mailbox import Asked, Mailbox, News, Standing
from notifier.handshake import Refused, check_origin
from notifier.inbox import Inbox
from notifier.wire import Limits
from schemas.frames import SUBPROTOCOL, ErrorFrame, Hello, NotificationFrame, Read
from tests.support.messaging import Talk
from tests.support.sockets import Node, node
from tests.support.waiting import until


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty inbox in a file."""
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'database.sqlite3'}")
    await migrate(database)
    yield database
    await database.close()


@pytest.fixture
async def server(database: Database) -> AsyncIterator[Node]:
    """A node on that file."""
    async with node(database) as served:
        yield served


async def mention(server: Node, user_id: str, *contents: str) -> None:
    """Put notifications into an inbox and tell the node, as the consumer does."""
    talk = Talk()
    inbox = Inbox(server.database, SystemClock())
    server.hub.wake(await inbox.apply([talk.post(content, [user_id]) for content in contents]))


async def test_hello_comes_first(server: Node) -> None:
    """A new user is told that the inbox is empty, under the subprotocol it asked for."""
    async with server.connected("bora") as client:
        assert client.socket.subprotocol == SUBPROTOCOL
        assert await client.frame() == Hello(user_id="bora", epoch=1, latest_seq=0, heartbeat_s=30)


@pytest.mark.parametrize("offered", [(), ("chat",), ("chat", SUBPROTOCOL)])
async def test_any_subprotocol_is_accepted_ours_is_chosen(server: Node, offered: tuple[str, ...]) -> None:
    """A client that does not know `maeari.v1` is served all the same."""
    async with server.connected("bora", subprotocols=offered) as client:
        assert client.socket.subprotocol == (SUBPROTOCOL if SUBPROTOCOL in offered else None)
        assert (await client.hello()).user_id == "bora"


@pytest.mark.parametrize("path", ["/", "/ws/", "/ws/x", "/wss"])
async def test_another_path_is_not_found(server: Node, path: str) -> None:
    """Only /ws is a socket."""
    with pytest.raises(InvalidStatus) as refused:
        async with server.connected("bora", path=path):
            pass
    assert refused.value.response.status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "",
        "user_id=",
        "user_id=a%2Fb",
        "user_id=..",
        "user_id=a%00",
        "user_id=a%0A",
        "user_id=%FF",
        "user_id=%ED%A0%80",
        "user_id=" + "a" * 129,
        "user_id=a&user_id=b",
        "user=a",
        "&".join(f"a{i}=1" for i in range(50)),
    ],
)
async def test_nobody_is_not_authenticated(server: Node, query: str) -> None:
    """Without one valid user the socket is closed with 4401."""
    async with server.connected(None, query=query) as client:
        assert await client.close_code() == 4401


@pytest.mark.parametrize("after", ["-1", "x", "", "1.5", "9" * 30, "%D9%A1", "1&after=2"])
async def test_a_wrong_position_is_a_bad_frame(server: Node, after: str) -> None:
    """`after` that is no number gets 4400."""
    async with server.connected("bora", after) as client:
        assert await client.close_code() == 4400


@pytest.mark.parametrize("user_id", ["보라", "名前 with spaces", "a+b&c=d?#%", "🐢" * 128, "..."])
async def test_users_of_any_script(server: Node, user_id: str) -> None:
    """Whatever is a user id elsewhere is one here, and gets its notifications."""
    async with server.connected(user_id, 0) as client:
        assert (await client.hello()).user_id == user_id
        await mention(server, user_id, "안녕")
        (frame,) = await client.entries(1)
        assert isinstance(frame, NotificationFrame)
        assert (frame.seq, frame.notification.user_id, frame.notification.body) == (1, user_id, "안녕")


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "not JSON",
        "{}",
        "[]",
        '{"type":"read"}',
        '{"type":"read","up_to":"1"}',
        '{"type":"read","up_to":-1}',
        '{"type":"ack","seq":1.5}',
        '{"type":"hello"}',
        '{"type":"shout"}',
        '{"type":"subscribe","channel_id":"a/b"}',
        '{"type":"ack","seq":1',
        b'{"type":"ack","seq":1}',
        "[" * 50_000,
    ],
)
async def test_a_bad_frame_ends_the_socket(server: Node, frame: str | bytes) -> None:
    """Not JSON, an unknown type, a wrong type of a field, binary: 4400."""
    async with server.connected("bora") as client:
        await client.hello()
        await client.say(frame)
        assert await client.close_code() == 4400


async def test_a_frame_too_large_ends_the_socket(server: Node) -> None:
    """What no frame of ours needs is not read: 1009, as the protocol has it."""
    async with server.connected("bora") as client:
        await client.hello()
        await client.say('{"type":"ack","seq":1,"x":"' + "x" * 100_000 + '"}')
        assert await client.close_code() == 1009


async def test_reading_never_goes_beyond_the_inbox(server: Node) -> None:
    """A mark beyond the last entry marks what is there; what comes later is unread."""
    await mention(server, "bora", "one")
    async with server.connected("bora", 0) as reader, server.connected("bora") as other:
        await reader.hello()
        await other.hello()
        await reader.seqs(1)
        await reader.say(Read(up_to=2**70))
        assert await other.frame() == Read(up_to=1)
        await mention(server, "bora", "two")
        (frame,) = await other.entries(1)
        assert isinstance(frame, NotificationFrame)
        assert frame.notification.read_at is None
    async with server.connected("bora", 0) as later:
        await later.hello()
        first, second = await later.entries(2)
        assert isinstance(first, NotificationFrame)
        assert isinstance(second, NotificationFrame)
        assert first.notification.read_at is not None
        assert second.notification.read_at is None


async def test_a_stopping_server_says_so(database: Database) -> None:
    """Every socket is closed with 1012 when the server stops."""
    async with node(database) as served:
        connecting = served.connected("bora")
        client = await connecting.__aenter__()
        await client.hello()
    assert await client.close_code() == 1012
    await connecting.__aexit__(None, None, None)


async def test_a_slow_client_is_closed(database: Database) -> None:
    """A client that takes nothing in is cut off in bounded time, and the node serves others on."""
    limits = Limits(send_timeout_s=0.2, close_timeout_s=0.2)
    closed_before = closed_as_too_slow()
    async with node(database, limits=limits) as served:

        async def gone() -> bool:
            return closed_as_too_slow() > closed_before and served.hub.users() == 0

        await mention(served, "bora", *["가" * 40_000] * 120)
        with await asyncio.to_thread(_connect_and_read_nothing, served.port):
            await until(gone)
        async with served.connected("bora", 118) as client:
            await client.hello()
            assert await client.seqs(2) == [119, 120]


def closed_as_too_slow() -> float:
    """Return how many sockets this process has closed with 4408."""
    return REGISTRY.get_sample_value("maeari_notifier_sockets_closed_total", {"code": "4408"}) or 0


def _connect_and_read_nothing(port: int) -> socket.socket:
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", port))
    raw.sendall(
        b"GET /ws?user_id=bora&after=0 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return raw


class FailingMailbox(Mailbox):
    """A mailbox whose database is away for as long as `away` is set."""

    away = False

    async def standing(self, user_id: str) -> Standing:
        self._check()
        return await super().standing(user_id)

    async def after(self, asked: Collection[Asked], limit: int) -> Mapping[Asked, News]:
        self._check()
        return await super().after(asked, limit)

    async def mark_read(self, user_id: str, up_to: int) -> int:
        self._check()
        return await super().mark_read(user_id, up_to)

    def _check(self) -> None:
        if self.away:
            raise Unavailable("database", "away")


async def test_a_database_that_is_away_loses_nothing(database: Database) -> None:
    """Who is connected stays and gets the rest later; who comes meanwhile is told to come again."""
    mailbox = FailingMailbox(database, SystemClock())
    async with (
        node(database, mailbox=mailbox, limits=Limits(retry_s=0.01)) as served,
        served.connected("bora", 0) as client,
    ):
        await client.hello()
        mailbox.away = True
        await mention(served, "bora", "하나")
        await client.say(Read(up_to=1))
        frame = await client.frame()
        assert isinstance(frame, ErrorFrame)
        assert frame.code == "unavailable"
        async with served.connected("bora") as late:
            assert await late.close_code() == 1012
        mailbox.away = False
        assert await client.seqs(1) == [1]


@pytest.mark.parametrize("origin", ["http://localhost:8000", "http://127.0.0.1", "https://[::1]:3000"])
async def test_pages_of_this_machine_may_connect(server: Node, origin: str) -> None:
    """Without MAEARI_ALLOWED_ORIGINS a page that this machine serves is let in."""
    async with server.connected("bora", origin=origin) as client:
        await client.hello()


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://["]
)
async def test_pages_of_other_sites_may_not(server: Node, origin: str) -> None:
    """A page from elsewhere gets 4403."""
    async with server.connected("bora", origin=origin) as client:
        assert await client.close_code() == 4403


def test_only_the_origins_that_are_set_may_connect() -> None:
    """With MAEARI_ALLOWED_ORIGINS, those alone are let in."""
    allowed = ("https://chat.example",)
    check_origin("https://chat.example", allowed)
    for origin in ("http://chat.example", "https://chat.example:444", "http://localhost"):
        with pytest.raises(Refused):
            check_origin(origin, allowed)


async def test_a_taken_port_is_one_line(server: Node) -> None:
    """A second server on the port is refused with a line that names the setting."""
    with pytest.raises(
        SetupError, match=rf"port {server.port} of 127\.0\.0\.1 is taken.*MAEARI_WEBSOCKET_PORT"
    ):
        bind("127.0.0.1", server.port, "MAEARI_WEBSOCKET_PORT")
