"""Which member of a consumer group owns which partition: functions inside one transaction.

Every member works out the same plan from the members that live. It gives up what the plan gives to
another, and takes what the plan gives to it once nobody owns it: so a partition has one owner at a
time. Each change of owner raises the partition's epoch; a commit with an older one changes nothing.
"""

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Alive = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Membership:
    """One member, as it presents itself: `topics` are full names."""

    group: str
    member_id: str
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ownership:
    """What one member holds: the epoch and committed offset of each partition id.

    `joined` is False for one that never was in, or was taken out as dead; `settled` is True when
    there is nothing to join, to take or to give up.
    """

    joined: bool
    epochs: Mapping[int, int]
    committed: Mapping[int, int]
    settled: bool


def look(connection: sqlite3.Connection, me: Membership, alive: Alive) -> Ownership:
    """Return what this member holds at this moment, without changing anything."""
    members = _members(connection, me.group)
    owners = _owners(connection, me.group)
    mine = {id_: epoch for id_, (owner, epoch) in owners.items() if owner == me.member_id}
    living = {member: topics for member, topics in members.items() if member == me.member_id or alive(member)}
    plan = _plan(connection, living)
    joined = me.member_id in members
    settled = joined and not any(
        _to_give_up(owners, id_, planned, me.member_id)
        or _to_take(owners, living, id_, planned, me.member_id)
        for id_, planned in plan.items()
    )
    return Ownership(joined, mine, committed_offsets(connection, me.group, list(mine)), settled)


def settle(connection: sqlite3.Connection, me: Membership, alive: Alive) -> list[str]:
    """Join if needed, take the dead out (they are returned), give up and take what the plan says."""
    connection.execute(
        "INSERT OR IGNORE INTO members VALUES (?, ?, ?)", (me.group, me.member_id, json.dumps(me.topics))
    )
    members = _members(connection, me.group)
    dead = [member for member in members if member != me.member_id and not alive(member)]
    for member in dead:
        leave(connection, me.group, member)
        del members[member]
    owners = _owners(connection, me.group)
    for id_, planned in _plan(connection, members).items():
        if _to_give_up(owners, id_, planned, me.member_id):
            connection.execute(
                "UPDATE owners SET member_id = NULL WHERE group_name = ? AND partition_id = ?",
                (me.group, id_),
            )
        elif _to_take(owners, members, id_, planned, me.member_id):
            connection.execute(
                "INSERT INTO owners VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE"
                " SET member_id = excluded.member_id, epoch = epoch + 1",
                (me.group, id_, me.member_id),
            )
    return dead


def leave(connection: sqlite3.Connection, group: str, member_id: str) -> None:
    """Take a member out; what it owned is free."""
    connection.execute("DELETE FROM members WHERE group_name = ? AND member_id = ?", (group, member_id))
    connection.execute(
        "UPDATE owners SET member_id = NULL WHERE group_name = ? AND member_id = ?", (group, member_id)
    )


def commit(
    connection: sqlite3.Connection, me: Membership, offsets: Mapping[int, int], epochs: Mapping[int, int]
) -> dict[int, int]:
    """Store, and return, the offsets of those partitions that the member has owned since it read them."""
    stored = {}
    for id_, offset in offsets.items():
        done = connection.execute(
            "INSERT OR REPLACE INTO committed SELECT group_name, partition_id, ? FROM owners"
            " WHERE group_name = ? AND partition_id = ? AND member_id = ? AND epoch = ?",
            (offset, me.group, id_, me.member_id, epochs.get(id_)),
        )
        if done.rowcount:
            stored[id_] = offset
    return stored


def committed_offsets(
    connection: sqlite3.Connection, group: str, partition_ids: Sequence[int]
) -> dict[int, int]:
    """Return the committed offset of each of the partitions that has one."""
    rows = connection.execute(
        "SELECT partition_id, next_offset FROM committed"
        " WHERE group_name = ? AND partition_id IN (SELECT value FROM json_each(?))",
        (group, json.dumps(partition_ids)),
    )
    return dict(rows.fetchall())


def members(connection: sqlite3.Connection, group: str) -> list[str]:
    """Return the ids of the members that have joined; some may be dead by now."""
    return list(_members(connection, group))


def _members(connection: sqlite3.Connection, group: str) -> dict[str, list[str]]:
    rows = connection.execute(
        "SELECT member_id, topics FROM members WHERE group_name = ? ORDER BY member_id", (group,)
    )
    return {member_id: json.loads(topics) for member_id, topics in rows}


def _owners(connection: sqlite3.Connection, group: str) -> dict[int, tuple[str | None, int]]:
    rows = connection.execute(
        "SELECT partition_id, member_id, epoch FROM owners WHERE group_name = ?", (group,)
    )
    return {id_: (member_id, epoch) for id_, member_id, epoch in rows}


def _plan(connection: sqlite3.Connection, members: Mapping[str, Sequence[str]]) -> dict[int, str]:
    """Return the member that each partition is for: in turn, among those that take its topic.

    The partitions come in the order of their numbers, topic by topic, so that (with as many
    partitions in each) one member gets the same partition of every topic.
    """
    topics = sorted({topic for taken in members.values() for topic in taken})
    rows = connection.execute(
        "SELECT id, topic, partition FROM partitions WHERE topic IN (SELECT value FROM json_each(?))",
        (json.dumps(topics),),
    )
    plan = {}
    for id_, topic, partition in rows:
        candidates = [member_id for member_id, taken in members.items() if topic in taken]
        plan[id_] = candidates[partition % len(candidates)]
    return plan


def _to_give_up(owners: Mapping[int, tuple[str | None, int]], id_: int, planned: str, me: str) -> bool:
    return planned != me and id_ in owners and owners[id_][0] == me


def _to_take(
    owners: Mapping[int, tuple[str | None, int]],
    members: Mapping[str, object],
    id_: int,
    planned: str,
    me: str,
) -> bool:
    return planned == me and (id_ not in owners or owners[id_][0] not in members)
