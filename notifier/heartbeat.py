"""The heartbeat of a node: one loop that pings every socket, and cuts off those not heard of any more.

Guarantees: a client that sends nothing, not even the answer to a ping, for two intervals is cut off; a socket
costs no task and no timer for it.
"""

import asyncio
from collections import deque

import structlog
from websockets.protocol import State

from notifier.metrics import SOCKETS_CLOSED
from notifier.wire import PING, Connection

# RFC 6455: nothing was received, not even a close.
CLOSED_ABNORMALLY = 1006

log = structlog.get_logger()


class Heartbeat:
    """Pings connections, each `every_s` seconds after it was added or pinged last."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        # In the order of the moments, for all wait equally long.
        self._next: deque[tuple[float, Connection]] = deque()

    def add(self, connection: Connection) -> None:
        """Look after a connection until it is closed."""
        now_s = asyncio.get_running_loop().time()
        connection.heard_s = now_s
        self._next.append((now_s + self._every_s, connection))

    async def run(self) -> None:
        """Beat until cancelled."""
        now_s = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(max(0.0, self._next[0][0] - now_s()) if self._next else self._every_s / 2)
            while self._next and self._next[0][0] <= now_s():
                _, connection = self._next.popleft()
                if self._beat(connection, now_s()):
                    self._next.append((now_s() + self._every_s, connection))

    def _beat(self, connection: Connection, now_s: float) -> bool:
        """Ping the connection; say whether it is still to be looked after."""
        if connection.protocol.state is not State.OPEN:
            return False
        if now_s - connection.heard_s >= 2 * self._every_s:
            log.info("socket_not_heard_of", seconds=round(now_s - connection.heard_s))
            SOCKETS_CLOSED.labels(CLOSED_ABNORMALLY).inc()
            connection.transport.abort()
            return False
        # Whoever has yet to take in what was sent before gets no ping on top of it.
        if not connection.paused:
            connection.transport.write(PING)
        return True
