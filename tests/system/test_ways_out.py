"""Webhooks and the console of whole processes: killed under load, nothing is lost; replayed, ids repeat."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.conftest import ADAPTERS
from tests.support.receiver import KEY, OK, SECRET, Received, Receiver, Reply, listening
from tests.support.waiting import until
from tests.system.platform import own_stores
from tests.system.processes import Surroundings

KILLS = 3
USERS = ("bora", "철수", "영희")
WITHIN_S = 60


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that takes what comes."""
    async with listening(Receiver()) as receiver:
        yield receiver


@pytest.fixture(params=ADAPTERS)
async def surroundings(
    request: pytest.FixtureRequest, tmp_path: Path, unique: str, receiver: Receiver
) -> AsyncIterator[Surroundings]:
    """Where the processes run: on files, or on servers; with both ways out."""
    ways_out = {
        "SENDERS": "console,webhook",
        "WEBHOOK_URL": receiver.url,
        "WEBHOOK_SECRET": SECRET,
        "INSTANCE": "none",
    }
    if request.param == "embedded":
        yield Surroundings(tmp_path, ways_out)
        return
    async with own_stores(request.getfixturevalue("real_settings"), unique) as stores:
        yield Surroundings(tmp_path, {**stores, **ways_out})


@pytest.fixture
async def backend(surroundings: Surroundings) -> AsyncIterator[httpx.AsyncClient]:
    """The write side, which lives on when the sending process dies."""
    await surroundings.run("migrate")
    await surroundings.run("topics", "apply")
    port = surroundings.ports.api
    async with (
        surroundings.running("backend", probe=port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client,
    ):
        yield client


async def start_notifier(surroundings: Surroundings) -> asyncio.subprocess.Process:
    port = surroundings.ports.notifier
    return await surroundings.start("notifier", probe=port, METRICS_PORT=str(port))


async def post(client: httpx.AsyncClient, count: int) -> None:
    """Mention everyone so many times."""
    for number in range(count):
        body = {"channel_id": "c", "author_id": "author", "content": f"{number}", "mentions": list(USERS)}
        answer = await client.post("/messages", json=body)
        assert answer.status_code == 201, answer.text


async def has_all(receiver: Receiver, count: int) -> bool:
    """Say if each user's numbers up to `count` were taken."""
    return all(set(receiver.seqs(user)) >= set(range(1, count + 1)) for user in USERS)


async def has_new(receiver: Receiver, before: int) -> bool:
    return len(receiver.taken) >= before + 10


@pytest.mark.timeout(180)
async def test_kill_9_of_the_sending_process(
    surroundings: Surroundings, backend: httpx.AsyncClient, receiver: Receiver
) -> None:
    """Killed again and again, while the receiver fails at times: all arrive, in order but for repeats."""
    each_time = 25
    receiver.then = fails_sometimes
    for kill in range(KILLS):
        process = await start_notifier(surroundings)
        try:
            before = len(receiver.taken)
            posting = asyncio.create_task(post(backend, each_time))
            await until(partial(has_new, receiver, before), WITHIN_S)
        finally:
            process.kill()
            await process.wait()
        await posting
        assert kill < KILLS
    process = await start_notifier(surroundings)
    try:
        await until(partial(has_all, receiver, KILLS * each_time), WITHIN_S)
    finally:
        process.terminate()
        await process.wait()
    for user in USERS:
        first_times = list(dict.fromkeys(receiver.seqs(user)))
        assert first_times == list(range(1, KILLS * each_time + 1)), "the first time, each came in its turn"
        assert len({(each.seq, each.push_id, each.body) for each in receiver.of(user)}) == len(first_times)
    assert all(each.signed_with(KEY) for each in receiver.taken)
    check_console(surroundings, KILLS * each_time)
    await check_replay(surroundings, receiver)


_turn = 0


def fails_sometimes(_received: Received) -> Reply:
    """Refuse one request in seven."""
    global _turn  # noqa: PLW0603 - one receiver at a time
    _turn += 1
    return Reply(500) if _turn % 7 == 0 else OK


def check_console(surroundings: Surroundings, count: int) -> None:
    """Each notification stands in a line of standard output at least once."""
    lines = (surroundings.folder / "notifier.log").read_text(encoding="utf-8").splitlines()
    for user in USERS:
        told = {line for line in lines if line.startswith(f"{user} ")}
        assert {line.split()[1] for line in told} == {str(seq) for seq in range(1, count + 1)}
        assert all("새 멘션" in line for line in told)


async def check_replay(surroundings: Surroundings, receiver: Receiver) -> None:
    """The command sends the same again, from a number on; where it cannot, one line says how to go on."""
    first = {each.push_id: each.body for each in receiver.of("bora")}
    last = len(first)
    receiver.taken.clear()
    receiver.then = lambda _received: OK
    said = await surroundings.run("notifications", "replay", "--user", "bora", "--after", str(last - 5))
    assert said == f"sent 5: seq {last - 4} to {last}\n"
    assert receiver.seqs("bora") == list(range(last - 4, last + 1))
    assert all(first[each.push_id] == each.body for each in receiver.taken)
    assert "nothing to send" in await surroundings.run(
        "notifications", "replay", "--user", "nobody", "--after", "0"
    )
    receiver.then = lambda received: OK if received.seq < last else Reply(410)
    arguments = ("notifications", "replay", "--user", "bora", "--after", str(last - 2))
    code, _, errors = await surroundings.attempt(*arguments)
    assert code == 1
    assert f"--after {last - 1}" in errors.splitlines()[-1]
    code, _, errors = await surroundings.attempt(*arguments, SENDERS="", WEBHOOK_URL="")
    assert (code, len(errors.splitlines())) == (2, 1)


async def test_the_probe_tells_of_a_receiver_that_is_down(
    surroundings: Surroundings, backend: httpx.AsyncClient, receiver: Receiver
) -> None:
    """`ready` stays 200 and says so while nothing is taken, and no more once it is; no log shows a secret."""
    receiver.then = lambda _received: Reply(500)
    port = surroundings.ports.notifier

    async def told() -> str | None:
        answer = await backend.get(f"http://127.0.0.1:{port}/health/ready")
        assert answer.status_code == 200, "the notifier does its main work"
        state: str | None = answer.json()["dependencies"].get("webhook")
        return state

    async def down() -> bool:
        return "500" in (await told() or "")

    async def up() -> bool:
        return await told() == "ok"

    async with surroundings.running("notifier", probe=port, METRICS_PORT=str(port)):
        await post(backend, 1)
        await until(down, WITHIN_S)
        receiver.then = lambda _received: OK
        await until(partial(has_all, receiver, 1), WITHIN_S)
        await until(up, WITHIN_S)
    log = (surroundings.folder / "notifier.log").read_text(encoding="utf-8")
    assert "of-the-receiver" not in log
    assert SECRET.removeprefix("whsec_") not in log
