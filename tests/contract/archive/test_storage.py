"""The storage port: names that one process alone gets, files that are whole or not there."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from backbone.archive import NotStored, Storage
from backbone.archive.folder import FolderStorage
from backbone.archive.objects import ObjectStorage, open_bucket
from backbone.archive.settings import ArchiveSettings
from backbone.errors import SetupError, Unavailable


def test_what_was_put_is_read(storage: Storage) -> None:
    """Put twice, the second stays; what is not there is said not to be."""
    storage.put("a/b/c", b"1")
    storage.put("a/b/c", b"2")
    assert storage.read("a/b/c") == b"2"
    with pytest.raises(NotStored):
        storage.read("a/b/d")


def test_one_of_many_creates(storage: Storage) -> None:
    """Of sixteen that create one name at a time, one succeeds, and what it wrote is there."""

    def create(number: int) -> int | None:
        return number if storage.create("m/1.json", str(number).encode()) else None

    with ThreadPoolExecutor(8) as threads:
        created = [each for each in threads.map(create, range(16)) if each is not None]
    assert [str(each).encode() for each in created] == [storage.read("m/1.json")]
    assert storage.list("m") == ["m/1.json"]


def test_lists_are_in_order_and_of_one_folder(storage: Storage) -> None:
    """A folder whose name only begins alike is another one."""
    for path in ("m/t/10", "m/t/2", "m/t2/1", "m/t/x/3", "n"):
        storage.put(path, b"")
    assert storage.list("m/t") == ["m/t/10", "m/t/2", "m/t/x/3"]
    assert storage.list("nowhere") == []
    assert storage.list("") == ["m/t/10", "m/t/2", "m/t/x/3", "m/t2/1", "n"]


def test_a_move_may_be_made_twice(storage: Storage) -> None:
    """By two that finish the same work; what neither has cannot be moved."""
    storage.put("pending", b"1")
    storage.move("pending", "t/d/file")
    storage.move("pending", "t/d/file")
    assert storage.read("t/d/file") == b"1"
    assert storage.list("") == ["t/d/file"]
    with pytest.raises(NotStored):
        storage.move("pending", "t/d/other")


def test_what_is_gone_may_be_removed(storage: Storage) -> None:
    storage.put("a", b"1")
    storage.remove("a")
    storage.remove("a")
    assert storage.list("") == []


def test_a_storage_that_overwrites_is_refused() -> None:
    """Without a condition on writes two archivers would both succeed: that is found out at the start."""

    class Overwrites(MemoryFileSystem):  # type: ignore[misc]
        cachable = False

        def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: object) -> None:
            del mode, more
            super().pipe_file(path, value)

    with pytest.raises(SetupError, match="overwrites what it is told to create"):
        ObjectStorage(Overwrites(), "/a", "s3://a").prepare()


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    """One line names the setting."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match=r"^MAEARI_ARCHIVE_URL: cannot write there"):
        FolderStorage(tmp_path / "file" / "archive").prepare()


def test_a_bucket_that_does_not_answer() -> None:
    """Neither one that is not there tells a secret."""
    settings = ArchiveSettings(
        url="s3://bucket/a", endpoint="http://127.0.0.1:9", access_key="key", secret_key="not-to-be-shown"
    )
    storage = open_bucket(settings)
    with pytest.raises(Unavailable) as caught:
        storage.read("a")
    assert caught.value.dependency == "archive"
    assert "not-to-be-shown" not in str(caught.value) + repr(settings)
    with pytest.raises(SetupError, match="MAEARI_ARCHIVE_URL"):
        storage.prepare()
