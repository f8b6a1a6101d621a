"""An archive in a bucket, or whatever else fsspec reaches: files are put whole, and copied into their place.

A name that nobody may have yet is asked for with a condition (`If-None-Match: *` on S3); a storage that
does not know it is found out at the start, for it would let two writers archive the same records.
"""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from aiohttp import ClientError
from fsspec import AbstractFileSystem

from backbone.archive import DEPENDENCY, NotStored
from backbone.archive.settings import ArchiveSettings
from backbone.errors import SetupError, Unavailable

ANSWER_WITHIN_S = 30
CONNECTED_WITHIN_S = 5


class ObjectStorage:
    """See Storage."""

    def __init__(self, filesystem: AbstractFileSystem, root: str, url: str) -> None:
        """`root` is the bucket and what comes before all paths in it."""
        self._files = filesystem
        self._root = root.rstrip("/")
        self._url = url

    @property
    def url(self) -> str:
        """See Storage."""
        return self._url

    def prepare(self) -> None:
        """See Storage."""
        probe = f"_probe-{uuid.uuid4().hex}"
        try:
            try:
                fits = self.create(probe, b"1") and not self.create(probe, b"2")
            finally:
                self.remove(probe)
        except (Unavailable, NotStored) as error:
            raise SetupError(f"MAEARI_ARCHIVE_URL: cannot write there: {error}") from error
        if not fits:
            raise SetupError(
                f"MAEARI_ARCHIVE_URL: the storage at {self._url} overwrites what it is told to create only "
                "(If-None-Match on PUT): two archivers would write the same records twice"
            )

    def list(self, folder: str) -> Sequence[str]:
        """See Storage."""
        with _answering():
            found = self._files.find(f"{self._root}/{folder}".rstrip("/"))
            # Where there are no folders, what only begins like one is not in it.
            paths = [self._relative(path) for path in found]
            return sorted(path for path in paths if not folder or path.startswith(f"{folder}/"))

    def read(self, path: str) -> bytes:
        """See Storage."""
        with _answering(path):
            return bytes(self._files.cat_file(self._full(path)))

    def put(self, path: str, data: bytes) -> None:
        """See Storage."""
        with _answering():
            self._files.pipe_file(self._full(path), data)

    def create(self, path: str, data: bytes) -> bool:
        """See Storage."""
        with _answering():
            try:
                self._files.pipe_file(self._full(path), data, mode="create")
            except FileExistsError:
                return False
            return True

    def move(self, source: str, target: str) -> None:
        """See Storage; what is copied twice, by two, is the same."""
        with _answering(target):
            try:
                self._files.cp_file(self._full(source), self._full(target))
            except FileNotFoundError:
                self._files.info(self._full(target))
        self.remove(source)

    def remove(self, path: str) -> None:
        """See Storage."""
        with _answering(), suppress(FileNotFoundError):
            self._files.rm_file(self._full(path))

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _relative(self, path: str) -> str:
        return path.lstrip("/").removeprefix(f"{self._root.lstrip('/')}/")


def open_bucket(settings: ArchiveSettings) -> ObjectStorage:
    """Return the archive in a bucket of S3, or of a storage that speaks like it. Raises SetupError."""
    try:
        from s3fs import S3FileSystem  # noqa: PLC0415 - an extra, that only buckets need
    except ImportError as error:
        raise SetupError(
            "MAEARI_ARCHIVE_URL: s3:// needs a library: run `pip install 'maeari[s3]'`"
        ) from error
    client: dict[str, Any] = {"region_name": settings.region} if settings.region else {}
    filesystem = S3FileSystem(
        key=settings.access_key,
        secret=settings.secret_key,
        endpoint_url=settings.endpoint,
        client_kwargs=client,
        config_kwargs={
            "connect_timeout": CONNECTED_WITHIN_S,
            "read_timeout": ANSWER_WITHIN_S,
            "retries": {"max_attempts": 2},
        },
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    filesystem.retries = 2
    return ObjectStorage(filesystem, settings.url.removeprefix("s3://"), settings.url)


@contextmanager
def _answering(path: str | None = None) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if path is not None:
            raise NotStored(path) from error
        raise Unavailable(DEPENDENCY, _line(error)) from error
    except (OSError, ClientError) as error:
        raise Unavailable(DEPENDENCY, _line(error)) from error
    except Exception as error:
        # botocore's errors are known by their module: it is there with the extra only.
        if not type(error).__module__.startswith(("botocore.", "aiobotocore.", "fsspec.", "s3fs.")):
            raise
        raise Unavailable(DEPENDENCY, _line(error)) from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
