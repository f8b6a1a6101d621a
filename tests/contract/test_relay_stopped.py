"""Keys that stood still and go on: in order whatever dies meanwhile, and soon when many of them may."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, select, update

from backbone.database.tables import outbox
from backbone.errors import Unavailable
from backbone.health import Health
from backbone.relay import owned_shard, stopped
from tests.conftest import ADAPTERS
from tests.support.messaging import Talk
from tests.support.relaying import Stores, nothing_left, own_stores, put, told_by_channel

NEVER_S = 3600.0


@pytest.fixture(params=ADAPTERS)
async def stores(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Stores]:
    async with own_stores(request.getfixturevalue(f"{request.param}_settings"), unique) as opened:
        yield opened


async def drain(stores: Stores) -> None:
    """Own the shard of c0 until it has nothing more to tell, as one process of many would."""
    shard = stores.shard_of("c0")
    owning = owned_shard(
        stores.database, stores.eventlog, "messages", shard, Health("database"), retry_after_s=NEVER_S
    )
    async with owning as owned:
        assert owned is not None
        while await owned.step():
            pass


async def break_first_rows(stores: Stores, keys: list[str]) -> dict[int, str]:
    """Make the first row of each key one that no log takes; return the bodies by position."""
    bodies: dict[int, str] = {}
    async with stores.database.writing() as connection:
        for key in keys:
            of_key = select(outbox.c.position, outbox.c.body).where(outbox.c.ordering_key == key)
            row = (await connection.execute(of_key.order_by(outbox.c.position).limit(1))).one()
            bodies[row.position] = row.body
            broken = update(outbox).where(outbox.c.position == row.position)
            await connection.execute(broken.values(body='{"no": "event"}'))
    return bodies


async def mend(stores: Stores, bodies: dict[int, str]) -> None:
    async with stores.database.writing() as connection:
        for position, body in bodies.items():
            await connection.execute(update(outbox).where(outbox.c.position == position).values(body=body))


@contextmanager
def cut_off_at_update(stores: Stores, number: int) -> Iterator[None]:
    """Have the connection fail at the nth UPDATE of the block, and at every one behind it."""
    seen = 0

    def execute(_connection: object, _cursor: object, statement: str, *_rest: Any) -> None:
        nonlocal seen
        seen += statement.startswith("UPDATE")
        if seen >= number:
            raise ConnectionResetError("cut off, on purpose")

    event.listen(stores.database.engine.sync_engine, "before_cursor_execute", execute)
    try:
        yield
    finally:
        event.remove(stores.database.engine.sync_engine, "before_cursor_execute", execute)


@pytest.mark.parametrize("parts", [0, 1, 2, 3])
async def test_an_owner_that_dies_while_a_key_comes_back(
    stores: Stores, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many parts of what waited are back already, the next owner tells the channel in order."""
    monkeypatch.setattr(stopped, "_BROUGHT_BACK_AT_ONCE", 2)
    talk = Talk("c0")
    await put(stores.database, [talk.post("x") for _ in range(8)])
    bodies = await break_first_rows(stores, ["c0"])
    await drain(stores)
    await put(stores.database, [talk.post("late")])
    await mend(stores, bodies)
    with cut_off_at_update(stores, parts + 1), pytest.raises(Unavailable, match="on purpose"):
        await drain(stores)
    await drain(stores)
    assert await nothing_left(stores.database)
    assert await told_by_channel(stores.eventlog) == {"c0": list(range(2, 11))}


async def test_many_keys_go_on_one_after_the_other(stores: Stores) -> None:
    """As long as the log takes what it is offered, no key waits for another turn."""
    names = [f"c{n}" for n in range(400)]
    talks = [Talk(name) for name in names if stores.shard_of(name) == stores.shard_of("c0")][:35]
    keys = [talk.channel_id for talk in talks]
    await put(stores.database, [talk.post("x") for talk in talks])
    await put(stores.database, [talk.post("y") for talk in talks[:20]])
    bodies = await break_first_rows(stores, keys)
    await drain(stores)
    assert await told_by_channel(stores.eventlog) == {}
    await mend(stores, bodies)
    await drain(stores)
    assert await nothing_left(stores.database)
    told = await told_by_channel(stores.eventlog)
    assert told == {key: [2, 3] if number < 20 else [2] for number, key in enumerate(keys)}
