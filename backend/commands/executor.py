"""Gathers commands into groups: those that arrive while one transaction commits share the next.

Guarantees: a command answered without an error is on disk together with its events; a rejected one
leaves no trace. A caller that goes away before its command is taken on leaves nothing, later its
command is carried out whole. A lone command never waits for company. What waits is bounded, in
number and in size.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import overload

from backbone.clock import Clock
from backbone.database.engine import Database
from backbone.errors import Unavailable
from backend.commands.answers import Answer, Posted
from backend.commands.transaction import GroupTransaction, Result, Stored
from backend.domain.commands import (
    Command,
    EditMessage,
    MakeChannel,
    MarkRead,
    MessageChange,
    PostMessage,
    PutMember,
    RemoveMember,
)
from backend.domain.rejections import Overloaded
from backend.domain.state import ChannelState, MessageRecord
from schemas.channels import Membership

WAITING_MAX = 4_096
WAITING_MAX_CHARACTERS = 32_000_000
# What one transaction takes, beside the number of its commands.
GROUP_MAX_CHARACTERS = 4_000_000
# Without groups, so many commands are in transactions of their own at once: below the pool's size.
_ALONE_AT_ONCE = 8
_CLOSE_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    command: Command
    answer: asyncio.Future[Answer]


class CommandExecutor:
    """Takes commands one by one and commits them in groups of at most `batch_max`; 1 means no groups.

    `admit` is called before a command is taken on and may raise Rejected; `stored` is told after each
    commit which shards of the outbox have how many new events, `failed` of what the database did not take.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        admit: Callable[[Command], None] = lambda _command: None,
        stored: Stored = lambda _shards, _events: None,
        batch_max: int = 256,
        failed: Callable[[Unavailable], None] = lambda _error: None,
    ) -> None:
        self._transaction = GroupTransaction(database, clock, stored)
        self._admit = admit
        self._failed = failed
        self._batch_max = batch_max
        self._committing_max = 1 if batch_max > 1 else _ALONE_AT_ONCE
        self._committing = 0
        self._waiting: deque[_Waiting] = deque()
        self._waiting_characters = 0
        self._committers: set[asyncio.Task[None]] = set()

    @overload
    async def execute(self, command: PostMessage) -> Posted: ...
    @overload
    async def execute(self, command: MessageChange) -> MessageRecord: ...
    @overload
    async def execute(self, command: MakeChannel) -> ChannelState: ...
    @overload
    async def execute(self, command: PutMember) -> Membership: ...
    @overload
    async def execute(self, command: RemoveMember | MarkRead) -> None: ...

    async def execute(self, command: Command) -> Answer:
        """Carry the command out.

        Raises Rejected; Unavailable when it is not stored, CommitUnknown when that cannot be found out.
        """
        size = _characters(command)
        if len(self._waiting) >= WAITING_MAX or self._waiting_characters + size > WAITING_MAX_CHARACTERS:
            raise Overloaded("too many writes are waiting", retry_after_s=1)
        self._admit(command)
        waiting = _Waiting(command, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._waiting_characters += size
        if self._committing < self._committing_max:
            self._committing += 1
            committer = asyncio.create_task(self._commit_all(), name="commit commands")
            self._committers.add(committer)
            committer.add_done_callback(self._committers.discard)
        return await waiting.answer

    async def close(self) -> None:
        """Wait until everything that was taken on is answered, as long as the database answers."""
        if self._committers:
            await asyncio.wait(set(self._committers), timeout=_CLOSE_WITHIN_S)

    async def _commit_all(self) -> None:
        try:
            while group := self._next_group():
                results = await self._transaction.carry_out([waiting.command for waiting in group])
                for waiting, result in zip(group, results, strict=True):
                    _answer(waiting.answer, result)
                if isinstance(results[-1], Unavailable):
                    self._failed(results[-1])
        finally:
            # At once with the look that found nothing: a command that comes next must find it so.
            self._committing -= 1

    def _next_group(self) -> list[_Waiting]:
        """Take what shares the next transaction; commands whose callers went away are dropped."""
        group: list[_Waiting] = []
        size = 0
        while self._waiting and len(group) < self._batch_max and size < GROUP_MAX_CHARACTERS:
            waiting = self._waiting.popleft()
            characters = _characters(waiting.command)
            self._waiting_characters -= characters
            if not waiting.answer.done():
                group.append(waiting)
                size += characters
        return group


def _answer(answer: asyncio.Future[Answer], result: Result) -> None:
    if answer.done():  # its caller went away
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)


def _characters(command: Command) -> int:
    """Return about how much text the command carries."""
    if not isinstance(command, PostMessage | EditMessage):
        return 0
    content = command.content if isinstance(command.content, str) else ""
    mentions = command.mentions if isinstance(command.mentions, tuple) else ()
    attachments = command.attachments if isinstance(command.attachments, tuple) else ()
    return (
        len(content)
        + sum(map(len, mentions))
        + sum(len(each.name) + len(each.url) + len(each.content_type or "") for each in attachments)
    )
