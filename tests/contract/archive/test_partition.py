"""A partition of the archive: appended to by several, who may freeze and die between any two calls."""

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from backbone.archive import Damaged, Missing, Storage
from backbone.archive.checking import LogBounds, check
from backbone.archive.layout import data_name
from backbone.archive.manifest import entries
from backbone.archive.mending import mend
from backbone.archive.partition import Overtaken, PartitionArchive
from backbone.archive.reading import Archive, Bounds
from backbone.errors import Unavailable
from backbone.eventlog import Record
from tests.support.archive import some_records

TOPIC = "p.messages.created"
NAME = "messages.created"


def chain(storage: Storage) -> PartitionArchive:
    """Return the partition as a process has it that has just taken it over."""
    opened = PartitionArchive(storage, TOPIC, 0)
    opened.refresh()
    return opened


def held(storage: Storage) -> list[Record]:
    archive = Archive(storage, lambda name: f"p.{name}")
    return [record for records in archive.records(NAME, 0) for record in records]


def files(storage: Storage) -> list[str]:
    return [path for path in storage.list("") if data_name(path)]


def filled(storage: Storage, sizes: tuple[int, ...] = (40, 30, 30)) -> list[Record]:
    """Archive some records in files of these sizes."""
    records = some_records(sum(sizes))
    writer, start = chain(storage), 0
    for size in sizes:
        writer.append(records[start : start + size], writer.end)
        start += size
    return records


def test_byte_for_byte(storage: Storage) -> None:
    """Keys, values, headers of every kind, tombstones and holes: what is read is what was archived."""
    records = filled(storage)
    assert held(storage) == records
    assert chain(storage).end == records[-1].offset + 1
    names = [data_name(path) for path in files(storage)]
    assert [name.first for name in names if name] == [0, records[39].offset + 1, records[69].offset + 1]
    assert check(storage, None).findings == ()


def test_a_part_of_it(storage: Storage) -> None:
    """From an offset, to an offset; past the end it says what lacks."""
    records = filled(storage)
    archive = Archive(storage, lambda name: f"p.{name}")
    end = records[-1].offset + 1
    assert archive.bounds(NAME, 0) == Bounds(0, end)
    assert archive.bounds(NAME, 1) == Bounds(0, 0)
    for first, after in (
        (0, end),
        (records[39].offset, records[41].offset),
        (records[50].offset, end),
        (5, 5),
    ):
        found = [each for batch in archive.records(NAME, 0, first, after) for each in batch]
        assert found == [record for record in records if first <= record.offset < after]
    with pytest.raises(Missing, match=f"offsets {end} to {end + 9} are not in the archive"):
        list(archive.records(NAME, 0, 0, end + 10))


def test_one_of_two_owners_is_refused(storage: Storage) -> None:
    """Both at the same end, with overlapping ranges: the second learns of the first, and nothing is twice."""
    records = some_records(150, holes=False)
    zombie, owner = chain(storage), chain(storage)
    owner.append(records[:100], 0)
    with pytest.raises(Overtaken):
        zombie.append(records[:150], 0)
    with pytest.raises(Overtaken):
        zombie.note_lost(0, 5)
    assert zombie.refresh() == 100
    zombie.append(records[100:], 100)
    assert held(storage) == records
    assert len(storage.list("")) == 2 * 2


def test_the_first_may_be_the_zombie(storage: Storage) -> None:
    """Whoever is first has it, whichever of the two the log takes for the owner."""
    records = some_records(150, holes=False)
    zombie, owner = chain(storage), chain(storage)
    zombie.append(records[:40], 0)
    with pytest.raises(Overtaken):
        owner.append(records[:100], 0)
    owner.append(records[owner.refresh() :], owner.end)
    assert held(storage) == records


