"""The rate limit of writes: who is refused first, then who is not, and what it remembers."""

from dataclasses import dataclass

import pytest

from backend.domain.rejections import RateLimited
from backend.limits import WriteLimit


@dataclass
class Watch:
    """A clock that goes on when it is told to."""

    now_s: float = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def taken(limit: WriteLimit, user_id: str, times: int) -> int:
    """Try so many writes; return how many were let through."""
    through = 0
    for _ in range(times):
        try:
            limit.take(user_id)
        except RateLimited:
            continue
        through += 1
    return through


def test_past_the_burst_a_user_is_refused_and_told_when_to_come_back() -> None:
    """The bucket's tokens go through, the next one does not; after the seconds told, one does."""
    watch = Watch()
    limit = WriteLimit(rate=50, burst=200, now_s=watch)
    assert taken(limit, "a", 300) == 200
    with pytest.raises(RateLimited) as refused:
        limit.take("a")
    assert refused.value.retry_after_s == 1
    watch.now_s += refused.value.retry_after_s
    assert taken(limit, "a", 300) == 50


def test_a_refused_write_costs_nothing() -> None:
    """However often one asks meanwhile, the bucket fills at its rate."""
    watch = Watch()
    limit = WriteLimit(rate=1, burst=1, now_s=watch)
    limit.take("a")
    for _ in range(10):
        watch.now_s += 0.1
        through = taken(limit, "a", 1)
    assert through == 1


def test_a_slow_rate_tells_more_than_a_second() -> None:
    """Retry-After is whole seconds, enough of them, whatever the rate."""
    watch = Watch()
    limit = WriteLimit(rate=1, burst=3, now_s=watch)
    taken(limit, "a", 3)
    watch.now_s += 0.5
    with pytest.raises(RateLimited) as refused:
        limit.take("a")
    assert refused.value.retry_after_s == 1
    assert limit.headers("a")["RateLimit-Reset"] == "3"


def test_users_do_not_share_a_bucket() -> None:
    """One user's burst leaves another's alone."""
    limit = WriteLimit(rate=1, burst=2, now_s=Watch())
    assert taken(limit, "a", 5) == 2
    assert taken(limit, "b", 5) == 2


def test_headers_tell_what_is_left() -> None:
    """Policy and limit are those of the settings; remaining and reset follow the bucket."""
    watch = Watch()
    limit = WriteLimit(rate=50, burst=200, now_s=watch)
    taken(limit, "a", 60)
    assert limit.headers("a") == {
        "RateLimit-Policy": "200;w=4",
        "RateLimit-Limit": "200",
        "RateLimit-Remaining": "140",
        "RateLimit-Reset": "2",
    }
    watch.now_s += 10
    full = {"RateLimit-Remaining": "200", "RateLimit-Reset": "0"}
    assert limit.headers("a").items() >= full.items()
    assert limit.headers("never seen").items() >= full.items()


def test_what_it_remembers_is_bounded() -> None:
    """Full buckets are forgotten as others are used; past the maximum the oldest is."""
    watch = Watch()
    limit = WriteLimit(rate=10, burst=20, now_s=watch, users_max=100)
    for n in range(1_000):
        limit.take(f"at once {n}")
    assert limit.users == 100
    for n in range(1_000):
        watch.now_s += 1
        limit.take(f"one by one {n}")
    assert limit.users <= 2
