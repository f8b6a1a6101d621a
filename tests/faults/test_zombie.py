"""SIGSTOP of the relay's owner until another has taken over, then SIGCONT: it must not be heard any more."""

import signal
from time import monotonic

from schemas.topics import MESSAGES_STATE
from tests.faults.arena import ROUNDS, Arena, apart
from tests.faults.load import Load
from tests.faults.oracle import repeated_after
from tests.faults.platform import Member, others

ATTEMPTS = 12


async def test_an_owner_that_was_frozen_overwrites_nothing(arena: Arena) -> None:
    """Frozen in the middle of a transaction, an owner finds its place taken: nothing more of it is read."""
    backends = arena.platform.backends
    places = {}
    async with arena.under_load() as load:
        shards = await arena.shards_spread()
        for number in range(ROUNDS):
            victim = backends[number % len(backends)]
            (other,) = others(backends, victim)
            caught = await freeze(arena, load, victim)
            began_s = monotonic()
            await arena.owns(other, shards)
            arena.note(frozen_in_transaction=caught, taken_over_after_s=monotonic() - began_s)
            await arena.more_told()
            await load.more_acknowledged(30)
            places = await arena.ends()
            victim.signal(signal.SIGCONT)
            await load.more_acknowledged(30)
            await apart(victim.wait_ready)
            await arena.shards_spread()
    assert arena.told is not None
    # Of the last round: the owner that took over had told all again that the frozen one had in hand.
    assert repeated_after(arena.told, places) == []


async def freeze(arena: Arena, load: Load, victim: Member) -> str:
    """Stop the process; in the middle of a transaction, when one of some attempts meets it there.

    An acknowledgement is the moment after a commit: what it stored is being told by its owner right then.
    """
    partitions = arena.platform.settings.partitions
    for _ in range(ATTEMPTS):
        await load.one_more_acknowledged()
        victim.signal(signal.SIGSTOP)
        if await arena.brokers.stuck_transactions(MESSAGES_STATE.name, partitions):
            return "yes"
        victim.signal(signal.SIGCONT)
        await apart(victim.wait_ready)
    victim.signal(signal.SIGSTOP)
    return "no"
