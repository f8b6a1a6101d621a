"""How aiokafka's clients reach the brokers, in bounded time, and what their errors mean to us."""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import structlog
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.helpers import create_ssl_context

from backbone.errors import SetupError, Unavailable
from backbone.eventlog import DEPENDENCY
from backbone.eventlog.kafka.client import SteadyClient, Unheard
from backbone.settings import KafkaSecurity

ANSWER_TIMEOUT_S = 5.0
# Longer than a cluster needs to replace a broker that died or froze, its controller even: 6 to 9 s.
FAILOVER_TIMEOUT_S = 12.0
STOP_TIMEOUT_S = 1.0
METADATA_MAX_AGE_MS = 30_000
REQUEST_TIMEOUT_MS = 15_000

# uvloop says RuntimeError when aiokafka writes to a connection that was closed a moment before.
DRIVER_ERRORS = (KafkaError, OSError, RuntimeError)

_REPEAT_AFTER_S = 10.0

log = structlog.get_logger()


class Client(Protocol):
    """What aiokafka's consumers and producers have in common."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Cluster:
    """The brokers, and how to identify oneself to them."""

    def __init__(self, bootstrap_servers: str, security: KafkaSecurity) -> None:
        self.servers = bootstrap_servers
        self._security = security
        self._journal = _journal()
        self._unheard: Unheard = {}

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of every aiokafka client. Raises SetupError for a CA file that cannot be used."""
        security = self._security
        return {
            "bootstrap_servers": self.servers,
            "request_timeout_ms": REQUEST_TIMEOUT_MS,
            # How soon partitions that were added to a topic are noticed.
            "metadata_max_age_ms": METADATA_MAX_AGE_MS,
            "retry_backoff_ms": 100,
            "security_protocol": security.protocol,
            "ssl_context": _ssl_context(security) if security.protocol.endswith("SSL") else None,
            "sasl_mechanism": security.sasl_mechanism or "PLAIN",
            "sasl_plain_username": security.username,
            "sasl_plain_password": security.password,
        }

    async def start(self, client: Client) -> None:
        """Start a client; one that does not get through is stopped, so that nothing of it is left."""
        SteadyClient.adopt(_network(client), self._unheard)
        self._journal.last = ""
        started = False
        try:
            async with answering("connect", ANSWER_TIMEOUT_S):
                await client.start()
            # aiokafka's own tasks must have begun before they can be stopped again.
            await asyncio.sleep(0)
            started = True
        except Unavailable as error:
            reason = self._journal.last or error.detail
            raise Unavailable(DEPENDENCY, f"no broker answers at {self.servers} ({reason})") from error
        finally:
            if not started:
                await stop(client)


@asynccontextmanager
async def answering(what: str, timeout_s: float) -> AsyncIterator[None]:
    """Translate the driver's errors in the block to Unavailable, and end it after the time."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        raise Unavailable(DEPENDENCY, f"no answer to {what} within {timeout_s:g} s") from error
    except KafkaConnectionError as error:
        raise Unavailable(DEPENDENCY, f"{what}: no connection") from error
    except DRIVER_ERRORS as error:
        raise Unavailable(DEPENDENCY, f"{what}: {one_line(error)}") from error


async def stop(client: Client) -> None:
    """Stop a client in bounded time, whatever state the brokers are in."""
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await client.stop()
    except (TimeoutError, *DRIVER_ERRORS, asyncio.CancelledError) as error:
        # aiokafka lets the cancellation of its own tasks through: only that of ours counts.
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        log.warning("kafka_client_stopped_hard", error=one_line(error))
        # Without its connections nothing of the client goes on in the background.
        await asyncio.wait((asyncio.ensure_future(_network(client).close()),), timeout=STOP_TIMEOUT_S)


def _network(client: Client) -> Any:
    """Return the part of a client that holds its connections."""
    return getattr(client, "client", None) or client._client  # type: ignore[attr-defined]


def one_line(error: BaseException) -> str:
    """Return the name and the text of an error, without line breaks."""
    return " ".join(f"{type(error).__name__} {error}".split())


class _Journal(logging.Handler):
    """Passes aiokafka's warnings on to our log, each at most every 10 s.

    `last` is what it last said about a connection that it could not make, which its errors do not tell.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        self._said_s: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        now_s = time.monotonic()
        if text.startswith("Unable"):
            self.last = text
            # Whoever asked is told by an error; only an outage that goes on is worth a line of its own.
            self._said_s.setdefault(record.msg, now_s)
        if now_s - self._said_s.get(record.msg, -_REPEAT_AFTER_S) >= _REPEAT_AFTER_S:
            self._said_s[record.msg] = now_s
            # What we must do about it we hear through errors: for people it is a hint, never more.
            log.warning("kafka_client", detail=text)


def _journal() -> _Journal:
    """Return the one handler of aiokafka's logger, put there on first use."""
    logger = logging.getLogger("aiokafka")
    for handler in logger.handlers:
        if isinstance(handler, _Journal):
            return handler
    journal = _Journal()
    logger.addHandler(journal)
    logger.propagate = False
    return journal


def _ssl_context(security: KafkaSecurity) -> ssl.SSLContext:
    try:
        context: ssl.SSLContext = create_ssl_context(cafile=security.ca_file)
    except (ssl.SSLError, OSError) as error:
        raise SetupError(
            f"MAEARI_KAFKA_CA_FILE: {security.ca_file} holds no certificates ({error})"
        ) from error
    return context
