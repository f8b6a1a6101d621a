"""Kafka in KRaft mode, one broker or three, each a broker and a controller at once.

Guarantees: `start` returns when all brokers are registered and both coordinators serve; a data
folder that was not formatted to the end is made anew; one cluster keeps its number of brokers.
"""

from __future__ import annotations

import base64
import json
import shutil
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from deploy.stack import kafka_protocol
from deploy.stack.account import OWN
from deploy.stack.errors import StackError, UsageError
from deploy.stack.java import COMPILE_LITTLE, Java, fetch_java, find_java, resolve
from deploy.stack.kafka_configuration import LOGGING, properties
from deploy.stack.process import (
    ServerProcess,
    reason,
    require_free_port,
    resident_mebibytes,
    run_tool,
    wait_until,
)
from deploy.stack.progress import say
from deploy.stack.settings import KAFKA_VERSION, Settings, server_environment

OLDEST_JAVA = 17
START_TIMEOUT_S = 120.0
JVM = "-Xms128m -Xmx512m -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:+ExitOnOutOfMemoryError"
TOOL_JVM = "-Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"


class Kafka:
    """The brokers of one stack."""

    name = "Kafka"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._home = settings.root / "kafka"
        self._jars = settings.programs / "kafka" / f"jars-{KAFKA_VERSION}"
        self._asked: int | None = None

    def ask_for(self, brokers: int | None) -> None:
        """How many brokers to have; None takes what the cluster has, or 1 for a new one."""
        self._asked = brokers

    def brokers(self) -> int:
        """How many brokers the cluster has or will have."""
        return self._saved()[0] or self._asked or 1

    def start(self) -> None:
        """Installs, formats and starts what is missing, and waits until the cluster serves."""
        saved, _ = self._saved()
        if saved and self._asked and self._asked != saved:
            raise StackError(
                f"Kafka: a cluster of {saved} is here and keeps that number: "
                f"`python3 -m deploy.stack wipe kafka` drops its data, then `up` again"
            )
        every = range(1, self.brokers() + 1)
        missing = [broker for broker in every if not self._check_running(broker)]
        if missing:
            java = self._install()
            self._configure()
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda broker: self._spawn(java, broker), missing))
        self._wait(list(every), "Kafka")

    def start_broker(self, broker: int) -> None:
        """Starts one broker again; the others need not run."""
        self._require_member(broker)
        if not self._check_running(broker):
            self._spawn(self._install(), broker)
        self._wait([broker], f"Kafka broker {broker}", alone=True)

    def kill_broker(self, broker: int) -> None:
        """Ends one broker as a crash would."""
        self._require_member(broker)
        if not self._process(broker).stop(signal.SIGKILL):
            raise StackError(f"Kafka broker {broker} does not run")

    def stop(self) -> bool:
        """Ends all brokers together: alone, the last would wait for a quorum that is gone."""
        with ThreadPoolExecutor() as pool:
            return any(list(pool.map(lambda b: self._process(b).stop(), self._members())))

    def wipe(self) -> None:
        """Drops the data, keeps the program."""
        self.stop()
        for folder in self._home.glob("node-*"):
            shutil.rmtree(folder)
        (self._home / "cluster.json").unlink(missing_ok=True)

    def status(self) -> list[str]:
        """One line a broker."""
        lines = []
        for broker in self._members():
            pid, port = self._process(broker).pid(), self._settings.broker_port(broker)
            memory = resident_mebibytes(pid) if pid else 0
            state = f"up, process {pid}, {memory} MiB" if pid else "down"
            lines.append(f"Kafka broker {broker}  port {port}  {state}")
        return lines

    def running(self) -> bool:
        """Whether every broker's process lives."""
        return all(self._process(broker).pid() for broker in self._members())

    def logs(self) -> list[Path]:
        """The log files, whether they exist or not."""
        return [self._log(broker) for broker in self._members()]

    def _members(self) -> range:
        return range(1, self.brokers() + 1)

    def _node(self, broker: int) -> Path:
        return self._home / f"node-{broker}"

    def _log(self, broker: int) -> Path:
        return self._settings.root / "logs" / f"kafka-{broker}.log"

    def _process(self, broker: int) -> ServerProcess:
        node = self._node(broker)
        return ServerProcess(
            f"Kafka broker {broker}", node / "pid", f"kafka.Kafka {node / 'server.properties'}"
        )

    def _require_member(self, broker: int) -> None:
        saved, _ = self._saved()
        if not saved:
            raise StackError("no Kafka cluster is here: `python3 -m deploy.stack up` makes one")
        if broker not in self._members():
            raise UsageError(f"there is no broker {broker}: the cluster has 1 to {saved}")

    def _saved(self) -> tuple[int, str]:
        """Number of brokers and cluster id, or (0, "") before the first start."""
        try:
            saved = json.loads((self._home / "cluster.json").read_text())
            return int(saved["brokers"]), str(saved["id"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""

    def _check_running(self, broker: int) -> bool:
        if self._process(broker).pid() is None:
            return False
        port = self._settings.broker_port(broker)
        if f"PLAINTEXT://127.0.0.1:{port}," in (self._node(broker) / "server.properties").read_text():
            return True
        raise StackError(
            f"Kafka broker {broker} runs on another port than {port}: "
            "`python3 -m deploy.stack down` first, or unset MAEARI_STACK_KAFKA_PORT"
        )

    def _install(self) -> Java:
        java = find_java(OLDEST_JAVA) or fetch_java(self._settings)
        self._home.mkdir(parents=True, exist_ok=True)
        self._jars.parent.mkdir(parents=True, exist_ok=True)
        resolve(self._settings, java, "kafka", self._jars, f"Kafka {KAFKA_VERSION}")
        (self._home / "log4j2.properties").write_text(LOGGING)
        return java

    def _configure(self) -> None:
        saved, _ = self._saved()
        count = self.brokers()
        if not saved:
            number = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            cluster = {"brokers": count, "id": number.replace("-", "A", 1)}
            (self._home / "cluster.json").write_text(json.dumps(cluster))
        for broker in range(1, count + 1):
            node = self._node(broker)
            node.mkdir(exist_ok=True)
            text = properties(self._settings, node, broker, count)
            (node / "server.properties").write_text(text)

    def _spawn(self, java: Java, broker: int) -> None:
        setting = "MAEARI_STACK_KAFKA_PORT"
        require_free_port(self._settings.broker_port(broker), "Kafka", setting)
        require_free_port(self._settings.controller_port(broker), "Kafka's controller", setting)
        self._format(java, broker)
        command = [java.program, *JVM.split(), "-Djava.awt.headless=true"]
        if self._settings.short_lived:
            command += [COMPILE_LITTLE]
        command += [f"-Dlog4j2.configurationFile={self._home / 'log4j2.properties'}"]
        command += ["-cp", f"{self._jars}/*", "kafka.Kafka"]
        command += [str(self._node(broker) / "server.properties")]
        self._process(broker).spawn(command, self._log(broker), server_environment(), OWN)

    def _format(self, java: Java, broker: int) -> None:
        node, log = self._node(broker), self._log(broker)
        if (node / "formatted").exists():
            return
        shutil.rmtree(node / "data", ignore_errors=True)
        command = [java.program, *TOOL_JVM.split(), "-cp", f"{self._jars}/*"]
        command += ["kafka.tools.StorageTool", "format", "-t", self._saved()[1]]
        command += ["-c", str(node / "server.properties")]
        if not run_tool(command, log, server_environment()):
            raise StackError(f"Kafka: its data folder could not be prepared (see {log})")
        (node / "formatted").touch()

    def _wait(self, brokers: list[int], what: str, alone: bool = False) -> None:
        """Waits for the listed brokers; alone, one that the others have let in is enough."""
        started = time.monotonic()

        def ready() -> bool:
            for broker in brokers:
                if self._process(broker).pid() is None:
                    self._fail(broker, "ended while it started")
            try:
                return all(self._serves(broker, alone) for broker in brokers)
            except OSError:
                return False

        if not wait_until(ready, START_TIMEOUT_S):
            self._fail(brokers[0], f"was not ready after {START_TIMEOUT_S:.0f} s")
        say(f"{what} is ready ({time.monotonic() - started:.1f} s)")

    def _serves(self, broker: int, alone: bool) -> bool:
        port = self._settings.broker_port(broker)
        if alone:
            return kafka_protocol.registered_brokers(port) > 0
        return kafka_protocol.serves(port, self.brokers())

    def _fail(self, broker: int, what: str) -> NoReturn:
        log = self._log(broker)
        raise StackError(f"Kafka broker {broker} {what}{reason(log)} (see {log})")
