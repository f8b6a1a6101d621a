"""`maeari topics` and `maeari lag` as commands, on the file and on Kafka: what they print, how they end."""

import asyncio
import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from backbone.eventlog import EventLog
from backbone.settings import Settings
from schemas.topics import ALL_TOPICS, GROUP_INDEXER, GROUP_NOTIFIER, MESSAGES_CREATED, TOPICS_OF_GROUP
from tests.support.eventlog import LogSite, after, append, poll_until, record
from tests.support.waiting import until
from tests.system.processes import MAEARI, Surroundings

NOWHERE = "kafka://127.0.0.1:9"


@pytest.fixture
def surroundings(site: LogSite, tmp_path: Path) -> Surroundings:
    """A folder, and the event log of the test."""
    settings: Settings = site.settings
    return Surroundings(
        tmp_path, {"EVENTLOG_URL": settings.eventlog_url, "TOPIC_PREFIX": settings.topic_prefix}
    )


@pytest.fixture
async def log(site: LogSite) -> EventLog:
    """The log without any topic."""
    return site.open()


async def test_topics_are_applied_and_shown(surroundings: Surroundings, log: EventLog) -> None:
    """A first apply makes all, a second has nothing to do; show names what is missing, and what there is."""
    code, output, _ = await surroundings.attempt("topics", "show")
    assert (code, output.count("run `maeari topics apply`")) == (0, 1)
    dry = await surroundings.run("topics", "apply", "--dry-run")
    made = await surroundings.run("topics", "apply")
    assert made == dry.replace("would be made", "made")
    assert len(made.splitlines()) == len(ALL_TOPICS)
    assert await surroundings.run("topics", "apply") == "nothing to do\n"
    await append(log, [record(MESSAGES_CREATED, "k", "x" * 100)] * 3)
    shown = json.loads(await surroundings.run("topics", "show", "--json"))
    assert shown["missing"] == []
    assert {topic["topic"] for topic in shown["topics"]} == {log.full_name(t.name) for t in ALL_TOPICS}
    (created,) = [t for t in shown["topics"] if t["topic"] == log.full_name(MESSAGES_CREATED.name)]
    assert sum(partition["records"] for partition in created["partitions"]) == 3
    assert sum(partition["size_bytes"] for partition in created["partitions"]) > 300
    text = await surroundings.run("topics", "show")
    assert all(log.full_name(topic.name) in text for topic in ALL_TOPICS)


async def test_lag_is_told_for_each_group(surroundings: Surroundings, log: EventLog) -> None:
    """Given one group that has read a part and one that has not, both lags are right, in JSON and as text.

    The groups' names are the product's own: on Kafka other tests' members may be counted too.
    """
    await log.apply_topics(ALL_TOPICS, 2)
    await append(log, [record(MESSAGES_CREATED, f"c{n}", "x") for n in range(50)])
    topics = TOPICS_OF_GROUP[GROUP_INDEXER]
    member = await log.consumer(GROUP_INDEXER, topics)
    read = after(await poll_until(member, 20, max_records=20))

    async def stored() -> bool:
        await member.commit(read)
        return read.items() <= (await log.committed(GROUP_INDEXER, topics)).items()

    await until(stored)
    left = 50 - sum(read.values())
    told = json.loads(await surroundings.run("lag", "--json"))
    groups = {group["group"]: group for group in told["groups"]}
    assert (groups[GROUP_INDEXER]["lag"], groups[GROUP_NOTIFIER]["lag"]) == (left, 50)
    assert groups[GROUP_INDEXER]["members"] >= 1
    assert len(groups[GROUP_NOTIFIER]["partitions"]) == 8
    text = await surroundings.run("lag", "--group", GROUP_INDEXER)
    assert re.match(rf"{GROUP_INDEXER}: \d+ members?, lag {left}, in ", text)
    assert GROUP_NOTIFIER not in text


async def test_lag_goes_on_until_interrupted(surroundings: Surroundings, log: EventLog) -> None:
    """With --watch --json each sample is a line; Ctrl-C ends it without a traceback."""
    await log.apply_topics(ALL_TOPICS, 1)
    process = await asyncio.create_subprocess_exec(
        MAEARI,
        *("lag", "--watch", "--json"),
        cwd=surroundings.folder,
        env=surroundings.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        samples = [json.loads(await process.stdout.readline()) for _ in range(2)]
    finally:
        process.send_signal(signal.SIGINT)
        errors = await process.stderr.read()
    assert await process.wait() == 130
    assert errors == b"maeari: interrupted\n"
    assert samples[0]["at"] < samples[1]["at"]


async def test_what_is_missing_or_down_is_one_line(surroundings: Surroundings, log: EventLog) -> None:
    """Missing topics end lag with 2 and the command that makes them, a log that does not answer with 1."""
    code, output, errors = await surroundings.attempt("lag")
    assert (code, output, len(errors.splitlines())) == (2, "", 1)
    assert f"the event log has no topic {log.full_name('messages.created')}, " in errors
    assert "run `maeari topics apply`" in errors
    code, output, errors = await surroundings.attempt("lag", EVENTLOG_URL=NOWHERE)
    assert (code, output, len(errors.splitlines())) == (1, "", 1)
    assert "MAEARI_EVENTLOG_URL" in errors
    assert (await surroundings.attempt("lag", "--group", "nobody"))[0] == 2
