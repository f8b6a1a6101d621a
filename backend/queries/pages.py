"""A page of a list, with the places from which the next one goes on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

P = TypeVar("P", int, str)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[P, T]):
    """(Place, item) pairs in the list's order, and whether there is more behind them."""

    items: Sequence[tuple[P, T]]
    more: bool


def first_of(found: Sequence[tuple[P, T]], limit: int) -> Page[P, T]:
    """Return the page out of what was found when one more than `limit` was looked for."""
    return Page(found[:limit], len(found) > limit)
