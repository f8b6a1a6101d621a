"""The search port: versioned indices of messages behind one alias, and the queries over them.

Guarantees of every adapter: a document is stored only if its `version` is newer than the stored
one (an older or equal one changes nothing and is no error); a swap of the alias is atomic, and no
write goes to either side unseen meanwhile; a query never returns a deleted document, nor one that the
given rights do not cover.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import msgspec

from schemas.documents import IndexedDocument, SearchDocument

__all__ = [
    "DEPENDENCY",
    "CursorExpired",
    "CursorInvalid",
    "Hit",
    "IndexedDocument",
    "ItemFailure",
    "QueryRefused",
    "Rights",
    "SearchIndex",
    "SearchPage",
    "SearchQuery",
    "Sort",
    "Swap",
    "Tombstone",
    "Witness",
]

DEPENDENCY = "search"
"""The name of this dependency in `Unavailable` and in `/health/ready`."""

Sort = Literal["relevance", "newest", "oldest"]


HELD_MAX_S = 8.0
"""How long writes may be held for a swap, in seconds: shorter than the patience of anybody who waits."""


class ItemFailure(NamedTuple):
    """A document that the index refused for good, and why; it will never be taken."""

    message_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What is searched; every part narrows the result. Times are epoch milliseconds.

    `words` and `phrases` must all occur, `not_words` and `not_phrases` must not; words match other
    forms of theirs too, phrases only as they are written. Of several `authors` or `channels` one is
    enough, `mentions` must all be there. Words of nothing but punctuation find nothing.
    `begun_word` is the one of `words` that may still be being typed: it matches what begins with it too.
    Texts are in Unicode's composed form.
    """

    words: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    not_words: tuple[str, ...] = ()
    not_phrases: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    has_attachment: bool = False
    not_authors: tuple[str, ...] = ()
    not_channels: tuple[str, ...] = ()
    not_mentions: tuple[str, ...] = ()
    not_has_attachment: bool = False
    from_ms: int | None = None
    until_ms: int | None = None
    """`from_ms` is included, `until_ms` is not."""
    sort: Sort = "relevance"
    begun_word: str | None = None


@dataclass(frozen=True, slots=True)
class Rights:
    """Whose eyes: public channels, and these private ones."""

    private_channels: tuple[str, ...] = ()


class Witness(NamedTuple):
    """A version of a message; a page says whether the state it was read from holds it, or a newer one."""

    message_id: str
    version: int


class Tombstone(NamedTuple):
    """The document of a deleted message, in the version that is its deletion."""

    message_id: str
    version: int


_UNDERSCORED = {"index": "_index", "id": "_id", "score": "_score", "source": "_source"}


class Hit(msgspec.Struct, frozen=True, kw_only=True, rename=_UNDERSCORED):
    """One hit, encoded as Elasticsearch encodes it; `highlight` maps a field to marked fragments."""

    index: str
    id: str
    score: float | None
    source: SearchDocument
    highlight: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SearchPage:
    """A page of hits; `cursor` (JSON-able text, opaque to callers) leads to the next, None at the end.

    `witnessed` says whether the very state of the index that the page was read from holds what the
    witness names; False also where that cannot be proven, None where there was no witness. Of a page
    that was asked for with a cursor `places` are the cursors behind each of its hits.
    """

    hits: tuple[Hit, ...]
    total: int
    cursor: str | None
    witnessed: bool | None = None
    places: tuple[str, ...] = ()


class CursorExpired(Exception):
    """The point in time of a cursor is gone."""


class CursorInvalid(Exception):
    """A cursor that no answer of ours ever carried."""


class QueryRefused(Exception):
    """The index cannot carry this query out, now or later: it holds too much."""


