"""The storages that the suites of the archive run on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backbone.archive import Storage
from tests.support.archive import STORAGES, bucket_server, storage_of


@pytest.fixture(scope="session")
def bucket_endpoint() -> Iterator[str]:
    """The address of a server that speaks like S3."""
    with bucket_server() as endpoint:
        yield endpoint


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest, tmp_path: Path, bucket_endpoint: str) -> Storage:
    """An empty storage, ready."""
    storage = storage_of(request.param, tmp_path, bucket_endpoint)
    storage.prepare()
    return storage
