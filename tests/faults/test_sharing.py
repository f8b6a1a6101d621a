"""No fault at all: three instances of each group share the partitions, and effects stay single."""

from tests.faults.arena import Arena


async def test_three_instances_of_each_group(arena: Arena) -> None:
    """Every member reads its part, no partition is read by two, and the oracle finds nothing."""
    await arena.shared()
    async with arena.under_load() as load:
        await load.more_acknowledged(80)
        await arena.shared()
