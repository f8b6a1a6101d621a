"""The topics of one prefix and their partitions' ids, read again from the file when a name is unknown."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from backbone.errors import SetupError
from backbone.eventlog import Placement, TopicPartition, TopicState
from backbone.eventlog.embedded import records
from backbone.eventlog.embedded.storage import Storage
from backbone.eventlog.topic_state import (
    changed,
    kept,
    made,
    missing_message,
    partition_lines,
    partitions_of_new,
)
from schemas.topics import REPLAY_HORIZON_MS, Topic


class Catalog:
    """Maps topics by bare name to partition ids, and back. Topics are removed only all at once."""

    def __init__(self, storage: Storage, prefix: str) -> None:
        self._storage = storage
        self._prefix = prefix
        self._ids: dict[str, list[int]] = {}
        self.names: dict[int, TopicPartition] = {}

    def full_name(self, topic: str) -> str:
        return f"{self._prefix}.{topic}"

    async def partition_ids(self, topics: Sequence[str]) -> dict[str, list[int]]:
        """Return the ids of each topic's partitions, by number. Raises SetupError for a missing topic."""
        if any(topic not in self._ids for topic in topics):
            self._load(await self._storage.read(self._states))
        missing = [self.full_name(topic) for topic in topics if topic not in self._ids]
        if missing:
            raise SetupError(missing_message(missing))
        return {topic: self._ids[topic] for topic in topics}

    async def all_ids(self, topics: Sequence[Topic]) -> list[int]:
        """Return the ids of all partitions of the topics. Raises SetupError for a missing topic."""
        by_topic = await self.partition_ids([topic.name for topic in topics])
        return [id_ for ids in by_topic.values() for id_ in ids]

    async def states(self, *, sizes: bool = False) -> dict[str, TopicState]:
        """Return the topics as they exist; `sizes` reads through all records."""

        def read(connection: sqlite3.Connection) -> list[tuple[TopicState, list[int]]]:
            rows = self._states(connection)
            if not sizes:
                return rows
            return [(_measured(connection, state, ids), ids) for state, ids in rows]

        rows = await self._storage.read(read)
        self._load(rows)
        return {state.name: state for state, _ in rows}

    def apply(
        self, connection: sqlite3.Connection, topics: Sequence[Topic], partitions: int, *, dry_run: bool
    ) -> list[str]:
        """Make and alter topics inside a transaction; return a line for each change and difference."""
        existing = {self.full_name(state.name): state for state, _ in self._states(connection)}
        wanted = {self.full_name(topic.name): topic for topic in topics}
        counts = {name: existing[name].partitions for name in wanted if name in existing}
        number = partitions_of_new(list(counts.values()), len(wanted), partitions)
        new = {name: number for name in wanted if name not in existing}
        lines = [made(name, wanted[name], number, 1, dry_run=dry_run) for name in new]
        for name in () if dry_run else new:
            _make(connection, name, wanted[name], number)
        for name in counts:
            topic, state = wanted[name], existing[name]
            if (state.cleanup, state.retention_ms) != (topic.cleanup, topic.retention_ms):
                how = [kept(which.cleanup, which.retention_ms) for which in (state, topic)]
                lines.append(changed(name, "cleanup", *how, dry_run=dry_run))
                if not dry_run:
                    _alter(connection, name, topic)
        return lines + partition_lines(counts, new, partitions)

    def drop(self, connection: sqlite3.Connection) -> None:
        """Remove all topics inside a transaction, with their records and what groups know of them."""
        for state, ids in self._states(connection):
            for id_ in ids:
                records.remove(connection, id_)
                for table in ("committed", "owners"):
                    connection.execute(f"DELETE FROM {table} WHERE partition_id = ?", (id_,))
            name = self.full_name(state.name)
            connection.execute("DELETE FROM partitions WHERE topic = ?", (name,))
            connection.execute("DELETE FROM topics WHERE name = ?", (name,))

    def forget(self) -> None:
        """Know no topic any more; the next question is put to the file."""
        self._ids.clear()
        self.names.clear()

    def _load(self, rows: list[tuple[TopicState, list[int]]]) -> None:
        for state, ids in rows:
            self._ids[state.name] = ids
            self.names.update(
                (id_, TopicPartition(state.name, partition)) for partition, id_ in enumerate(ids)
            )

    def _states(self, connection: sqlite3.Connection) -> list[tuple[TopicState, list[int]]]:
        found = []
        for name, partitions, cleanup, retention_ms in connection.execute(
            "SELECT name, partitions, cleanup, retention_ms FROM topics ORDER BY name"
        ).fetchall():
            if not name.startswith(f"{self._prefix}."):
                continue
            ids, earliest, end = zip(
                *connection.execute(
                    "SELECT id, earliest, next_offset FROM partitions WHERE topic = ? ORDER BY partition",
                    (name,),
                ),
                strict=True,
            )
            bare = name.removeprefix(f"{self._prefix}.")
            tombstones_ms = REPLAY_HORIZON_MS if cleanup == "compact" else None
            state = TopicState(bare, partitions, cleanup, retention_ms, 1, earliest, end, tombstones_ms)
            found.append((state, list(ids)))
        return found


def _measured(connection: sqlite3.Connection, state: TopicState, ids: Sequence[int]) -> TopicState:
    return replace(
        state, placements=tuple(Placement(size_bytes=records.size_bytes(connection, id_)) for id_ in ids)
    )


def _make(connection: sqlite3.Connection, name: str, topic: Topic, partitions: int) -> None:
    connection.execute(
        "INSERT INTO topics VALUES (?, ?, ?, ?)", (name, partitions, topic.cleanup, topic.retention_ms)
    )
    connection.executemany(
        "INSERT INTO partitions (topic, partition) VALUES (?, ?)",
        [(name, partition) for partition in range(partitions)],
    )


def _alter(connection: sqlite3.Connection, name: str, topic: Topic) -> None:
    connection.execute(
        "UPDATE topics SET cleanup = ?, retention_ms = ? WHERE name = ?",
        (topic.cleanup, topic.retention_ms, name),
    )
