"""Looks into inboxes: those that sessions ask for while one is under way share the next.

Guarantees: nobody is answered by a look that began before they asked; how much one look reads is bounded,
however many ask.
"""

import asyncio
from collections.abc import Mapping

from backbone.mailbox import Asked, Mailbox, News

# So many inboxes a look, and so many entries of all of them: each may carry a long text.
_INBOXES = 128
_ENTRIES = 256

_Look = asyncio.Task[Mapping[Asked, News]]


class Looks:
    """What the sessions of this node read of inboxes, one look after the other."""

    def __init__(self, mailbox: Mailbox, page: int) -> None:
        """`page` is how many entries of one inbox a look reads at most."""
        self._mailbox = mailbox
        self._page = page
        # What the last look is to read: it may still be added to while it waits for its turn.
        self._gathering: set[Asked] | None = None
        self._last: _Look | None = None

    async def after(self, user_id: str, seq: int) -> News:
        """Return what an inbox holds after a number, or the first of that. Raises Unavailable."""
        asked = Asked(user_id, seq)
        if self._gathering is None or len(self._gathering) >= _INBOXES:
            self._gathering = set()
            self._last = asyncio.create_task(self._look(self._gathering, self._last))
        self._gathering.add(asked)
        assert self._last is not None, "it was made with what it gathers"
        # Whoever goes away leaves the look to the others.
        return (await asyncio.shield(self._last))[asked]

    async def _look(self, gathering: set[Asked], before: _Look | None) -> Mapping[Asked, News]:
        if before is not None:
            await asyncio.wait({before})
        if self._gathering is gathering:
            self._gathering = None
        limit = max(1, min(self._page, _ENTRIES // len(gathering)))
        return await self._mailbox.after(gathering, limit)
