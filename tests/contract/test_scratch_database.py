"""A database for a while, on the real server: there in the block, gone after it, whatever happened in it."""

import pytest
from sqlalchemy import text

from backbone.database.engine import Database
from backbone.database.migrations import check_migrated, migrate
from backbone.database.scratch import scratch_database
from backbone.errors import Unavailable
from backbone.settings import Settings


async def databases_called(url: str, name: str) -> list[str]:
    """Return the databases of the server whose names begin so."""
    database = Database(url)
    try:
        async with database.reading() as connection:
            query = text("SELECT datname FROM pg_database WHERE starts_with(datname, :name)")
            return list(await connection.scalars(query, {"name": name}))
    finally:
        await database.close()


async def test_it_is_empty_and_gone_in_the_end(stack: Settings, unique: str) -> None:
    """It is made beside the given one, takes tables, and is dropped although a connection is left open."""
    async with scratch_database(stack.database_url, unique) as url:
        (name,) = await databases_called(stack.database_url, unique)
        assert url == stack.database_url.rsplit("/", 1)[0] + f"/{name}"
        database = Database(url)
        assert (await migrate(database))[0] is None
        await check_migrated(database)
    assert await databases_called(stack.database_url, unique) == []
    await database.close()


async def test_it_is_gone_after_an_error(stack: Settings, unique: str) -> None:
    """An error in the block comes through, and the database is dropped."""
    with pytest.raises(RuntimeError, match="in the block"):
        async with scratch_database(stack.database_url, unique):
            raise RuntimeError("in the block")
    assert await databases_called(stack.database_url, unique) == []


async def test_a_server_that_is_not_there() -> None:
    """Where no server answers nothing is made, and that is said."""
    with pytest.raises(Unavailable):
        async with scratch_database("postgresql+asyncpg://maeari@127.0.0.1:9/maeari", "nowhere"):
            pytest.fail("there is no such server")
