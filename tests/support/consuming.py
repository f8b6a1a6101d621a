"""A handler for the consuming loop that remembers what it was given, and does with it what the test says."""

from collections.abc import Awaitable, Callable, Sequence

from backbone.errors import Poison, Unavailable
from backbone.eventlog import Record
from backbone.eventlog.applying import Refusal, Taken

Texts = Sequence[Taken[str]]


def read_text(record: Record) -> str:
    """Return a record's text. Raises Poison for one that begins with `!`."""
    text = (record.value or b"").decode(errors="replace")
    if text.startswith("!"):
        raise Poison(f"cannot be read: {text[:20]}")
    return text


class Effects:
    """Remembers what it was given; `then` decides what becomes of each batch."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.applied: list[str] = []
        """What was applied: given to it, and neither refused nor failed."""
        self.then: Callable[[Texts], Awaitable[Sequence[Refusal]]] | None = None

    async def __call__(self, batch: Texts) -> Sequence[Refusal]:
        self.batches.append([text for _, text in batch])
        refusals = [] if self.then is None else await self.then(batch)
        refused = {refusal.record for refusal in refusals}
        self.applied += [text for record, text in batch if record not in refused]
        return refusals

    def fail(self, error: Exception) -> None:
        """Raise this with every batch."""

        async def then(_batch: Texts) -> Sequence[Refusal]:
            raise error

        self.then = then

    def fail_with(self, *texts: str) -> None:
        """Be unavailable for batches with one of these texts."""

        async def then(batch: Texts) -> Sequence[Refusal]:
            if any(text in texts for _, text in batch):
                raise Unavailable("search", "a part of it is down")
            return []

        self.then = then

    def refuse(self, *texts: str) -> None:
        """Refuse the records with these texts."""

        async def then(batch: Texts) -> Sequence[Refusal]:
            return [Refusal(record, "because") for record, text in batch if text in texts]

        self.then = then
