"""What the stack does with processes, ports, runtimes and half-done work, on stand-ins of the servers."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.stack import java, kafka_protocol, postgres
from deploy.stack.account import OWN
from deploy.stack.docker import DockerStack, docker_answers
from deploy.stack.errors import StackError
from deploy.stack.kafka import Kafka
from deploy.stack.process import (
    START_LINE,
    ServerProcess,
    reason,
    require_free_port,
    resident_mebibytes,
    tail,
    wait_until,
)
from deploy.stack.settings import Settings

SLEEPER = "import signal, sys; print('up', flush=True); signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: signal.pause()"
# For a Linux that has no `ps`: what we ask of it, read from /proc.
PS_OF_PROC = r"""
for pid; do :; done
case "$*" in
  *rss=*) sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' /proc/$pid/status ;;
  *) tr '\0' ' ' < /proc/$pid/cmdline ;;
esac
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A process that does nothing, its marker on its command line."""
    made = ServerProcess("Sleeper", tmp_path / "pid", f"marker={tmp_path}")
    yield made
    made.stop(signal.SIGKILL)


def spawn(server: ServerProcess, tmp_path: Path, code: str = SLEEPER) -> int:
    """Starts it and returns its process id."""
    server.spawn([sys.executable, "-c", code, server.marker], tmp_path / "log", os.environ, OWN)
    pid = server.pid()
    assert pid is not None
    return pid


def test_a_spawned_server_is_known_at_once_and_can_be_stopped(server: ServerProcess, tmp_path: Path) -> None:
    """The pid file is there when spawn returns, and gone after stop."""
    pid = spawn(server, tmp_path)

    assert os.getpgid(pid) != os.getpgid(0)
    assert server.stop() is True
    assert server.pid() is None
    assert not server.pid_file.exists()
    assert server.stop() is False


def test_a_killed_server_is_seen_to_be_down(server: ServerProcess, tmp_path: Path) -> None:
    """A zombie, whose parent has not asked for it yet, counts as down."""
    pid = spawn(server, tmp_path)

    os.kill(pid, signal.SIGKILL)

    assert wait_until(lambda: server.pid() is None, timeout_s=5)


def test_without_proc_the_same_is_asked_of_ps(
    server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS has no /proc: a living server is known, a dead one is not."""
    if shutil.which("ps") is None:
        make_program(tmp_path / "bin" / "ps", PS_OF_PROC)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr("deploy.stack.process.PROC", tmp_path / "none")
    pid = spawn(server, tmp_path)

    assert resident_mebibytes(pid) > 0
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: server.pid() is None, timeout_s=5)