class Swap(Protocol):
    """A swap under way: nobody else writes to what lies behind the alias, while searches go on."""

    before: str | None
    """The index behind the alias, None when there is no alias."""

    async def put(self, documents: Sequence[IndexedDocument]) -> list[ItemFailure]:
        """Store documents in the index that is to be swapped in, see SearchIndex.put."""

    async def done(self) -> None:
        """Make all that was put visible, then point the alias at the index, as the last act of the swap.

        Atomic: the alias moves only if nothing was written behind it since the swap began. The index
        that was there is remembered, see SearchIndex.previous. Raises Unavailable when the alias stays.
        """


class SearchIndex(Protocol):
    """The indices and their alias. `index` None stands for the alias. Every method raises Unavailable."""

    async def ensure(self) -> None:
        """Make the first index and its alias unless the alias exists; safe for several callers at once."""

    async def exists(self) -> bool:
        """Say whether the alias exists."""

    async def put(self, documents: Sequence[IndexedDocument], index: str | None = None) -> list[ItemFailure]:
        """Store the documents that are newer than the stored ones; return what was refused for good."""

    async def search(
        self,
        query: SearchQuery,
        rights: Rights,
        limit: int,
        cursor: str | None = None,
        witness: Witness | None = None,
    ) -> SearchPage:
        """Return a page, in bounded time. Raises CursorExpired, CursorInvalid or QueryRefused."""

    async def visible_version(self, message_id: str) -> int | None:
        """Return the version of the message that searches see now, deleted ones too; None when none."""

    async def refresh(self, index: str | None = None) -> None:
        """Make everything put before visible to searches; for rebuilds and tests, never per write."""

    async def current(self) -> str | None:
        """Return the name of the index behind the alias, None when there is no alias."""

    async def indices(self) -> list[str]:
        """Return the names of every index ever made for this alias that still exists, oldest version first.

        The one behind the alias is among them; those after it are leftovers of unfinished rebuilds.
        """

    async def create_next(self) -> str:
        """Make a fresh index with the next version's name, behind no alias; return its name."""

    def swapping(self, index: str) -> AbstractAsyncContextManager[Swap]:
        """Hold what writes to the alias, for the last step of a rebuild, which ends with `done`.

        Whatever was put by the alias before is behind it when the block begins; what is put meanwhile
        waits, or raises Busy and changes nothing. Writes go on when the block is left, done or not:
        within HELD_MAX_S, please. A process that dies in it is forgotten: the alias has moved or it has not,
        and writes go on by themselves. One that sleeps in it too long finds `done` refused.
        Raises Unavailable, always after writes go on, unless the server could not be told.
        """

    async def release_writes(self) -> None:
        """Let writes go on that a swap held and left so. Such a swap can never be done any more."""

    async def look_after_writes(self) -> None:
        """Let writes go on that a swap holds too long, as one does whose process is gone.

        Called every few seconds by whoever writes: what is looked at counts from the first look on. Raises
        Unavailable also where the live index takes no writes for another reason, such as a full disk.
        """

    async def previous(self) -> str | None:
        """Return the index that the last swap took from behind the alias, None when it is gone."""

    async def drop(self, index: str) -> None:
        """Delete an index that is behind no alias."""

    async def drop_all(self) -> None:
        """Delete every index of this alias, and the alias; for aliases that were made for a while.

        For a measurement's or a test's, when nobody uses them any more.
        """

    def scan(self, index: str | None = None) -> AsyncIterator[IndexedDocument]:
        """Yield every document, deleted ones too, in no order; each with the version that guards it."""

    async def tombstones(self, before_ms: int, limit: int) -> list[Tombstone]:
        """Return messages that were deleted before a moment (epoch milliseconds), the first of them first.

        At most `limit`, as searches see them now.
        """

    async def purge(self, tombstones: Sequence[Tombstone]) -> int:
        """Remove documents for good; return how many. What has become newer stays, what is gone is no error.

        The index forgets what it removes: a version that is put later is taken, however old. Whoever purges
        makes sure that none is on its way.
        """

    async def close(self) -> None:
        """Release the connection."""
