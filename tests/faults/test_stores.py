"""kill -9 of PostgreSQL and of Elasticsearch under load."""

from time import monotonic

import httpx

from tests.faults.arena import ROUNDS, Arena, apart


async def test_postgresql_is_killed(arena: Arena) -> None:
    """Nothing is acknowledged while it is down; what was before is there, and all goes on by itself."""
    async with arena.under_load() as load:
        for _ in range(ROUNDS):
            await apart(arena.servers.kill, "postgres")
            await arena.holds(lambda: load.stalled(1.0), 20)
            began_s = monotonic()
            await apart(arena.servers.start, "postgres")
            await load.more_acknowledged(30)
            arena.note(killed="PostgreSQL", acknowledged_again_after_s=monotonic() - began_s)
            await arena.more_told()


async def test_elasticsearch_is_killed(arena: Arena) -> None:
    """Writes go on, the search says that it is down and when to come again, and finds all once it is back."""
    async with arena.under_load() as load, httpx.AsyncClient(timeout=30) as client:
        for _ in range(ROUNDS):
            await apart(arena.servers.kill, "elasticsearch")
            answer = await search(client, arena)
            assert answer.status_code == 503, answer.text
            assert "Retry-After" in answer.headers
            await load.more_acknowledged(60)
            await apart(arena.servers.start, "elasticsearch")
            began_s = monotonic()

            async def found() -> bool:
                return (await search(client, arena)).status_code == 200

            await arena.holds(found, 20)
            arena.note(killed="Elasticsearch", searched_again_after_s=monotonic() - began_s)


async def search(client: httpx.AsyncClient, arena: Arena) -> httpx.Response:
    return await client.get(f"{arena.platform.backends[0].url}/messages/search", params={"q": "배포"})
