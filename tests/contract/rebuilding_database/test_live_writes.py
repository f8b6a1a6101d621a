"""A rebuild beside writes that never stop: what was answered is there afterwards, and nothing differs."""

import asyncio

from rebuilder.database.ways import Ways
from tests.contract.rebuilding_database.conftest import rebuild
from tests.support.backend import Backend, user
from tests.support.write_side import Users, tables_of


async def test_a_swap_under_load_loses_nothing(backend: Backend, users: Users) -> None:
    """Given posts and a relay without a pause, the swap goes through and every answered post is there."""
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            await users.act(3)

    async def relay() -> None:
        while not stop.is_set():
            await users.tell()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        tasks.create_task(relay())
        try:
            compared = await rebuild(backend, Ways(compare=True))
            assert (compared.outcome, compared.differences) == ("compared", ())
            report = await rebuild(backend)
            assert (report.outcome, report.reason, report.differences) == ("swapped", None, ())
        finally:
            stop.set()
    await users.tell()
    rows = {row[0] for row in (await tables_of(backend.ports.database))["messages"]}
    assert rows == {message_id for _, message_id in users.posted}
    last = await rebuild(backend, Ways(compare=True))
    assert (last.outcome, last.differences, last.exit_code) == ("compared", (), 0)


async def test_what_each_user_read_stays(backend: Backend, users: Users) -> None:
    """Given a read mark, which no event tells of, a swap beside it leaves it, and new ones are taken."""
    path = "/channels/ops/read"
    assert (await backend.client.put(path, json={"sequence": 2}, headers=user("bora"))).status_code == 204
    assert (await rebuild(backend)).outcome == "swapped"
    unread = (await backend.client.get("/unread", headers=user("bora"))).json()
    assert [each["read_sequence"] for each in unread if each["channel_id"] == "ops"] == [2]
    assert (await backend.client.put(path, json={"sequence": 3}, headers=user("bora"))).status_code == 204
