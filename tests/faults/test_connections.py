"""Connections that are slow, are cut, and go dead: a backend, an indexer and a notifier behind links.

The links stand before all three servers. Brokers have a second listener for that, which tells its clients
to come to the links.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from time import monotonic

from sqlalchemy.engine import make_url

from tests.faults.arena import ROUNDS, Arena, apart
from tests.faults.platform import Member
from tests.faults.servers import Servers
from tests.support.link import Link

SLOW_S = 0.02


@dataclass
class Links:
    """One link for each server; `variables` are the settings of whoever goes through them."""

    kafka: Sequence[Link]
    postgres: Link
    elasticsearch: Link
    variables: dict[str, str]

    @property
    def all(self) -> Sequence[Link]:
        return (*self.kafka, self.postgres, self.elasticsearch)


async def test_connections_are_slowed_and_cut(arena: Arena) -> None:
    """Whoever sits behind bad connections gets on with what comes through, and does nothing twice."""
    behind = [members[-1] for members in arena.platform.groups]
    async with links_to(arena.servers) as links, moved(behind, links.variables):
        async with arena.under_load() as load:
            for _ in range(ROUNDS):
                for link in links.all:
                    link.delay_s = SLOW_S
                await load.more_acknowledged(20)
                await arena.more_told()
                for lot in (links.kafka, [links.postgres], [links.elasticsearch], links.all):
                    for link in lot:
                        link.cut()
                    await load.more_acknowledged(20)
                await arena.more_told()
                await go_dead(arena, links)
                await arena.more_told()
                await arena.shards_spread()
            await arena.shared()
        cuts = sum(link.cuts for link in links.all)
        swallowed = sum(link.swallowed_bytes for link in links.all)
        arena.note(connections_cut=str(cuts), bytes_swallowed=str(swallowed))


async def go_dead(arena: Arena, links: Links) -> None:
    """Let nothing through until the shards of the backend behind the links are the other's."""
    (other, *_) = arena.platform.backends
    for link in links.all:
        link.swallow()
    began_s = monotonic()
    await arena.owns(other, await arena.shards())
    arena.note(taken_over_after_s=monotonic() - began_s)
    for link in links.all:
        link.mend()


@asynccontextmanager
async def links_to(servers: Servers) -> AsyncIterator[Links]:
    """Run a link to each server."""
    settings = servers.settings
    async with AsyncExitStack() as stack:
        kafka = [
            await stack.enter_async_context(Link.to(upstream, port))
            for port, upstream in servers.proxied_brokers.items()
        ]
        postgres = await stack.enter_async_context(Link.to(settings.postgres_port))
        elasticsearch = await stack.enter_async_context(Link.to(settings.elasticsearch_port))
        database = make_url(servers.variables["DATABASE_URL"]).set(port=postgres.port)
        yield Links(
            kafka,
            postgres,
            elasticsearch,
            {
                "DATABASE_URL": database.render_as_string(hide_password=False),
                "EVENTLOG_URL": "kafka://" + ",".join(f"127.0.0.1:{link.port}" for link in kafka),
                "SEARCH_URL": f"http://127.0.0.1:{elasticsearch.port}",
            },
        )


@asynccontextmanager
async def moved(members: Sequence[Member], variables: dict[str, str]) -> AsyncIterator[None]:
    """Have members run under other settings during the block."""
    await restarted(members, variables)
    try:
        yield
    finally:
        await restarted(members, {})


async def restarted(members: Sequence[Member], variables: dict[str, str]) -> None:
    for member in members:
        assert await apart(member.end) == 0
        member.start(**variables)
    for member in members:
        await apart(member.wait_ready)
