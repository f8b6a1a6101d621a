"""The settings of the archive, which keep their secrets."""

from pathlib import Path

import pytest

from backbone.archive.folder import FolderStorage
from backbone.archive.settings import ArchiveSettings
from backbone.environment import SettingsError
from backbone.settings import Settings, read_settings
from backbone.wiring import open_archive


def read(**variables: str) -> Settings:
    return read_settings({f"MAEARI_{name}": value for name, value in variables.items()}, dotenv=None)


def test_nothing_set_means_the_data_folder(tmp_path: Path) -> None:
    assert read().archive == ArchiveSettings()
    settings = read(DATA=str(tmp_path / "자료")).archive
    assert not settings.chosen
    storage = open_archive(settings)
    assert isinstance(storage, FolderStorage)
    assert storage.url == f"file://{tmp_path}/자료/archive"


def test_every_setting_reaches_its_field() -> None:
    settings = read(
        ARCHIVE_URL="s3://bucket/a/b/",
        ARCHIVE_ENDPOINT="http://storage:9000",
        ARCHIVE_REGION="eu-central-1",
        ARCHIVE_ACCESS_KEY="key",
        ARCHIVE_SECRET_KEY="not-to-be-shown",
        ARCHIVE_MAX_BYTES="1000",
        ARCHIVE_MAX_AGE="7",
    )
    assert settings.archive == ArchiveSettings(
        url="s3://bucket/a/b",
        chosen=True,
        endpoint="http://storage:9000",
        region="eu-central-1",
        access_key="key",
        secret_key="not-to-be-shown",
        max_bytes=1000,
        max_age_s=7,
    )
    assert "not-to-be-shown" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ARCHIVE_URL", "s3://Bucket"),
        ("ARCHIVE_URL", "file://relative"),
        ("ARCHIVE_URL", "gs://bucket"),
        ("ARCHIVE_URL", "s3://key:not-to-be-shown@bucket"),
        ("ARCHIVE_ENDPOINT", "storage:9000"),
        ("ARCHIVE_ENDPOINT", "http://key:not-to-be-shown@storage"),
        ("ARCHIVE_MAX_BYTES", "0"),
        ("ARCHIVE_ACCESS_KEY", "key"),
        ("ARCHIVE_SECRET_KEY", "not-to-be-shown"),
    ],
)
def test_a_wrong_one_is_named(name: str, value: str) -> None:
    """In one line, without a secret."""
    with pytest.raises(SettingsError, match=r"^MAEARI_ARCHIVE_[A-Z_]+: ") as caught:
        read(**{name: value})
    assert "not-to-be-shown" not in str(caught.value)
