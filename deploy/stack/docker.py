"""The stack from compose.yaml, where a Docker engine answers (a client alone is not enough)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from deploy.stack import kafka_protocol
from deploy.stack.errors import StackError, UsageError
from deploy.stack.process import wait_until
from deploy.stack.progress import say
from deploy.stack.settings import DEFAULT_ROOT, Settings, require_space

COMPOSE = Path(__file__).parents[2] / "compose.yaml"
ANSWER_TIMEOUT_S = 10.0
START_TIMEOUT_S = 120.0


def docker_answers() -> bool:
    """Whether an engine is there, and a client that knows `compose`."""
    if shutil.which("docker") is None:
        return False
    for command in (["docker", "compose", "version"], ["docker", "info"]):
        try:
            asked = subprocess.run(command, capture_output=True, check=False, timeout=ANSWER_TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired):
            return False
        if asked.returncode != 0:
            return False
    return True


class DockerStack:
    """The three servers as containers; their data is in named volumes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._state = state_file(settings)

    @property
    def brokers(self) -> int:
        """How many brokers the cluster has or will have."""
        try:
            return int(json.loads(self._state.read_text())["brokers"])
        except (OSError, ValueError, KeyError, TypeError):
            return 1

    def up(self, brokers: int | None) -> list[str]:
        """Starts what does not run and waits for it; failures are raised."""
        if self._state.exists() and brokers not in (None, self.brokers):
            raise StackError(
                f"Kafka: a cluster of {self.brokers} is here and keeps that number: "
                "`python3 -m deploy.stack wipe` drops its data, then `up` again"
            )
        require_space(self._settings.root, 1)
        self._state.write_text(json.dumps({"brokers": brokers or self.brokers}))
        say("starting the containers of compose.yaml")
        self._compose("up", "--detach", "--wait", *self._services())
        self._wait_for_kafka(range(1, self.brokers + 1))
        return []

    def down(self) -> list[str]:
        """Stops the containers, keeps the data."""
        self._compose("stop", *self._services())
        return []

    def wipe(self, names: Sequence[str]) -> list[str]:
        """Drops everything: volumes of single services cannot be told apart by compose."""
        if len(names) < 3:
            raise UsageError("with Docker only the whole stack is wiped: name no server")
        self._compose("down", "--volumes")
        self._state.unlink(missing_ok=True)
        return []

    def status(self) -> tuple[list[str], bool]:
        """One line a container, and whether all run."""
        running = self._compose("ps", "--services", "--status", "running").split()
        services = self._services()
        lines = [f"{name}  {'up' if name in running else 'down'}  (container)" for name in services]
        return lines, set(services) <= set(running)

    def logs(self, count: int) -> list[str]:
        """The last lines of each container's log."""
        return self._compose("logs", "--no-color", "--tail", str(count), *self._services()).splitlines()

    def kill_broker(self, broker: int) -> None:
        """Ends one broker as a crash would."""
        self._require_member(broker)
        self._compose("kill", f"kafka-{broker}")

    def start_broker(self, broker: int) -> None:
        """Starts one broker again."""
        self._require_member(broker)
        self._compose("up", "--detach", "--wait", "--no-deps", f"kafka-{broker}")

    def _services(self) -> list[str]:
        return [*(f"kafka-{i}" for i in range(1, self.brokers + 1)), "postgres", "elasticsearch"]

    def _require_member(self, broker: int) -> None:
        if not 1 <= broker <= self.brokers:
            raise UsageError(f"there is no broker {broker}: the cluster has 1 to {self.brokers}")

    def _wait_for_kafka(self, brokers: Sequence[int]) -> None:
        ports = [self._settings.broker_port(broker) for broker in brokers]

        def ready() -> bool:
            try:
                return all(kafka_protocol.serves(port, len(ports)) for port in ports)
            except OSError:
                return False

        if not wait_until(ready, START_TIMEOUT_S):
            raise StackError("Kafka does not answer: see `python3 -m deploy.stack logs`")

    def _compose(self, *arguments: str) -> str:
        command = ["docker", "compose", "--project-name", self._project(), "--file", str(COMPOSE)]
        command += ["--profile", "three", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | self._variables()
        )
        if done.returncode != 0:
            shown = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
            raise StackError(f"docker compose {arguments[0]} failed: {shown[-1].strip()}")
        return done.stdout

    def _project(self) -> str:
        """compose.yaml's own name for the default folder; another folder is another stack."""
        if self._settings.root == DEFAULT_ROOT.expanduser():
            return "maeari-stack"
        return "maeari-stack-" + hashlib.sha256(str(self._settings.root).encode()).hexdigest()[:8]

    def _variables(self) -> dict[str, str]:
        """What compose.yaml interpolates."""
        settings, count = self._settings, self.brokers
        return {
            "MAEARI_STACK_KAFKA_PORT": str(settings.broker_port(1)),
            "MAEARI_STACK_KAFKA_PORT_2": str(settings.broker_port(2)),
            "MAEARI_STACK_KAFKA_PORT_3": str(settings.broker_port(3)),
            "MAEARI_STACK_ELASTICSEARCH_PORT": str(settings.elasticsearch_port),
            "MAEARI_STACK_POSTGRES_PORT": str(settings.postgres_port),
            "MAEARI_STACK_BROKERS": str(count),
            "MAEARI_STACK_IN_SYNC": str(max(1, count - 1)),
            "MAEARI_STACK_VOTERS": ",".join(f"{i}@kafka-{i}:9093" for i in range(1, count + 1)),
        }


def state_file(settings: Settings) -> Path:
    """Exists while the stack in this folder is Docker's."""
    return settings.root / "docker.json"
