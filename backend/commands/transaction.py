"""One transaction for a group of commands, and what happens to each of them when it fails.

Guarantees: a command that breaks the transaction, or is rejected, does not harm its neighbours. A
failure known to precede the commit is followed by a try for each command alone. When the commit
itself got no answer, the events are looked up, under the locks, before anything is tried again: so
nothing is stored twice, and what was stored is answered as stored.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from backbone.clock import Clock
from backbone.database.engine import Database
from backbone.errors import CommitUnknown, RolledBack, Unavailable
from backbone.outbox import shards_of
from backend.commands.answers import Answer, answer_of
from backend.commands.group import Group
from backend.commands.load import any_stored, load
from backend.commands.save import save
from backend.domain.channels import read_up_to
from backend.domain.commands import Command, MarkRead
from backend.domain.decide import decide
from backend.domain.rejections import Rejected

# How often other processes may be first, and how long the answer to a commit is looked for.
_CONFLICTS_MAX = 5
_LOOK_UPS_MAX = 8
_LOOK_UP_PAUSE_S = 0.1
# While the database is down every group fails: that is told no more often than this.
_TOLD_EVERY_S = 5.0

Result = Answer | Exception
Stored = Callable[[frozenset[int], int], None]

log = structlog.get_logger()


class GroupTransaction:
    """Carries groups of commands out; `stored` is told the outbox's shards and the number of events."""

    def __init__(self, database: Database, clock: Clock, stored: Stored) -> None:
        self._database = database
        self._clock = clock
        self._stored = stored
        self._shards = 0
        self._broken_groups = 0
        self._told_at_s = -_TOLD_EVERY_S

    async def carry_out(self, commands: Sequence[Command]) -> list[Result]:
        """Return for each command its answer or its error; raises nothing but cancellation."""
        try:
            return await self._together(commands)
        except CommitUnknown as error:
            return [error] * len(commands)
        except Exception as error:  # noqa: BLE001 - whatever it is, each caller must hear of it
            if len(commands) == 1 and not _tried_again_alone(error):
                return [error]
            self._tell_of_broken_group(error)
        return await self._one_by_one(commands)

    def _tell_of_broken_group(self, error: Exception) -> None:
        """Log it, with all those since the last time, unless that was a moment ago."""
        self._broken_groups += 1
        now_s = time.monotonic()
        if now_s - self._told_at_s >= _TOLD_EVERY_S:
            log.info("group_tried_one_by_one", groups=self._broken_groups, reason=type(error).__name__)
            self._broken_groups, self._told_at_s = 0, now_s

    async def _one_by_one(self, commands: Sequence[Command]) -> list[Result]:
        results: list[Result] = []
        for command in commands:
            if len(results) >= 2 and all(isinstance(result, Unavailable) for result in results[-2:]):
                # Two in a row: it is the database, not the commands.
                results.append(Unavailable("database", "it went away while writes were tried one by one"))
            else:
                results.append(await self._alone(command))
        return results

    async def _alone(self, command: Command) -> Result:
        try:
            [result] = await self._together([command])
        except Exception as error:  # noqa: BLE001 - its caller must hear of it
            return error
        return result

    async def _together(self, commands: Sequence[Command]) -> list[Result]:
        """Carry them out in one transaction. Raises CommitUnknown, or what went wrong before a commit."""
        conflicts = 0
        while True:
            try:
                return await self._attempt(commands, None)
            except _Unsure as unsure:
                return await self._find_out(commands, unsure)
            except (IntegrityError, RolledBack) as error:
                # Another process made the same channel, or used the same key, a moment before: look again.
                log.info("write_conflict", reason=type(error).__name__)
                conflicts += 1
                if conflicts == _CONFLICTS_MAX:
                    raise Unavailable("database", "other writes kept coming first") from error

    async def _find_out(self, commands: Sequence[Command], unsure: "_Unsure") -> list[Result]:
        """Look for the events of a commit without an answer; carry the commands out where they are absent."""
        for number in range(_LOOK_UPS_MAX):
            try:
                return await self._attempt(commands, unsure)
            except _Unsure as again:
                unsure = again
            except (IntegrityError, Unavailable) as error:
                log.warning("commit_unknown", look_up=number + 1, reason=type(error).__name__)
            except Exception as error:
                # Nobody may take it for a failure before the commit: it is not known what is stored.
                raise CommitUnknown("database", f"a commit got no answer, and then: {error}") from error
            await asyncio.sleep(_LOOK_UP_PAUSE_S * 2**number)
        raise CommitUnknown("database", "a commit got no answer, and the database cannot be asked")

    async def _attempt(self, commands: Sequence[Command], unsure: "_Unsure | None") -> list[Result]:
        self._shards = self._shards or await shards_of(self._database, "messages")
        results: list[Result] = []
        shards: frozenset[int] = frozenset()
        events = 0
        try:
            async with self._database.writing() as connection:
                group = await load(connection, commands)
                if unsure is not None and await any_stored(connection, commands):
                    results, shards, events = unsure.results, unsure.shards, unsure.events
                else:
                    results = [self._decided(group, command) for command in commands]
                    shards, events = await save(connection, group, self._shards), len(group.events)
        except CommitUnknown as error:
            raise _Unsure(results, shards, events) from error
        self._stored(shards, events)
        return results

    def _decided(self, group: Group, command: Command) -> Result:
        situation = group.situation(command)
        try:
            if isinstance(command, MarkRead):
                group.mark_read(command, read_up_to(command, situation))
            else:
                for event in decide(command, situation, self._clock.now_ms()):
                    group.apply(event)
        except Rejected as rejection:
            return rejection
        return answer_of(command, situation, group)


def _tried_again_alone(error: Exception) -> bool:
    """Say whether a lone command may be tried once more: its connection was lost, it did not wait in vain."""
    return isinstance(error, Unavailable) and not isinstance(error.__cause__, TimeoutError | PoolTimeout)


class _Unsure(Exception):
    """A commit got no answer; what would be answered if it is stored."""

    def __init__(self, results: list[Result], shards: frozenset[int], events: int) -> None:
        super().__init__("a commit got no answer")
        self.results = results
        self.shards = shards
        self.events = events
