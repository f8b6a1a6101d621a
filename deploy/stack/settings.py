"""Where the stack lives and which ports it uses, read once from the environment.

Guarantees: the directory is absolute, every port is free of the others', and the settings lines
printed for the project follow from these values alone.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.stack.account import unprivileged
from deploy.stack.errors import StackError, UsageError

HOST = "127.0.0.1"
KAFKA_VERSION = "4.3.1"
ELASTICSEARCH_VERSION = "9.5.3"
MAX_BROKERS = 3
DEFAULT_ROOT = Path("~/.cache/maeari/stack")
# For root where the servers need another account, which root's home must not be opened to.
SHARED_ROOT = Path("/var/lib/maeari-stack")
# Controllers, and Elasticsearch's own transport, listen this far above the client's port.
INTERNAL_PORT_OFFSET = 100
# A broker's second listener, for clients that come through a proxy, and the port where that stands.
PROXIED_PORT_OFFSET = 200
PROXY_PORT_OFFSET = 300
HIGHEST_PORT = 65535 - PROXY_PORT_OFFSET - MAX_BROKERS


@dataclass(frozen=True)
class Settings:
    """One stack: its folder, its ports, and whether a Docker engine may be used.

    `programs_of` is the folder of another stack, whose installed programs are used and not fetched again.
    With `proxied`, each broker has a second listener, whose clients look for a proxy. With `short_lived`,
    Java compiles little: servers start sooner, cost a small machine less, and serve slower for good.
    """

    root: Path
    programs_of: Path | None = None
    kafka_port: int = 19092
    elasticsearch_port: int = 19200
    postgres_port: int = 15432
    docker_allowed: bool = True
    proxied: bool = False
    short_lived: bool = False

    @property
    def programs(self) -> Path:
        """The folder that the programs are installed in."""
        return self.programs_of or self.root

    def broker_port(self, broker: int) -> int:
        """The client port of broker 1, 2 or 3."""
        return self.kafka_port + broker - 1

    def controller_port(self, broker: int) -> int:
        """The port on which that broker's controller listens."""
        return self.broker_port(broker) + INTERNAL_PORT_OFFSET

    def proxied_port(self, broker: int) -> int:
        """The port on which a proxy reaches the broker."""
        return self.broker_port(broker) + PROXIED_PORT_OFFSET

    def proxy_port(self, broker: int) -> int:
        """The port on which clients look for that proxy."""
        return self.broker_port(broker) + PROXY_PORT_OFFSET

    def lines(self, brokers: int) -> list[str]:
        """The project's settings for this stack, as NAME=value."""
        bootstrap = ",".join(f"{HOST}:{self.broker_port(i)}" for i in range(1, brokers + 1))
        return [
            f"MAEARI_DATABASE_URL=postgresql+asyncpg://maeari@{HOST}:{self.postgres_port}/maeari",
            f"MAEARI_EVENTLOG_URL=kafka://{bootstrap}",
            f"MAEARI_SEARCH_URL=http://{HOST}:{self.elasticsearch_port}",
        ]


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Settings from the environment, or UsageError naming the variable that is wrong."""
    settings = Settings(
        root=_root(environ),
        kafka_port=_port(environ, "MAEARI_STACK_KAFKA_PORT", 19092),
        elasticsearch_port=_port(environ, "MAEARI_STACK_ELASTICSEARCH_PORT", 19200),
        postgres_port=_port(environ, "MAEARI_STACK_POSTGRES_PORT", 15432),
        docker_allowed=_switch(environ, "MAEARI_STACK_DOCKER"),
    )
    _refuse_overlap(settings)
    return settings


def _root(environ: Mapping[str, str]) -> Path:
    given = environ.get("MAEARI_STACK_DIR")
    try:
        root = Path(given or DEFAULT_ROOT).expanduser().absolute()
    except RuntimeError:
        raise UsageError("no home folder found: set MAEARI_STACK_DIR to a folder of your own") from None
    if not given and unprivileged().closed(root.parents):
        root = SHARED_ROOT
    # These characters end a value in one of the servers' own configuration files.
    if any(character in str(root) for character in " \t\n'\"\\:;,#$="):
        raise UsageError(
            f"MAEARI_STACK_DIR={root} holds a blank, quote or separator, which the servers' "
            "configuration files cannot carry: choose a plain path"
        )
    return root


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    given = environ.get(name) or str(default)
    if not given.isascii() or not given.isdigit() or not 1024 <= int(given) <= HIGHEST_PORT:
        raise UsageError(f"{name}={given} is not a port from 1024 to {HIGHEST_PORT}")
    return int(given)


def _switch(environ: Mapping[str, str], name: str) -> bool:
    given = environ.get(name) or "1"
    if given not in ("0", "1"):
        raise UsageError(f"{name}={given} is neither 0 nor 1")
    return given == "1"


def _refuse_overlap(settings: Settings) -> None:
    used = [settings.postgres_port, settings.elasticsearch_port]
    used.append(settings.elasticsearch_port + INTERNAL_PORT_OFFSET)
    for broker in range(1, MAX_BROKERS + 1):
        used += [settings.broker_port(broker), settings.controller_port(broker)]
        if settings.proxied:
            used += [settings.proxied_port(broker), settings.proxy_port(broker)]
    doubles = sorted({port for port in used if used.count(port) > 1})
    if doubles:
        raise UsageError(
            f"port {doubles[0]} is asked for twice (Kafka takes its port and the two after it, "
            f"Kafka and Elasticsearch the same {INTERNAL_PORT_OFFSET} higher): "
            "change one of the MAEARI_STACK_…_PORT settings"
        )


def require_space(root: Path, mebibytes: int) -> None:
    """Makes the folder, and refuses to go on when its disk is too full to finish."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise StackError(
            f"cannot write in {root} ({error.strerror or error}): "
            "set MAEARI_STACK_DIR to a folder of your own"
        ) from error
    free = shutil.disk_usage(root).free >> 20
    if free < mebibytes:
        raise StackError(
            f"{root} has {free} MiB free and {mebibytes} MiB are needed: "
            "make room, or set MAEARI_STACK_DIR to another disk"
        )


def server_environment() -> dict[str, str]:
    """The environment for the servers, without what would quietly change how they behave."""
    dropped = ("KAFKA_", "ES_", "PG", "JAVA_", "JDK_JAVA_OPTIONS", "CLASSPATH", "LC_", "LANG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {"LC_ALL": "C.UTF-8" if sys.platform == "linux" else "C"}
