"""One HTTP connection, with the limits that uvicorn's lacks, and refusals in problem documents (RFC 9457).

Guarantees: a request's head comes whole within HEAD_WITHIN_S, its body within BODY_WITHIN_S, and what is
sent is read within WRITE_WITHIN_S, or the connection ends; a head is at most HEAD_MAX_BYTES long.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_WITHIN_S = 10.0
BODY_WITHIN_S = 15.0
WRITE_WITHIN_S = 30.0
LINGER_S = 1.0
HEAD_MAX_BYTES = 64 * 1024
CONNECTIONS_MAX = 10_000


class LimitedConnection(HttpToolsProtocol):
    """Reads requests as uvicorn does, against the clock."""

    head_within_s = HEAD_WITHIN_S
    body_within_s = BODY_WITHIN_S
    write_within_s = WRITE_WITHIN_S
    connections_max = CONNECTIONS_MAX

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # What of a request is being read.
        self._part: Literal["nothing", "head", "body"] = "nothing"
        self._head_bytes = 0
        self._head_too_large = False
        self._refused = False
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.connections_max:
            self._refuse(503, "overloaded", "too many connections are open", [b"retry-after: 1"])
            return
        self._reading = self.loop.call_later(self.head_within_s, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_reading_timer()
        self._stop_writing_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        part_before = self._part
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        if self._part == "head":
            # What the parser holds of a head it tells only when that is whole.
            self._head_bytes = len(data) + (self._head_bytes if part_before == "head" else 0)
            if self._head_bytes > HEAD_MAX_BYTES:
                self._refuse_head()
                return
        if self._reading is None and (self._part != "nothing" or not self._answering()):
            within_s = self.body_within_s if self._part == "body" else self.head_within_s
            self._reading = self.loop.call_later(within_s, self._too_slow)

    def on_message_begin(self) -> None:
        self._part = "head"
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_MAX_BYTES:
            self._head_too_large = True
            raise ValueError("the parser stops here, and asks for the answer")
        self._part = "body"
        self._stop_reading_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._part = "nothing"
        self._stop_reading_timer()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refused."""
        if self._head_too_large:
            self._refuse_head()
        else:
            self._refuse(400, "malformed-request", "this is not a valid HTTP request")

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._writing is None:
            self._writing = self.loop.call_later(self.write_within_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_writing_timer()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that is no longer used, whether or not its client reads what is left for it."""
        super().timeout_keep_alive_handler()
        if self.transport.get_write_buffer_size() and self._writing is None:
            self._writing = self.loop.call_later(self.write_within_s, self.transport.abort)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: a client may ask for another protocol and is answered in this one."""

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _too_slow(self) -> None:
        self._reading = None
        if self.transport.is_closing():
            return
        if self._part == "nothing":
            self.transport.close()
        elif self.flow.read_paused or (self._part == "head" and self._answering()):
            # It is not the client who is slow: an earlier request is being answered.
            self._reading = self.loop.call_later(self.body_within_s, self._too_slow)
        else:
            self._refuse(408, "too-slow", f"the request's {self._part} did not come in time")

    def _refuse_head(self) -> None:
        detail = f"the request line and headers are longer than {HEAD_MAX_BYTES} bytes"
        self._refuse(431, "head-too-large", detail)

    def _refuse(self, status: int, slug: str, detail: str, headers: Sequence[bytes] = ()) -> None:
        """End the connection; say why, unless that would stand in the place of another request's answer."""
        self._refused = True
        self._stop_reading_timer()
        if self._part == "body" and self.cycle is not None:
            in_turn = not self.pipeline and not self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        else:
            in_turn = not self._answering()
        if not in_turn:
            self.transport.close()
            return
        self.transport.write(_problem(status, slug, detail, headers))
        self.transport.write_eof()
        # What is still on its way is read and thrown away: a close now would take the answer with it.
        self._reading = self.loop.call_later(LINGER_S, self.transport.close)

    def _stop_reading_timer(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _stop_writing_timer(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None


def _problem(status: int, slug: str, detail: str, headers: Sequence[bytes]) -> bytes:
    """Return a whole answer, as it goes over the wire."""
    title = HTTPStatus(status).phrase
    body = msgspec.json.encode(
        {"type": f"/problems/{slug}", "title": title, "status": status, "detail": detail}
    )
    lines = [
        f"HTTP/1.1 {status} {title}".encode(),
        b"content-type: application/problem+json",
        f"content-length: {len(body)}".encode(),
        b"connection: close",
        *headers,
    ]
    return b"\r\n".join([*lines, b"", body])