def test_an_answer_that_got_lost(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry was created, and the answer says that there is one: it is known for one's own."""
    records, writer = some_records(10), chain(storage)
    create = storage.create

    def twice(path: str, data: bytes) -> bool:
        create(path, data)
        return create(path, data)

    monkeypatch.setattr(storage, "create", twice)
    writer.append(records, 0)
    assert held(storage) == records


class Died(Exception):
    """What ends a process between two calls."""


@pytest.mark.parametrize("dies_at", range(4))
def test_death_between_any_two_calls(storage: Storage, dies_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a call, or after it: the next owner archives each record once, and clears away the rest."""
    records = some_records(60, holes=False)
    chain(storage).append(records[:20], 0)
    victim = chain(storage)
    with monkeypatch.context() as patched:
        calls = [0]

        def dying(call: Callable[..., Any]) -> Callable[..., Any]:
            def called(*arguments: Any) -> Any:
                if calls[0] == dies_at:
                    raise Died
                calls[0] += 1
                return call(*arguments)

            return called

        for name in ("put", "create", "move"):
            patched.setattr(storage, name, dying(getattr(storage, name)))
        with suppress(Died):
            victim.append(records[20:45], 20)
    owner = chain(storage)
    assert owner.end == (20 if dies_at < 2 else 45)
    owner.append(records[owner.end :], owner.end)
    assert chain(storage).end == 60
    assert held(storage) == records
    assert check(storage, {(TOPIC, 0): LogBounds(0, 60)}).findings == ()
    assert len(storage.list("_pending")) == 0


def test_many_owners_that_freeze_anywhere(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random owners cut as they like, die at random calls and wake up late: each offset is there once."""
    records, chance = some_records(120, seed=3), random.Random(5)
    calls = {name: getattr(storage, name) for name in ("put", "create", "move")}
    for name, call in calls.items():

        def dying(*arguments: Any, call: Callable[..., Any] = call) -> Any:
            before = chance.random() < 0.1
            if before:
                raise Died
            answer = call(*arguments)
            if chance.random() < 0.1:
                raise Died
            return answer

        monkeypatch.setattr(storage, name, dying)
    owners = [PartitionArchive(storage, TOPIC, 0) for _ in range(4)]
    end = records[-1].offset + 1
    while max(owner.end for owner in owners) < end:
        owner = chance.choice(owners)
        with suppress(Died, Overtaken):
            if chance.random() < 0.5:
                owner.refresh()
            mine = [record for record in records if record.offset >= owner.end][: chance.randint(1, 15)]
            if mine:
                owner.append(mine, owner.end)
    monkeypatch.undo()
    chain(storage)
    assert held(storage) == records
    assert check(storage, {(TOPIC, 0): LogBounds(0, end)}).findings == ()


def kinds(storage: Storage, end: int | None = None) -> list[tuple[str, int, int]]:
    log = None if end is None else {(TOPIC, 0): LogBounds(0, end)}
    return [(each.kind, each.first, each.last) for each in check(storage, log).findings]


def test_a_truncated_file_is_found(storage: Storage) -> None:
    """The check names the file and its offsets; a reader raises before it yields anything of it."""
    records = filled(storage)
    path = files(storage)[1]
    storage.put(path, storage.read(path)[:-100])
    assert kinds(storage) == [("damaged", records[39].offset + 1, records[69].offset)]
    read = Archive(storage, lambda name: f"p.{name}").records(NAME, 0)
    assert next(read) == records[:40]
    with pytest.raises(Damaged, match="bytes, the manifest says"):
        next(read)


def test_a_byte_that_changed_is_found(storage: Storage) -> None:
    filled(storage)
    path = files(storage)[0]
    data = bytearray(storage.read(path))
    data[len(data) // 2] ^= 1
    storage.put(path, bytes(data))
    (finding,) = check(storage, None).findings
    assert finding.kind == "damaged"
    assert "SHA-256" in finding.detail


def test_a_missing_range_is_found(storage: Storage) -> None:
    """A file that is gone, and one that is gone with its entry: the offsets that lack are said."""
    records = filled(storage)
    lacking = (records[39].offset + 1, records[69].offset)
    storage.remove(files(storage)[1])
    assert kinds(storage) == [("missing", *lacking)]
    (entry,) = [each for each in entries(storage, TOPIC, 0) if each.first == lacking[0]]
    storage.remove(entry.path)
    assert kinds(storage) == [("missing", *lacking)]
    with pytest.raises(Missing, match=f"offsets {lacking[0]} to {lacking[1]} are not in the archive"):
        held(storage)


def test_the_manifest_can_be_made_anew(storage: Storage) -> None:
    """Without a manifest all files are found to be in none; mended, all is as before."""
    records = filled(storage)
    before = list(entries(storage, TOPIC, 0))
    for entry in before:
        storage.remove(entry.path)
    assert {kind for kind, _, _ in kinds(storage)} == {"not_in_manifest"}
    assert [line.rpartition(": ")[2] for line in mend(storage)] == ["entered"] * 3
    assert kinds(storage, records[-1].offset + 1) == []
    assert held(storage) == records
    after = list(entries(storage, TOPIC, 0))
    assert [(each.file, each.sha256, each.records) for each in after] == [
        (each.file, each.sha256, each.records) for each in before
    ]
    name = data_name(files(storage)[0])
    assert name is not None
    longer = name._replace(last=name.last + 1)
    storage.put(longer.path, storage.read(name.path))
    assert kinds(storage) == [("not_in_manifest", longer.first, longer.last)]
    assert "left alone" in next(iter(mend(storage)))


def test_an_entry_that_is_garbage(storage: Storage) -> None:
    filled(storage)
    path = next(each.path for each in entries(storage, TOPIC, 0))
    storage.put(path, b"{")
    assert [kind for kind, _, _ in kinds(storage)] == ["damaged", "missing", "not_in_manifest"]
    with pytest.raises(Damaged, match="not an entry of the manifest"):
        held(storage)


def test_compared_with_the_log(storage: Storage) -> None:
    """What the log dropped before it was archived lacks; an archive that goes past it is another log's."""
    records = filled(storage)
    end = records[-1].offset + 1
    report = check(storage, {(TOPIC, 0): LogBounds(0, end + 7)})
    assert report.ok
    assert report.partitions[0].waiting == 7
    trimmed = check(storage, {(TOPIC, 0): LogBounds(end + 3, end + 7)})
    assert [(each.kind, each.first, each.last) for each in trimmed.findings] == [("missing", end, end + 2)]
    other = check(storage, {(TOPIC, 0): LogBounds(0, 5)})
    assert [each.kind for each in other.findings] == ["another_log"]


def test_what_was_lost_is_said(storage: Storage) -> None:
    """At the beginning it is where the archive begins; later on, offsets that lack."""
    records = some_records(20, first=100, holes=False)
    writer = chain(storage)
    writer.note_lost(0, 99)
    writer.append(records, 100)
    assert held(storage) == records
    assert kinds(storage) == []
    writer.note_lost(120, 129)
    writer.append(some_records(5, first=130), 130)
    assert kinds(storage) == [("missing", 120, 129)]
    with pytest.raises(Missing, match="the log had dropped them"):
        held(storage)
    assert Archive(storage, lambda name: f"p.{name}").bounds(NAME, 0).first == 100


def test_a_storage_that_is_full(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is archived, and nothing lost: with room again the same goes in."""
    records, writer = some_records(10), chain(storage)

    def full(path: str, data: bytes) -> None:
        raise Unavailable("archive", f"no room for {len(data)} bytes of {path}")

    with monkeypatch.context() as patched:
        patched.setattr(storage, "put", full)
        with pytest.raises(Unavailable):
            writer.append(records, 0)
    writer.append(records, 0)
    assert held(storage) == records
