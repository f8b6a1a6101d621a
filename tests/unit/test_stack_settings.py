"""The stack's settings and commands, as far as they can be told without a server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.stack.errors import UsageError
from deploy.stack.kafka_configuration import properties
from deploy.stack.settings import Settings, read_settings

ROOT = Path(__file__).parents[2]
STACK = ROOT / "deploy" / "stack"


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command as a user calls it."""
    return subprocess.run(
        [sys.executable, "-m", "deploy.stack", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | environ,
    )


def test_defaults_name_the_documented_ports(tmp_path: Path) -> None:
    """With nothing set but the folder, the settings lines carry the documented ports."""
    settings = read_settings({"MAEARI_STACK_DIR": str(tmp_path)})

    assert settings.lines(brokers=1) == [
        "MAEARI_DATABASE_URL=postgresql+asyncpg://maeari@127.0.0.1:15432/maeari",
        "MAEARI_EVENTLOG_URL=kafka://127.0.0.1:19092",
        "MAEARI_SEARCH_URL=http://127.0.0.1:19200",
    ]


def test_three_brokers_are_listed_in_order(tmp_path: Path) -> None:
    """The event log's address names all brokers, from the chosen port upwards."""
    settings = read_settings({"MAEARI_STACK_DIR": str(tmp_path), "MAEARI_STACK_KAFKA_PORT": "21000"})

    assert (
        settings.lines(brokers=3)[1]
        == "MAEARI_EVENTLOG_URL=kafka://127.0.0.1:21000,127.0.0.1:21001,127.0.0.1:21002"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAEARI_STACK_KAFKA_PORT", "http"),
        ("MAEARI_STACK_POSTGRES_PORT", "80"),
        ("MAEARI_STACK_ELASTICSEARCH_PORT", "65535"),
        ("MAEARI_STACK_POSTGRES_PORT", "19094"),  # the third broker's
        ("MAEARI_STACK_ELASTICSEARCH_PORT", "19092"),
        ("MAEARI_STACK_DOCKER", "yes"),
        ("MAEARI_STACK_DIR", "/tmp/two words"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    """A port out of range or asked for twice, or an unusable folder, is refused before anything starts."""
    with pytest.raises(UsageError, match="MAEARI_STACK_"):
        read_settings({"MAEARI_STACK_DIR": "/tmp/stack", name: value})


def test_one_broker_can_hold_transactions(tmp_path: Path) -> None:
    """Kafka's internal topics get one replica on one broker, else no transaction could begin."""
    lines = properties(Settings(tmp_path), tmp_path, broker=1, brokers=1).splitlines()

    assert "transaction.state.log.replication.factor=1" in lines
    assert "transaction.state.log.min.isr=1" in lines
    assert "auto.create.topics.enable=false" in lines


def test_three_brokers_survive_the_loss_of_one(tmp_path: Path) -> None:
    """Three replicas, two of which must be in sync; every broker votes."""
    lines = properties(Settings(tmp_path), tmp_path, broker=2, brokers=3).splitlines()

    assert "default.replication.factor=3" in lines
    assert "min.insync.replicas=2" in lines
    assert "controller.quorum.voters=1@127.0.0.1:19192,2@127.0.0.1:19193,3@127.0.0.1:19194" in lines


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 2),
        (("fly",), 2),
        (("up", "--brokers", "2"), 2),
        (("wipe", "redis"), 2),
        (("kafka", "kill", "1"), 1),
    ],
)
def test_wrong_usage_is_told_without_a_traceback(
    tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    """Exit code 2 for what makes no sense, 1 for what cannot be done, never a traceback."""
    done = run(*arguments, MAEARI_STACK_DIR=str(tmp_path / "none"))

    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """A file in the way of the folder ends `up` with one line that names it."""
    (tmp_path / "file").touch()

    done = run("up", MAEARI_STACK_DIR=str(tmp_path / "file" / "stack"))

    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(
        r"stack: cannot write in \S+/file/stack \(.*\): set MAEARI_STACK_DIR .*\n", done.stderr
    )


def test_what_is_fetched_is_pinned_and_no_registry_is_named() -> None:
    """Every wheel has a version and hashes, and no file says where packages come from."""
    pinned = (STACK / "requirements.txt").read_text()
    packages = re.findall(r"^[a-z][^\n]*(?:\n +--hash=[^\n]*)*", pinned, re.MULTILINE)

    assert packages
    assert all("==" in package and "--hash=sha256:" in package for package in packages)
    for path in STACK.rglob("*"):
        if path.suffix in {".py", ".xml", ".txt", ".in", ".java", ".md"}:
            assert not re.search(r"https?://(?!127\.0\.0\.1)\w", path.read_text()), path


def test_compose_uses_the_same_ports_and_versions(tmp_path: Path) -> None:
    """compose.yaml and the plain processes bring the same servers to the same addresses."""
    compose = (ROOT / "compose.yaml").read_text()
    pom = (STACK / "pom.xml").read_text()
    settings = Settings(tmp_path)

    published = [int(port) for port in re.findall(r'"127\.0\.0\.1:\$\{MAEARI_STACK_\w+:-(\d+)\}:', compose)]
    assert sorted(published) == sorted(
        [settings.postgres_port, settings.elasticsearch_port, *(settings.broker_port(i) for i in (1, 2, 3))]
    )
    for image, name in (("apache/kafka", "kafka"), ("elasticsearch", "elasticsearch")):
        (version,) = re.findall(rf"image: {image}:(\S+)", compose)
        assert f"<{name}.version>{version}</{name}.version>" in pom
