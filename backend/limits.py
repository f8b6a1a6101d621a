"""How many writes one user may make: a token bucket each, in the memory of this process.

Guarantees: a bucket holds `burst` tokens and gains `rate` a second; a refused write takes none. Memory is
bounded: full buckets are forgotten, and past `users_max` the one that was used longest ago is. Several
processes count on their own: a user may write `rate` times their number.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from backend.domain.rejections import RateLimited

USERS_MAX = 100_000
# A little less than one: sums of fractions may fall short of it.
_ONE = 1 - 1e-6


@dataclass(slots=True)
class _Bucket:
    tokens: float
    seen_s: float


class WriteLimit:
    """The buckets of all users. `now_s` is a clock that never goes back."""

    def __init__(
        self,
        rate: int,
        burst: int,
        now_s: Callable[[], float] = time.monotonic,
        users_max: int = USERS_MAX,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._now_s = now_s
        self._users_max = users_max
        # In the order of their last writes: all but the last few seconds' are full again.
        self._buckets: dict[str, _Bucket] = {}
        self._constant = {
            "RateLimit-Policy": f"{burst};w={math.ceil(burst / rate)}",
            "RateLimit-Limit": str(burst),
        }

    def take(self, user_id: str) -> None:
        """Take a token of the user's. Raises RateLimited when there is none."""
        now_s = self._now_s()
        bucket = self._buckets.pop(user_id, None)
        if bucket is None:
            bucket = _Bucket(float(self._burst), now_s)
        else:
            bucket.tokens = self._tokens(bucket, now_s)
            bucket.seen_s = now_s
        self._buckets[user_id] = bucket
        self._forget(now_s)
        if bucket.tokens < _ONE:
            raise RateLimited(
                f"more than {self._rate} writes a second, after a burst of {self._burst}",
                retry_after_s=math.ceil((_ONE - bucket.tokens) / self._rate),
            )
        bucket.tokens -= 1

    def headers(self, user_id: str) -> dict[str, str]:
        """Return the headers of an answer to the user: what is left, and the seconds until all is."""
        bucket = self._buckets.get(user_id)
        tokens = float(self._burst) if bucket is None else self._tokens(bucket, self._now_s())
        return {
            **self._constant,
            "RateLimit-Remaining": str(int(tokens)),
            "RateLimit-Reset": str(math.ceil((self._burst - tokens) / self._rate)),
        }

    @property
    def users(self) -> int:
        """How many users it remembers."""
        return len(self._buckets)

    def _tokens(self, bucket: _Bucket, now_s: float) -> float:
        return min(float(self._burst), bucket.tokens + (now_s - bucket.seen_s) * self._rate)

    def _forget(self, now_s: float) -> None:
        """Drop the first buckets while they are full: at most two, as each write adds at most one."""
        for _ in range(2):
            user_id, bucket = next(iter(self._buckets.items()))
            if len(self._buckets) <= self._users_max and self._tokens(bucket, now_s) < self._burst:
                return
            if len(self._buckets) == 1:
                return
            del self._buckets[user_id]
