"""Property: whatever users did, in whatever batches it is read, what is rebuilt is what was live."""

import random

import pytest

from backbone.eventlog import NewRecord
from rebuilder.database import loading
from rebuilder.database.ways import Ways
from schemas.topics import MESSAGES_DELETED, MESSAGES_UPDATED
from tests.contract.rebuilding_database.conftest import rebuild
from tests.support.backend import Backend
from tests.support.eventlog import append
from tests.support.write_side import Users, lose, tables_of


@pytest.mark.parametrize("seed", range(4))
async def test_rebuilt_is_live(backend: Backend, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """From a log in which some edits and deletions are told again, late, in batches of any size."""
    chance = random.Random(seed)
    monkeypatch.setattr(loading, "CHUNK_RECORDS", chance.choice((1, 7, 50)))
    users = Users(backend, chance)
    await users.begin()
    for _ in range(3):
        await users.act(chance.randrange(20, 60))
        await users.tell()
        told = await backend.told(MESSAGES_UPDATED, MESSAGES_DELETED)
        again = [
            NewRecord(each.topic, str(each.key), str(each.key), each.value, each.headers) for each in told
        ]
        await append(backend.ports.eventlog, chance.sample(again, len(again) // 3))
    before = await tables_of(backend.ports.database)
    assert (await rebuild(backend, Ways(compare=True))).differences == ()
    await lose(backend.ports.database)
    report = await rebuild(backend)
    assert (report.outcome, report.reason) == ("swapped", None)
    assert await tables_of(backend.ports.database) == before
