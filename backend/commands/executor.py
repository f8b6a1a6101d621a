"""Carries commands out in groups: those that arrive while one transaction commits share the next.

Guarantees: a command answered without an error is on disk together with its events; a rejected one
leaves no trace and does not harm its neighbours; a caller that goes away changes nothing, its
command is carried out whole or not at all. A lone command never waits for company.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import IntegrityError

from backbone.clock import Clock
from backbone.database.engine import Database
from backbone.errors import RolledBack, Unavailable
from backbone.outbox import shards_of
from backend.commands.store import Group, load, save
from backend.domain.commands import Command, PostMessage
from backend.domain.decide import decide
from backend.domain.rejections import Overloaded, Rejected
from backend.domain.state import MessageRecord

WAITING_MAX = 10_000
_ATTEMPTS = 5
_CLOSE_WITHIN_S = 2.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The message after the command; `repeated` when an earlier post with the same key is answered."""

    record: MessageRecord
    repeated: bool = False


@dataclass(slots=True)
class _Waiting:
    command: Command
    answer: asyncio.Future[Outcome]


class CommandExecutor:
    """Takes commands one by one and commits them in groups of at most `batch_max`.

    `require_room` is called before a command is taken on and may raise Rejected; `stored` is called
    after each commit.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        require_room: Callable[[], None] = lambda: None,
        stored: Callable[[], None] = lambda: None,
        batch_max: int = 256,
    ) -> None:
        self._database = database
        self._clock = clock
        self._require_room = require_room
        self._stored = stored
        self._batch_max = batch_max
        self._waiting: list[_Waiting] = []
        self._committing: asyncio.Task[None] | None = None
        self._shards = 0

    async def execute(self, command: Command) -> Outcome:
        """Carry the command out. Raises Rejected, or Unavailable when it may or may not be stored."""
        self._require_room()
        if len(self._waiting) >= WAITING_MAX:
            raise Overloaded("too many writes are waiting", retry_after_s=1)
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(command, answer))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all(), name="commit commands")
        return await answer

    async def close(self) -> None:
        """Wait until everything that was taken on is answered, as long as the database answers."""
        if self._committing is not None:
            await asyncio.wait({self._committing}, timeout=_CLOSE_WITHIN_S)

    async def _commit_all(self) -> None:
        try:
            while self._waiting:
                taken, self._waiting = self._waiting[: self._batch_max], self._waiting[self._batch_max :]
                await self._commit(taken)
        finally:
            self._committing = None

    async def _commit(self, taken: Sequence[_Waiting]) -> None:
        try:
            answers = await self._in_one_transaction([waiting.command for waiting in taken])
        except Exception as error:  # noqa: BLE001 - whatever it is, each caller must hear of it
            if len(taken) > 1 and not isinstance(error, Unavailable):
                # One of them breaks the transaction for all: each is tried by itself.
                for waiting in taken:
                    await self._commit([waiting])
                return
            answers = [error] * len(taken)
        else:
            self._stored()
        for waiting, result in zip(taken, answers, strict=True):
            if waiting.answer.done():  # its caller went away
                continue
            if isinstance(result, Exception):
                waiting.answer.set_exception(result)
            else:
                waiting.answer.set_result(result)

    async def _in_one_transaction(self, commands: Sequence[Command]) -> list[Outcome | Exception]:
        self._shards = self._shards or await shards_of(self._database, "messages")
        for _ in range(_ATTEMPTS):
            try:
                async with self._database.writing() as connection:
                    group = await load(connection, commands)
                    answers = [self._decided(group, command) for command in commands]
                    await save(connection, group, self._shards)
                return answers
            except (IntegrityError, RolledBack) as error:
                # Another process made the same channel, or used the same key, a moment before: look again.
                log.info("write_conflict", reason=type(error).__name__)
        raise Unavailable("database", "other writes kept coming first")

    def _decided(self, group: Group, command: Command) -> Outcome | Exception:
        situation = group.situation(command)
        try:
            events = decide(command, situation, self._clock.now_ms(), lambda: self._clock.new_id("evt_"))
        except Rejected as rejection:
            return rejection
        for event in events:
            group.apply(event)
        if isinstance(command, PostMessage) and situation.earlier is not None:
            return Outcome(MessageRecord(situation.earlier.message), repeated=True)
        return Outcome(group.messages[command.message_id])
