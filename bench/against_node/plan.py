"""What `maeari bench node` measures, how much of it, and in which order the contenders take turns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

SUBJECTS = ("posts", "latency", "search", "indexing", "notifications", "fold", "memory", "guide")

# What V8 compiles, what fills caches, and what is found at a start, is done by then.
WARM_UP_S = 3.0

C = TypeVar("C")


@dataclass(frozen=True)
class Plan:
    """What is measured: so many `pairs` of each subject, loads of so many `seconds`.

    `backlog` events are indexed, `states` folded, `posts` made before memory is looked at again;
    `documents` are in the index that is searched. Memory is measured once.
    """

    pairs: int = 5
    seconds: float = 10.0
    connections: int = 64
    search_connections: int = 32
    backlog: int = 50_000
    states: int = 200_000
    posts: int = 100_000
    documents: int = 10_000
    mentions_per_second: float = 100.0
    subjects: tuple[str, ...] = SUBJECTS


def turns(pairs: int, contenders: Sequence[C]) -> Iterator[tuple[int, C]]:
    """Yield who is measured when: A B A B, so that a slow minute harms all alike."""
    for pair in range(1, pairs + 1):
        for contender in contenders:
            yield pair, contender


def warm_up_s(seconds: float) -> float:
    """Return how long a server is warmed up before a load of so many seconds."""
    return min(WARM_UP_S, seconds)


def at_rate(per_second: float, seconds: float) -> tuple[int, int]:
    """Return how many posts a load at a fixed rate has, and how many its warm-up."""
    return max(1, round(per_second * seconds)), max(1, round(per_second * warm_up_s(seconds)))
