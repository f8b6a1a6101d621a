"""kill -9 of brokers, one of three at a time: with two of them left, everything goes on."""

from time import monotonic

import pytest

from schemas.topics import MESSAGES_CREATED
from tests.faults.arena import ROUNDS, SETTLED_WITHIN_S, Arena, apart
from tests.faults.load import Load
from tests.faults.servers import BROKERS

# Longer than the 6 s in which a cluster notices the death of a broker, and what clients need after that.
FAILOVER_WITHIN_S = 25.0


async def test_a_broker_is_killed_and_returns(arena: Arena) -> None:
    """Writes go on as if nothing had happened, the log takes them once the others lead, and it catches up."""
    async with arena.under_load() as load:
        for number in range(ROUNDS):
            await kill_and_return(arena, load, BROKERS[number % len(BROKERS)])


@pytest.mark.parametrize("partition", range(3))
async def test_the_leader_of_a_partition_is_killed(arena: Arena, partition: int) -> None:
    """Another replica takes the lead of the partition, with every record that was acknowledged."""
    async with arena.under_load() as load:
        for _ in range(ROUNDS):
            leader = await arena.brokers.leader(MESSAGES_CREATED.name, partition)
            assert leader is not None
            await kill_and_return(arena, load, leader)
            assert await arena.brokers.leader(MESSAGES_CREATED.name, partition) != leader


async def kill_and_return(arena: Arena, load: Load, broker: int) -> None:
    """Kill a broker; have it back when every partition takes events again."""
    began_s = monotonic()
    await apart(arena.servers.kill_broker, broker)
    await load.more_acknowledged(30)
    await arena.more_told(FAILOVER_WITHIN_S)
    arena.note(killed=f"broker {broker}", all_partitions_told_again_after_s=monotonic() - began_s)
    await apart(arena.servers.start_broker, broker)
    await arena.holds(arena.brokers.in_sync, SETTLED_WITHIN_S)
