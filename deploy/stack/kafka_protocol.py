"""Just enough of Kafka's wire protocol to know that a broker is ready, without a library.

Ready means: all brokers are registered, and the group and transaction coordinators have loaded.
Right after a first start they answer "loading" for a second or two, which fails impatient clients.
"""

from __future__ import annotations

import socket
import struct

from deploy.stack.settings import HOST

METADATA, FIND_COORDINATOR, OFFSET_FETCH = 3, 10, 9
GROUP, TRANSACTION = 0, 1
# Java hashes a one-letter name to its code point, so these four reach each of four partitions.
PROBES = ("0", "1", "2", "3")


def serves(port: int, brokers: int) -> bool:
    """Whether the broker on this port knows that many brokers and its coordinators are ready."""
    return registered_brokers(port) >= brokers and coordinators_ready(port)


def registered_brokers(port: int) -> int:
    """How many brokers this one knows; OSError when it does not answer."""
    answer = _ask(port, METADATA, 1, struct.pack(">i", 0))
    return int(struct.unpack_from(">i", answer)[0])


def coordinators_ready(port: int) -> bool:
    """Whether every partition of both coordinators can serve; asking creates their topics."""
    for name in PROBES:
        if _coordinator(port, name, TRANSACTION) is None:
            return False
        at = _coordinator(port, name, GROUP)
        if at is None or not _group_loaded(at, name):
            return False
    return True


def _coordinator(port: int, name: str, kind: int) -> int | None:
    """The port of the broker that coordinates this group or transactional id."""
    answer = _ask(port, FIND_COORDINATOR, 1, _text(name) + struct.pack(">b", kind))
    _throttle, error, length = struct.unpack_from(">ihh", answer)
    if error != 0:
        return None
    at = 8 + max(length, 0) + 4  # past the message and the broker's id
    (length,) = struct.unpack_from(">h", answer, at)
    return int(struct.unpack_from(">i", answer, at + 2 + length)[0])


def _group_loaded(port: int, group: str) -> bool:
    """Asks for all offsets of a group that has none: an error here means "not yet"."""
    answer = _ask(port, OFFSET_FETCH, 2, _text(group) + struct.pack(">i", -1))
    return int(struct.unpack(">h", answer[-2:])[0]) == 0


def _ask(port: int, api: int, version: int, body: bytes) -> bytes:
    request = struct.pack(">hhi", api, version, 1) + _text("stack") + body
    with socket.create_connection((HOST, port), timeout=5) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        with connection.makefile("rb") as answers:
            head = answers.read(4)
            if len(head) < 4:
                raise ConnectionError("the broker closed the connection")
            (size,) = struct.unpack(">i", head)
            answer = answers.read(size)
            if len(answer) < max(size, 6):
                raise ConnectionError("the broker closed the connection")
            return answer[4:]


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">h", len(encoded)) + encoded
