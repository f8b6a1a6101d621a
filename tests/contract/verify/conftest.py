"""Platforms to verify, on the files and on the servers."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backbone.settings import Settings
from tests.conftest import ADAPTERS
from tests.support.verifying import Stage, staged, with_a_past


@pytest.fixture(params=ADAPTERS)
async def empty(request: pytest.FixtureRequest, unique: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """A platform on which nothing has happened."""
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with staged(settings, unique, tmp_path / "archive", seed=8) as stage:
        yield stage


@pytest.fixture
async def stage(empty: Stage) -> Stage:
    """A platform whose stores all hold the same."""
    await with_a_past(empty)
    return empty
