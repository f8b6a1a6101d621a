"""Topics on Kafka: what apply changes in a topic's settings, and what it leaves to the operators."""

from collections.abc import AsyncIterator, Sequence

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from backbone.errors import SetupError
from backbone.eventlog.kafka import KafkaEventLog
from backbone.settings import KafkaSecurity, Settings
from schemas.topics import MESSAGES_CREATED, MESSAGES_STATE, Topic
from tests.support.eventlog import LogSite, configure, log_site

CREATED = MESSAGES_CREATED


@pytest.fixture
async def site(real_settings: Settings) -> AsyncIterator[LogSite]:
    async with log_site(real_settings) as opened:
        yield opened


async def settings_of(site: LogSite, topic: Topic, *names: str) -> Sequence[str]:
    """Return settings of a topic, as the broker tells them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=site.settings.eventlog_url.removeprefix("kafka://"))
    await admin.start()
    try:
        full_name = f"{site.settings.topic_prefix}.{topic.name}"
        asked = ConfigResource(ConfigResourceType.TOPIC, full_name, dict.fromkeys(names, ""))
        (answer,) = await admin.describe_configs([asked])
    finally:
        await admin.close()
    ((*_, entries),) = answer.resources
    found = {name: value for name, value, *_ in entries}
    return [found[name] for name in names]


async def test_what_operators_have_set_survives(site: LogSite) -> None:
    """Given settings that the contract does not name, and some that it does, only the latter change."""
    log = site.open()
    await log.apply_topics([CREATED], 1)
    theirs = {"max.message.bytes": "2000000", "segment.ms": "3600000"}
    kept_wrongly = {"retention.ms": "86400000", "retention.bytes": "5000000", "compression.type": "zstd"}
    await configure(site.settings, CREATED, theirs | kept_wrongly)
    name = log.full_name(CREATED.name)
    assert await log.apply_topics([CREATED], 1) == [
        f"{name}: cleanup changed from kept for 1 day to kept for ever",
        f"{name}: compression.type changed from zstd to producer",
    ]
    assert await settings_of(site, CREATED, *theirs) == list(theirs.values())
    assert await settings_of(site, CREATED, *kept_wrongly) == ["-1", "-1", "producer"]
    assert await log.apply_topics([CREATED], 1) == []


async def test_a_topic_that_is_cut_by_its_size_is_not_kept_for_ever(site: LogSite) -> None:
    """Given no limit of time but one of size, apply takes it away."""
    log = site.open()
    await log.apply_topics([CREATED], 1)
    await configure(site.settings, CREATED, {"retention.ms": "-1", "retention.bytes": "5000000"})
    assert (await log.topics())[CREATED.name].cleanup == "delete beyond 5000000 bytes"
    assert await log.apply_topics([CREATED], 1) == [
        f"{log.full_name(CREATED.name)}: cleanup changed from "
        "cleaned up by 'delete beyond 5000000 bytes' to kept for ever"
    ]
    assert (await log.topics())[CREATED.name].cleanup == "keep"


async def test_tombstones_stay_for_the_replay_horizon(site: LogSite) -> None:
    """Given a compacted topic whose tombstones go too early, or that also expires, apply mends it."""
    log = site.open()
    await log.apply_topics([MESSAGES_STATE], 1)
    await configure(
        site.settings, MESSAGES_STATE, {"cleanup.policy": "compact,delete", "delete.retention.ms": "3600000"}
    )
    name = log.full_name(MESSAGES_STATE.name)
    assert await log.apply_topics([MESSAGES_STATE], 1) == [
        f"{name}: cleanup changed from cleaned up by 'compact,delete' to compacted",
        f"{name}: time that tombstones are kept changed from 1 hour to 7 days",
        f"{name}: time before compaction changed from no limit to 1 day",
    ]
    assert await log.apply_topics([MESSAGES_STATE], 1) == []


async def test_what_the_brokers_refuse_is_one_line(site: LogSite) -> None:
    """Given a name that Kafka does not take, apply says so in one line, and that it was the brokers."""
    servers = site.settings.eventlog_url.removeprefix("kafka://")
    log = KafkaEventLog(servers, "x" * 250, "none", KafkaSecurity())
    with pytest.raises(SetupError, match=r"^the brokers refuse to make x{250}\.messages\.created: .+$"):
        await log.apply_topics([CREATED], 1)
    await log.close()


async def test_placements_tell_who_leads(site: LogSite) -> None:
    """A partition's placement has its leader, first among its replicas, all of them in sync."""
    log = site.open()
    await log.apply_topics([CREATED], 3)
    state = (await log.topics())[CREATED.name]
    assert len(state.placements) == 3
    for place in state.placements:
        assert place.leader == place.replicas[0]
        assert sorted(place.in_sync) == sorted(place.replicas)
        assert len(place.replicas) == state.replication
