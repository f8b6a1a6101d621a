"""Serves an ASGI app with uvicorn on one address until it is told to stop."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from backbone.errors import SetupError
from backbone.http_connection import LimitedConnection

_GRACE_S = 3
BACKLOG = 4096
# Longer than clients' own patience (Node: 5 s), so that they close first, with no request on its way.
_KEEP_ALIVE_S = 15


class _Server(uvicorn.Server):
    """A server that leaves signals to the process it is a part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(host: str, port: int, setting: str) -> socket.socket:
    """Return a listening socket. Raises SetupError, naming `setting`, when the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise SetupError(f"MAEARI_HOST: {host!r} is no address of this machine: {error.strerror}") from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            why = f"port {port} of {host} is taken by another program; set {setting} to a free one"
        else:
            why = f"cannot listen on {host}:{port}: {error.strerror}"
        raise SetupError(f"{setting}: {why}") from error
    listener.setblocking(False)
    return listener


async def serve_http(app: Any, listener: socket.socket, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then let the requests under way end, within a few seconds."""
    config = uvicorn.Config(
        app,
        http=LimitedConnection,
        # Sockets have a server of their own.
        ws="none",
        backlog=BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        # Nothing here depends on who or what stands before us.
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        serving.cancel()
        stopping.cancel()
        listener.close()
