"""A name that a process keeps over restarts, and that no other has at the same time.

Consumers that come back under their name within the session time-out get their partitions back without
a rebalance (Kafka's static membership, KIP-345). A name is held by a lock on a file of the machine, so
that the first of several equal processes always gets the first name. Members on two machines that go by
one name all the same are told from each other by the consumer, which then does without.
"""

import fcntl
import hashlib
import os
import re
import socket
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from backbone.settings import Settings

AUTOMATIC, NO_NAME = "auto", "none"
_MOST_ON_ONE_MACHINE = 100
# Set in an address that was made up for want of one: it would be another after each restart.
_RANDOM_ADDRESS = 1 << 40

log = structlog.get_logger()


@contextmanager
def instance_name(settings: Settings, service: str) -> Iterator[str | None]:
    """Give the process a name for the block; None where it is to have none, or cannot have one."""
    held = None
    try:
        held = _hold(settings, service)
    except OSError as error:
        log.warning("instance_without_name", service=service, reason=str(error))
    if held is None:
        yield None
        return
    name, descriptor = held
    try:
        yield name
    finally:
        os.close(descriptor)


def _hold(settings: Settings, service: str) -> tuple[str, int] | None:
    """Return the first name that is free, with the lock on it."""
    if settings.instance == NO_NAME or settings.eventlog_url.startswith("embedded:"):
        return None
    folder = Path(tempfile.gettempdir()) / f"maeari-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    # Not by address: one log has many (its brokers in another order, a proxy before them), and two processes
    # that came to it under one name would throw one another out for ever.
    where = hashlib.sha256(settings.topic_prefix.encode()).hexdigest()[:12]
    for name in _names(settings.instance, service):
        descriptor = os.open(folder / f"{where}-{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            return name, descriptor
    log.warning("instance_without_name", service=service, reason="every name is taken on this machine")
    return None


def _names(chosen: str, service: str) -> Iterator[str]:
    """Yield the names to try: the chosen one, or those of the machine, by number."""
    if chosen != AUTOMATIC:
        yield f"{chosen}-{service}"
        return
    # Machines that were copied have one host name, and containers of several machines one address.
    machine = [re.sub(r"[^A-Za-z0-9._-]", "_", socket.gethostname())[:100]]
    address = uuid.getnode()
    if not address & _RANDOM_ADDRESS:
        machine.append(f"{address:012x}")
    for number in range(_MOST_ON_ONE_MACHINE):
        yield "-".join((*machine, service, str(number)))
