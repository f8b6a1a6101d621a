"""kill -9 of the whole platform under load: what was answered is there, once, after the next start."""

import asyncio
from functools import partial
from pathlib import Path

import httpx
import pytest

from backbone.settings import read_settings
from backbone.wiring import Ports as Stores
from backbone.wiring import open_ports
from tests.support.waiting import until
from tests.system import stores as compare
from tests.system.fold import fold_of_log
from tests.system.processes import Surroundings

ROUNDS = 3
POSTERS = 8


async def post(client: httpx.AsyncClient, key: str) -> httpx.Response:
    """Post the one message that belongs to the key `round-poster-number`."""
    _, poster, _ = key.split("-")
    body = {
        "channel_id": f"c{int(poster) % 3}",
        "author_id": f"u{poster}",
        "content": f"메시지 {key}",
        "mentions": ["듣는이"],
    }
    return await client.post("/messages", json=body, headers={"Idempotency-Key": key})


async def post_until_it_dies(client: httpx.AsyncClient, round_number: int, poster: int) -> dict[str, str]:
    """Post one message after the other; return the id that was answered for each key."""
    answered: dict[str, str] = {}
    for number in range(10_000):
        key = f"{round_number}-{poster}-{number}"
        try:
            answer = await post(client, key)
        except httpx.TransportError:
            return answered
        assert answer.status_code == 201, answer.text
        answered[key] = answer.json()["message_id"]
    return answered


@pytest.mark.timeout(180)
async def test_kill_9_under_load(tmp_path: Path) -> None:
    """Every answered message is stored, told, indexed and notified once; its key makes no second one."""
    surroundings = Surroundings(tmp_path, {"WRITE_RATE": "1000000", "WRITE_BURST": "1000000"})
    port = surroundings.ports.api
    answered: dict[str, str] = {}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        for round_number in range(ROUNDS):
            process = await surroundings.start("dev", probe=port)
            posting = [
                asyncio.create_task(post_until_it_dies(client, round_number, poster))
                for poster in range(POSTERS)
            ]
            try:
                await until(partial(in_full_swing, client, round_number), within_s=20)
            finally:
                process.kill()
                await process.wait()
            for ids in await asyncio.gather(*posting):
                answered |= ids
        async with (
            surroundings.running("dev", probe=port),
            open_ports(read_settings(surroundings.environment(), dotenv=None)) as stores,
        ):
            await check(stores, client, answered)


async def in_full_swing(client: httpx.AsyncClient, round_number: int) -> bool:
    """Say whether this round's messages are found already: the platform is in full swing then."""
    answer = await client.get("/messages/search", params={"q": f'"메시지 {round_number}"', "limit": 30})
    return len(answer.json()) == 30


async def check(stores: Stores, client: httpx.AsyncClient, answered: dict[str, str]) -> None:
    fold = await compare.settled(stores)
    assert len(answered) > 60
    assert set(answered.values()) <= set(fold.messages)
    await compare.check_database(stores.database, fold)
    await compare.check_states(stores.eventlog, fold)
    await stores.search.refresh()
    await compare.check_index(stores.search, fold)
    await compare.check_inboxes(stores.database, fold)
    for key, message_id in list(answered.items())[-20:]:
        again = await post(client, key)
        assert (again.status_code, again.json()["message_id"]) == (200, message_id)
    assert set((await fold_of_log(stores.eventlog)).messages) == set(fold.messages)
