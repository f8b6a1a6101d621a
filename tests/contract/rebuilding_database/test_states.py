"""What is rebuilt from states: all but the history, which the routes then say."""

from rebuilder.database.ways import Ways
from tests.contract.rebuilding_database.conftest import rebuild
from tests.support.backend import Backend, user
from tests.support.write_side import Users, lose, tables_of

STATE = Ways(source="state")


async def test_from_states_all_but_the_history_comes_back(backend: Backend, users: Users) -> None:
    """Given a database that lost everything, every table but the record is as it was."""
    before = await tables_of(backend.ports.database)
    await lose(backend.ports.database)
    report = await rebuild(backend, STATE)
    assert (report.outcome, report.reason) == ("swapped", None)
    after = await tables_of(backend.ports.database)
    for name in ("channels", "channel_members", "messages", "idempotency_keys", "channel_levels"):
        assert after[name] == before[name]
    ends = {row[0]: row[5] for row in before["channels"]}
    assert dict(after["missing_history"]) == {each: end for each, end in ends.items() if end > 1}


async def test_writes_and_keys_go_on_after_it(backend: Backend, users: Users) -> None:
    """A repeated key gets its first answer; an edit, a deletion and a new post take the next numbers."""
    body = {"channel_id": "ops", "content": "한 번만"}
    headers = {**user("bora"), b"Idempotency-Key": b"once"}
    first = (await backend.client.post("/messages", json=body, headers=headers)).json()
    await users.tell()
    await lose(backend.ports.database)
    await rebuild(backend, STATE)
    again = await backend.client.post("/messages", json=body, headers=headers)
    assert (again.status_code, again.json()) == (200, first)
    path = f"/messages/{first['message_id']}"
    edited = await backend.client.patch(path, json={"content": "고침"}, headers=user("bora"))
    assert (edited.status_code, edited.json()["version"]) == (200, first["sequence"] + 1)
    # A rebuild from events, told so far, brings the history back.
    await users.tell()
    assert (await rebuild(backend, Ways(accept_differences=True))).outcome == "swapped"
    history = await backend.client.get(f"{path}/history", headers=user("bora"))
    assert [each["event_type"] for each in history.json()] == ["message.created", "message.updated"]


async def test_history_is_refused_until_it_is_rebuilt_from_events(backend: Backend, users: Users) -> None:
    """Routes that read the record answer 409 where it lacks what they are asked for, and only there."""
    message = await backend.post("ops", "bora", "old")
    await users.tell()
    await lose(backend.ports.database)
    await rebuild(backend, STATE)
    path, bora = f"/messages/{message['message_id']}", user("bora")
    moment = {"as_of": message["created_at"]}
    for answer in (
        await backend.client.get(f"{path}/history", headers=bora),
        await backend.client.get(path, params=moment, headers=bora),
        await backend.client.get("/channels/ops/events", headers=bora),
    ):
        assert answer.status_code == 409, answer.text
        assert "rebuild database --from events" in answer.json()["detail"]
    assert (await backend.client.get(path, headers=bora)).json() == message
    new = await backend.post("ops", "bora", "new")
    after = {"after_sequence": message["sequence"]}
    events = (await backend.client.get("/channels/ops/events", params=after, headers=bora)).json()
    assert [each["sequence"] for each in events] == [new["sequence"]]
    history = await backend.client.get(f"/messages/{new['message_id']}/history", headers=bora)
    assert (history.status_code, len(history.json())) == (200, 1)


async def test_states_do_not_take_the_place_of_a_live_history(backend: Backend, users: Users) -> None:
    report = await rebuild(backend, STATE)
    assert (report.outcome, report.counts.differing_rows) == ("refused", 0)
    assert "states lack the history" in str(report.reason)
    assert (await rebuild(backend, Ways(source="state", compare=True))).differences == ()