def test_a_reused_pid_is_never_signalled(server: ServerProcess) -> None:
    """A pid file that names some other process is stale: it goes, the process stays."""
    bystander = subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.DEVNULL)
    try:
        server.pid_file.write_text(f"{bystander.pid}\n")

        assert server.pid() is None
        assert server.stop() is False
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_server_that_ignores_the_request_is_ended_by_force(
    server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time-out comes SIGKILL."""
    monkeypatch.setattr("deploy.stack.process.STOP_TIMEOUT_S", 0.5)
    spawn(server, tmp_path, STUBBORN)

    assert server.stop() is True
    assert server.pid() is None


def test_a_taken_port_names_the_setting() -> None:
    """Somebody else's port is refused with the variable to change."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port} is taken .* set MAEARI_STACK_KAFKA_PORT"):
            require_free_port(port, "Kafka", "MAEARI_STACK_KAFKA_PORT")


def test_the_reason_is_the_last_starts_own(tmp_path: Path) -> None:
    """An error of an earlier start explains nothing, and a cause says more than its consequences."""
    log = tmp_path / "log"
    log.write_text(
        f"FATAL: long ago\n{START_LINE}\nERROR giving up\njava.io.IOException: disk full\n\tat x\n"
    )

    assert reason(log) == ": java.io.IOException: disk full"
    log.write_text(f"FATAL: long ago\n{START_LINE}\nall is well\n")
    assert reason(log) == ""


def test_the_tail_of_a_missing_log_is_empty(tmp_path: Path) -> None:
    """`logs` works before anything ran."""
    assert tail(tmp_path / "none", 5) == []


@contextmanager
def fake_broker(coordinator_error: int, offsets_error: int) -> Iterator[int]:
    """Answers Metadata, FindCoordinator and OffsetFetch, one request a connection; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        coordinator = struct.pack(">ihhi", 0, coordinator_error, -1, 1)
        coordinator += struct.pack(">h", 9) + b"127.0.0.1" + struct.pack(">i", port)
        answers = {3: struct.pack(">i", 3), 10: coordinator, 9: struct.pack(">ih", 0, offsets_error)}

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    request = connection.recv(1024)
                    (api,) = struct.unpack_from(">h", request, 4)
                    answer = struct.pack(">i", 1) + answers[api]
                    connection.sendall(struct.pack(">i", len(answer)) + answer)

        threading.Thread(target=serve, daemon=True).start()
        yield port
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("coordinator_error", "offsets_error", "ready"),
    [(0, 0, True), (15, 0, False), (0, 14, False)],
    ids=["serves", "no coordinator yet", "loading"],
)
def test_kafka_is_ready_when_its_coordinators_are(
    coordinator_error: int, offsets_error: int, ready: bool
) -> None:
    """A broker that knows the others but whose group coordinator still loads is not ready."""
    with fake_broker(coordinator_error, offsets_error) as port:
        assert kafka_protocol.serves(port, brokers=3) is ready
        assert not kafka_protocol.serves(port, brokers=4)


def test_a_cluster_keeps_its_number_of_brokers(tmp_path: Path) -> None:
    """Asking for another number says how to get it, and starts nothing."""
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "cluster.json").write_text('{"brokers": 1, "id": "x"}')
    kafka = Kafka(Settings(tmp_path))
    kafka.ask_for(3)

    with pytest.raises(StackError, match="wipe kafka"):
        kafka.start()


def make_java(home: Path, release: int, modules: str) -> Path:
    """A folder that looks like a Java."""
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").touch(mode=0o755)
    (home / "release").write_text(f'JAVA_VERSION="{release}.0.1"\nMODULES="{modules}"\n')
    return home


def test_the_newest_java_that_suits_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too old, too small and not yet tried ones are passed over while there is a better one."""
    homes = [
        make_java(tmp_path / "old", 17, "java.base jdk.jdi"),
        make_java(tmp_path / "small", 25, "java.base"),
        make_java(tmp_path / "good", 21, "java.base jdk.jdi"),
        make_java(tmp_path / "untried", 99, "java.base jdk.jdi"),
        tmp_path / "none",
    ]
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(java, "_homes", lambda: iter(homes))

    whole = java.find_java(21, frozenset({"jdk.jdi"}))
    any_will_do = java.find_java(17)

    assert whole is not None
    assert whole.home == tmp_path / "good"
    assert any_will_do is not None
    assert any_will_do.home == tmp_path / "small"
    assert java.find_java(100) is None


def test_java_home_wins_when_it_suits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sets JAVA_HOME means it."""
    named = make_java(tmp_path / "named", 17, "java.base")
    newer = make_java(tmp_path / "newer", 25, "java.base")
    monkeypatch.setenv("JAVA_HOME", str(named))
    monkeypatch.setattr(java, "_homes", lambda: iter([named, newer]))

    found = java.find_java(17)

    assert found is not None
    assert found.home == named


def make_program(path: Path, script: str) -> None:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_postgresql_client_is_not_taken_for_a_server(tmp_path: Path) -> None:
    """A folder counts only with `initdb` and `postgres` beside `pg_ctl`."""
    make_program(tmp_path / "pg_ctl", "echo 'pg_ctl (PostgreSQL) 17.4'")
    make_program(tmp_path / "initdb", "")
    assert postgres._inspect(tmp_path) is None

    make_program(tmp_path / "postgres", "")
    found = postgres._inspect(tmp_path)
    assert found is not None
    assert found.version == (17, 4)


@pytest.fixture
def fake_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    """Puts a `docker` first on the path that writes down its arguments; `info` exits as told."""

    def install(info_code: int) -> Path:
        calls = tmp_path / "calls"
        script = f'[ "$1" = info ] && exit {info_code}\necho "$@ voters=$MAEARI_STACK_VOTERS" >> {calls}'
        make_program(tmp_path / "bin" / "docker", script)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        return calls

    return install


def test_a_docker_client_without_an_engine_is_not_used(fake_docker: Callable[[int], Path]) -> None:
    """`docker --version` proves nothing: the engine has to answer."""
    fake_docker(1)
    assert not docker_answers()

    fake_docker(0)
    assert docker_answers()


def test_docker_starts_our_services_and_remembers_the_brokers(
    fake_docker: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three brokers form one quorum; later commands and other numbers are held to it."""
    calls = fake_docker(0)
    monkeypatch.setattr("deploy.stack.kafka_protocol.serves", lambda port, brokers: True)
    stack = DockerStack(Settings(tmp_path))

    assert stack.up(3) == []

    assert calls.read_text().endswith(
        "up --detach --wait kafka-1 kafka-2 kafka-3 postgres elasticsearch"
        " voters=1@kafka-1:9093,2@kafka-2:9093,3@kafka-3:9093\n"
    )
    assert DockerStack(Settings(tmp_path)).brokers == 3
    with pytest.raises(StackError, match="wipe"):
        stack.up(1)
