"""Looks into inboxes: shared by those who ask meanwhile, never older than the question, bounded."""

import asyncio
from collections.abc import Collection, Mapping
from typing import cast

import pytest

from backbone.errors import Unavailable
from backbone.mailbox import Asked, Mailbox, News, Standing
from notifier.looks import Looks


class Inboxes:
    """Inboxes that grow by one entry with each look, and answer when they are let."""

    def __init__(self) -> None:
        self.looks: list[tuple[set[Asked], int]] = []
        self.let = asyncio.Event()
        self.error: Exception | None = None

    async def after(self, asked: Collection[Asked], limit: int) -> Mapping[Asked, News]:
        number = len(self.looks) + 1
        self.looks.append((set(asked), limit))
        await self.let.wait()
        if self.error is not None:
            raise self.error
        return {each: News(Standing(latest_seq=number), []) for each in asked}


@pytest.fixture
def inboxes() -> Inboxes:
    return Inboxes()


@pytest.fixture
def looks(inboxes: Inboxes) -> Looks:
    return Looks(cast(Mailbox, inboxes), page=32)


async def begun(looks: Looks, users: Collection[str]) -> list[asyncio.Task[News]]:
    """Ask for these inboxes, and let all that can begin begin."""
    asking = [asyncio.create_task(looks.after(user, 0)) for user in users]
    for _ in range(5):
        await asyncio.sleep(0)
    return asking


async def test_those_who_ask_meanwhile_share_the_next_look(looks: Looks, inboxes: Inboxes) -> None:
    """Whoever asks while a look is under way is answered by the next one, which began after they asked."""
    first = await begun(looks, ["bora"])
    meanwhile = await begun(looks, ["bora", "chul", "dain"])
    assert len(inboxes.looks) == 1
    inboxes.let.set()
    assert [(await each).standing.latest_seq for each in first + meanwhile] == [1, 2, 2, 2]
    assert inboxes.looks[1][0] == {Asked("bora", 0), Asked("chul", 0), Asked("dain", 0)}


async def test_a_look_is_bounded(looks: Looks, inboxes: Inboxes) -> None:
    """A thousand who ask at once are served in several looks, each of a few hundred entries at most."""
    inboxes.let.set()
    asking = await begun(looks, [f"user {number}" for number in range(1_000)])
    await asyncio.gather(*asking)
    assert len(inboxes.looks) == 8
    assert all(1 <= limit * len(asked) <= 256 for asked, limit in inboxes.looks)
    (alone,) = await begun(looks, ["bora"])
    await alone
    assert inboxes.looks[-1][1] == 32


async def test_a_look_that_fails_is_told_to_all_and_the_next_is_made(looks: Looks, inboxes: Inboxes) -> None:
    """Each who asked hears of it; who asks again is answered."""
    inboxes.error = Unavailable("database", "away")
    inboxes.let.set()
    for each in await begun(looks, ["bora", "chul"]):
        with pytest.raises(Unavailable):
            await each
    inboxes.error = None
    (again,) = await begun(looks, ["bora"])
    assert (await again).standing.latest_seq == 2


async def test_whoever_goes_away_leaves_the_answer_to_the_others(looks: Looks, inboxes: Inboxes) -> None:
    """One of two is cancelled while the look is under way: the other is answered."""
    leaving, staying = await begun(looks, ["bora", "bora"])
    leaving.cancel()
    inboxes.let.set()
    assert (await staying).standing.latest_seq == 1
