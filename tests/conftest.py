"""Where the tests run: on files of their own, and on the real servers, never on fewer.

`make test` starts the servers and passes their settings; a server that is missing is a failure.
Each test gets its own topic prefix, alias and database, so that tests never meet.
"""

import os
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from backbone.settings import Settings, read_settings

ADAPTERS = ("embedded", "real")
_STACK_VARIABLES = ("MAEARI_DATABASE_URL", "MAEARI_EVENTLOG_URL", "MAEARI_SEARCH_URL")


@pytest.fixture(scope="session")
def stack() -> Settings:
    """The settings of the real servers; fails where they are not given."""
    missing = [name for name in _STACK_VARIABLES if not os.environ.get(name)]
    if missing:
        pytest.fail(f"{', '.join(missing)} not set: run `make test`, or `export $(make -s stack-up)` first")
    return read_settings({name: os.environ[name] for name in _STACK_VARIABLES}, dotenv=None)


@pytest.fixture
def embedded_settings(tmp_path: Path) -> Settings:
    """Settings for three files in a folder of the test's own."""
    return read_settings({"MAEARI_DATA": str(tmp_path / "data")}, dotenv=None)


@pytest.fixture
def unique() -> str:
    """A short name that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def real_settings(stack: Settings, tmp_path: Path, unique: str) -> Settings:
    """Settings for the real servers, under names of the test's own (the database still is the shared one)."""
    return replace(
        stack, data=tmp_path / "data", topic_prefix=f"{unique}.platform", search_alias=f"{unique}-messages"
    )
