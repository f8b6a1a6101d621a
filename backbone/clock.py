"""Time and ids, injected everywhere so that tests can hold them still."""

import os
import random
import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Gives moments and ids."""

    def now_ms(self) -> int:
        """Return the moment in epoch milliseconds."""

    def new_id(self, prefix: str) -> str:
        """Return `prefix` + a UUIDv7: unique, and rising within a process."""


class SystemClock:
    """The machine's clock; ids are UUIDv7 (RFC 9562) with 42 bits that count up within a millisecond.

    They are unique, not secret: the bits of chance come from a generator, seeded by the system.
    """

    _COUNTER_BITS = 42

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(os.urandom(32))
        self._last_ms = 0
        self._counter = 0

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def new_id(self, prefix: str) -> str:
        with self._lock:
            now = self.now_ms()
            if now > self._last_ms:
                self._last_ms = now
                # The topmost bit starts at 0, which leaves 2^41 ids to the millisecond.
                self._counter = self._random.getrandbits(self._COUNTER_BITS - 1)
            else:
                self._counter += 1
            moment, counter, chance = self._last_ms, self._counter, self._random.getrandbits(32)
        high, low = counter >> 30, counter & 0x3FFFFFFF
        # 32 bits and 16 of the moment, version 7 with 12 bits, variant 2 with 14 bits, 48 bits.
        return (
            f"{prefix}{moment >> 16:08x}-{moment & 0xFFFF:04x}-7{high:03x}"
            f"-{0x8000 | low >> 16:04x}-{(low & 0xFFFF) << 32 | chance:012x}"
        )
