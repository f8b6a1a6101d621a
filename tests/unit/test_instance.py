"""Names of processes: kept over restarts, and never two at the same time."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from backbone.instance import instance_name
from backbone.settings import Settings

ON_KAFKA = replace(Settings(), eventlog_url="kafka://127.0.0.1:9092")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_equal_processes_have_names_of_their_own() -> None:
    """The first name that is free is taken, so that whoever is alone always has the same."""
    with instance_name(ON_KAFKA, "indexer") as first, instance_name(ON_KAFKA, "indexer") as second:
        assert first is not None
        assert second is not None
        assert first != second
        with instance_name(ON_KAFKA, "notifier") as other:
            assert other not in (None, first, second)
    with instance_name(ON_KAFKA, "indexer") as again:
        assert again == first


def test_one_log_under_two_addresses() -> None:
    """Processes that come to one log by different addresses do not get one name."""
    elsewhere = replace(ON_KAFKA, eventlog_url="kafka://localhost:9092,127.0.0.1:9093")
    with instance_name(ON_KAFKA, "indexer") as first, instance_name(elsewhere, "indexer") as second:
        assert first != second


def test_a_chosen_name_is_held_once() -> None:
    """A setting that was copied leaves the second process without a name, which is no harm."""
    named = replace(ON_KAFKA, instance="pod-0")
    with instance_name(named, "indexer") as first, instance_name(named, "indexer") as second:
        assert (first, second) == ("pod-0-indexer", None)


@pytest.mark.parametrize("settings", [replace(ON_KAFKA, instance="none"), Settings()])
def test_without_a_name(settings: Settings) -> None:
    """There is none where none is wanted, nor on files, where members are known at once."""
    with instance_name(settings, "indexer") as name:
        assert name is None


def test_a_folder_that_cannot_be_written_costs_the_name_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process runs without."""
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr(tempfile, "tempdir", str(file))
    with instance_name(ON_KAFKA, "indexer") as name:
        assert name is None
