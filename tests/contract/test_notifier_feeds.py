"""How a subscription is handed to its channel's feed, on both databases: nothing left out or told twice."""

import msgspec

from backbone.streams import ends_of
from notifier.feeds import Feeds, Subscription, Waker
from notifier.wire import Wire
from tests.support.api import make_channel
from tests.support.backend import Backend
from tests.support.waiting import until


class Written(Wire):
    """A wire that keeps the numbers of the events that were written to it."""

    __slots__ = ("numbers",)

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.numbers: list[int] = []

    def write_now(self, raw: bytes) -> bool:
        self.numbers.append(msgspec.json.decode(raw[raw.index(b"{") :])["event"]["sequence"])
        return True


def subscription(feeds: Feeds, position: int) -> tuple[Subscription, list[int]]:
    """Return a subscription that has everything up to a position, and what will be written to it."""
    wire = Written("bora")
    made = Subscription("c", position, False, wire, Waker())
    feeds.attach(made)
    return made, wire.numbers


async def told(backend: Backend, feeds: Feeds, numbers: list[int]) -> None:
    """Post something, and wait until its event is written."""
    await backend.post("c", "owner", "말")
    end = (await ends_of(feeds.database, ["c"]))["c"]
    feeds.hint("c", end)

    async def written() -> bool:
        return numbers[-1:] == [end]

    await until(written)


async def test_nobody_joins_behind_what_was_told(backend: Backend) -> None:
    """Given a feed at 3, whoever has less must read on first, and whoever has more is not told it again."""
    feeds = Feeds(backend.ports.database)
    await make_channel(backend, "c", "owner")
    first, to_first = subscription(feeds, 1)
    assert feeds.join(first)
    await told(backend, feeds, to_first)
    late, to_late = subscription(feeds, 1)
    assert not feeds.join(late)
    await told(backend, feeds, to_first)
    late.position = 2
    assert not feeds.join(late)
    late.position = 3
    assert feeds.join(late)
    await backend.post("c", "owner", "말")
    ahead, to_ahead = subscription(feeds, 4)
    assert feeds.join(ahead), "what it has read is news to the others"
    await told(backend, feeds, to_late)
    assert (to_first, to_late, to_ahead) == ([2, 3, 4, 5], [4, 5], [5])
    for each in (first, late, ahead):
        feeds.detach(each)
    assert not feeds.followed("c")
    await feeds.close()


async def test_a_hint_before_anyone_is_live_is_kept(backend: Backend) -> None:
    """Given an event that was hinted at while its subscriber still read, the feed begins with it."""
    feeds = Feeds(backend.ports.database)
    await make_channel(backend, "c", "owner")
    reading, numbers = subscription(feeds, 1)
    await backend.post("c", "owner", "말")
    feeds.hint("c", 2)
    assert feeds.join(reading)

    async def written() -> bool:
        return numbers == [2]

    await until(written)
    feeds.detach(reading)
    await feeds.close()
