"""What is rebuilt from events is what was live, table by table, and goes on as that would."""

from rebuilder.database.ways import Ways
from tests.contract.rebuilding_database.conftest import rebuild
from tests.support.backend import Backend, user
from tests.support.write_side import Users, lose, tables_of


async def test_what_was_lost_comes_back_table_by_table(backend: Backend, users: Users) -> None:
    """Given a past by chance and a database that lost it all, each table is as it was, to the row."""
    before = await tables_of(backend.ports.database)
    assert all(before[name] for name in before if name not in ("missing_history", "quiet_hours"))
    await lose(backend.ports.database)
    report = await rebuild(backend)
    assert (report.outcome, report.reason, report.exit_code) == ("swapped", None, 0)
    assert await tables_of(backend.ports.database) == before


async def test_it_swaps_beside_a_live_one_only_what_is_the_same(backend: Backend, users: Users) -> None:
    """Given a live database, and events that the log has yet to be told, nothing differs and all goes on."""
    await users.act(40)
    before = await tables_of(backend.ports.database)
    report = await rebuild(backend)
    assert (report.outcome, report.reason, report.counts.differing_rows) == ("swapped", None, 0)
    assert await tables_of(backend.ports.database) == before
    await users.act(40)
    await users.tell()
    compared = await rebuild(backend, Ways(compare=True))
    assert (compared.outcome, compared.differences, compared.exit_code) == ("compared", (), 0)


async def test_a_repeated_key_is_answered_as_ever(backend: Backend, users: Users) -> None:
    """Given a post with an Idempotency-Key before the loss, its repeat gets the first answer after it."""
    body = {"channel_id": "ops", "content": "한 번만"}
    headers = {**user("bora"), b"Idempotency-Key": b"once"}
    first = await backend.client.post("/messages", json=body, headers=headers)
    await users.tell()
    await lose(backend.ports.database)
    assert (await rebuild(backend)).outcome == "swapped"
    again = await backend.client.post("/messages", json=body, headers=headers)
    assert (again.status_code, again.json()) == (200, first.json())


async def test_the_next_event_takes_the_next_number(backend: Backend, users: Users) -> None:
    await lose(backend.ports.database)
    await rebuild(backend)
    channel = (await backend.client.get("/channels/ops", headers=user("bora"))).json()
    posted = await backend.post("ops", "bora", "이어서")
    assert posted["sequence"] == channel["last_sequence"] + 1
