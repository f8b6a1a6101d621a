"""Members of a group on Kafka that keep a name: a restart moves nobody's partitions."""

from collections.abc import AsyncIterator

import pytest

from backbone.eventlog import Consumer
from backbone.settings import Settings
from schemas.topics import MESSAGES_CREATED
from tests.support.eventlog import LogSite, log_site
from tests.support.waiting import until

TOPICS = (MESSAGES_CREATED,)


@pytest.fixture
async def site(real_settings: Settings) -> AsyncIterator[LogSite]:
    async with log_site(real_settings) as opened:
        await opened.open().apply_topics(TOPICS, 4)
        yield opened


async def shared(*members: Consumer) -> None:
    """Poll until the members have divided the partitions among them."""

    async def divided() -> bool:
        for member in members:
            await member.poll(10, 0.1)
        held = [member.assignment.places for member in members]
        return all(held) and len(frozenset().union(*held)) == sum(map(len, held)) == 4

    await until(divided, within_s=30)


async def test_a_restart_moves_no_partitions(site: LogSite, unique: str) -> None:
    """Given a named member that leaves and comes back, it has what it had, and the others notice nothing."""
    stays = await site.open().consumer(unique, TOPICS, "stays")
    leaves = await site.open().consumer(unique, TOPICS, "leaves")
    await shared(stays, leaves)
    before, held = stays.assignment, leaves.assignment.places
    await leaves.close()
    comes_back = await site.open().consumer(unique, TOPICS, "leaves")
    await shared(stays, comes_back)
    assert stays.assignment == before
    assert comes_back.assignment.places == held


async def test_a_member_without_a_name_gives_its_partitions_up(site: LogSite, unique: str) -> None:
    """They go to the others at once, long before any time-out."""
    stays = await site.open().consumer(unique, TOPICS)
    leaves = await site.open().consumer(unique, TOPICS)
    await shared(stays, leaves)
    await leaves.close()
    await shared(stays)
