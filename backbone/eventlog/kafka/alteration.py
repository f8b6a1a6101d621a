"""Makes topics on Kafka as they should be: new ones, more replicas, changed settings.

Guarantees: nothing that the contract does not name is touched, partitions are never added and replicas
never taken away; what was done is seen by every broker when it returns; done twice it changes nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from aiokafka.errors import TopicAlreadyExistsError, for_code
from aiokafka.protocol.admin import AlterPartitionReassignmentsRequest, CreateTopicsRequest

from backbone.errors import SetupError
from backbone.eventlog.kafka.admin import LOOK_EVERY_S, Admin, ClusterView, check_change
from backbone.eventlog.kafka.connection import ANSWER_TIMEOUT_S, REQUEST_TIMEOUT_MS, answering
from backbone.eventlog.kafka.replication import Assignments, to_reassign
from backbone.eventlog.kafka.requests import IncrementalAlterConfigsRequest
from backbone.eventlog.kafka.topic_settings import (
    MIN_IN_SYNC,
    READ,
    REPLICATION,
    change_lines,
    to_change,
    wanted,
)
from backbone.eventlog.topic_state import changed, made, partition_lines, partitions_of_new
from schemas.topics import Topic

CHANGE_TIMEOUT_S = 20.0
_COPY_TIMEOUT_S = 30.0


class Alteration:
    """One run over the topics wanted, by full name; `dry_run` only says what it would do."""

    def __init__(self, admin: Admin, topics: Mapping[str, Topic], *, dry_run: bool) -> None:
        self._admin = admin
        self._topics = topics
        self._dry_run = dry_run

    async def carry_out(self, partitions: int) -> list[str]:
        """Do all of it; return a line for each change and each difference that stays."""
        async with answering("describe topics", ANSWER_TIMEOUT_S):
            view = await self._view()
        counts = {name: len(view.topics[name]) for name in self._topics if name in view.topics}
        number = partitions_of_new(list(counts.values()), len(self._topics), partitions)
        async with answering("create topics", CHANGE_TIMEOUT_S):
            lines = await self._make(view, number)
        lines += await self._raise_replication(view)
        async with answering("alter topics", CHANGE_TIMEOUT_S):
            lines += await self._alter(view if self._dry_run else await self._view(), list(counts))
        new = dict.fromkeys(self._topics.keys() - counts.keys(), number)
        return lines + partition_lines(counts, new, partitions)

    async def _view(self, broker: int | None = None) -> ClusterView:
        return await self._admin.view(self._topics.__contains__, broker)

    async def _make(self, view: ClusterView, partitions: int) -> list[str]:
        missing = [name for name in self._topics if name not in view.topics]
        replication = REPLICATION if len(view.brokers) >= REPLICATION else 1
        refused = set()
        if missing and not self._dry_run:
            asked: list[tuple[object, ...]] = [
                (name, partitions, replication, [], list(wanted(self._topics[name], replication).items()))
                for name in missing
            ]
            answer = await self._admin.ask_controller(
                CreateTopicsRequest(asked, REQUEST_TIMEOUT_MS, validate_only=False)
            )
            for name, code, message in answer.topic_errors:
                if for_code(code) is TopicAlreadyExistsError:
                    refused.add(name)
                else:
                    check_change(code, message, f"make {name}")
            await self._until_each_broker(view, lambda broker: self._led(missing, broker))
        return [
            made(name, self._topics[name], partitions, replication, dry_run=self._dry_run)
            for name in missing
            if name not in refused
        ]

    async def _led(self, names: list[str], broker: int) -> bool:
        """Say whether a broker knows leaders of new topics: without, the first sends would stumble."""
        topics = (await self._view(broker)).topics
        return all(
            topics.get(name) and all(place.leader is not None for place in topics[name]) for name in names
        )

    async def _raise_replication(self, view: ClusterView) -> list[str]:
        if len(view.brokers) < REPLICATION:
            return []
        assignments = to_reassign(view, REPLICATION)
        if not assignments:
            return []
        copied = True
        if not self._dry_run:
            async with answering("reassign partitions", CHANGE_TIMEOUT_S):
                await self._reassign(assignments)
            copied = await self._copied(assignments)
        lines = []
        reassigned = {name for name, _ in assignments}
        for name in filter(reassigned.__contains__, self._topics):
            before = min(len(place.replicas) for place in view.topics[name])
            line = changed(name, "replication", str(before), str(REPLICATION), dry_run=self._dry_run)
            lines.append(line if copied else f"{line}; the brokers are still copying")
        return lines

    async def _reassign(self, assignments: Assignments) -> None:
        no_tags: dict[int, bytes] = {}
        by_topic: dict[str, list[tuple[object, ...]]] = defaultdict(list)
        for (name, number), brokers in assignments.items():
            by_topic[name].append((number, list(brokers), no_tags))
        topics = [(name, places, no_tags) for name, places in by_topic.items()]
        answer = await self._admin.ask_controller(
            AlterPartitionReassignmentsRequest(REQUEST_TIMEOUT_MS, topics, no_tags)
        )
        check_change(answer.error_code, answer.error_message, "add replicas")
        for name, places, _tags in answer.responses:
            for number, code, message, _more in places:
                check_change(code, message, f"add replicas to {name}/{number}")

    async def _copied(self, assignments: Assignments) -> bool:
        """Wait a while for the new replicas to have caught up; say whether they have."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_COPY_TIMEOUT_S), answering("copy partitions", 2 * _COPY_TIMEOUT_S):
                while True:
                    topics = (await self._view()).topics
                    if all(
                        set(brokers) <= set(topics[name][number].in_sync)
                        for (name, number), brokers in assignments.items()
                    ):
                        return True
                    await asyncio.sleep(LOOK_EVERY_S)
        return False

    async def _alter(self, view: ClusterView, existing: list[str]) -> list[str]:
        present = await self._admin.settings(existing, READ)
        lines, changes = [], {}
        for name in existing:
            before = present.get(name)
            if before is None:
                raise SetupError(
                    f"the brokers do not tell how {name} is set up: allow describing its configs"
                )
            new = to_change(self._topics[name], before, self._replication(view, name))
            if MIN_IN_SYNC in new and not (self._dry_run or _two_in_sync(view, name)):
                del new[MIN_IN_SYNC]
                lines.append(
                    f"{name}: {MIN_IN_SYNC} stays as it is until two replicas of each partition are in sync; "
                    "run `maeari topics apply` again then"
                )
            lines += change_lines(name, before, new, dry_run=self._dry_run)
            if new:
                changes[name] = new
        if changes and not self._dry_run:
            answer = await self._admin.ask(IncrementalAlterConfigsRequest(changes))
            for code, message, _type, name in answer.responses:
                check_change(code, message, f"alter {name}")
            await self._until_each_broker(view, lambda broker: self._heard(changes, broker))
        return lines

    async def _heard(self, changes: Mapping[str, Mapping[str, str]], broker: int) -> bool:
        present = await self._admin.settings(changes, READ, broker)
        return all(new.items() <= (present.get(name) or {}).items() for name, new in changes.items())

    def _replication(self, view: ClusterView, name: str) -> int:
        """Return what a topic's replication is, or would be after a run that is not dry."""
        replication = min((len(place.replicas) for place in view.topics[name]), default=0)
        if self._dry_run and len(view.brokers) >= REPLICATION:
            return max(replication, REPLICATION)
        return replication

    async def _until_each_broker(self, view: ClusterView, ask: Callable[[int], Awaitable[bool]]) -> None:
        """Wait until every broker that lives says so: they hear of changes in their own time."""
        for broker in view.brokers:
            while True:
                if await ask(broker):
                    break
                await asyncio.sleep(LOOK_EVERY_S)


def _two_in_sync(view: ClusterView, name: str) -> bool:
    return all(len(place.in_sync) >= 2 for place in view.topics[name])
