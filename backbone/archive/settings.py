"""Where the archive is, how it is reached, and how large and old its files become."""

from dataclasses import dataclass, field
from pathlib import Path

from backbone.environment import Environment, SettingsError
from backbone.setting_values import archive_url, between, endpoint


@dataclass(frozen=True)
class ArchiveSettings:
    """`url` is file://FOLDER or s3://BUCKET/PREFIX; without keys the usual ones of AWS are looked for.

    A file is closed once its records have `max_bytes`, before compression; no record waits longer than
    `max_age_s` seconds for its file. `chosen` says that somebody set the URL.
    """

    url: str = "file://maeari-data/archive"
    chosen: bool = False
    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    max_bytes: int = 32 * 1024 * 1024
    max_age_s: int = 300


def read_archive_settings(env: Environment, data: Path) -> ArchiveSettings:
    """Read the settings of the archive: in the data folder unless said otherwise. Raises SettingsError."""
    chosen: str | None = env.parsed("ARCHIVE_URL", archive_url, None)
    settings = ArchiveSettings(
        url=chosen or f"file://{data / 'archive'}",
        chosen=chosen is not None,
        endpoint=env.parsed("ARCHIVE_ENDPOINT", endpoint, None),
        region=env.text("ARCHIVE_REGION"),
        access_key=env.text("ARCHIVE_ACCESS_KEY"),
        secret_key=env.text("ARCHIVE_SECRET_KEY"),
        max_bytes=env.parsed("ARCHIVE_MAX_BYTES", between(1, 256 * 1024 * 1024), ArchiveSettings.max_bytes),
        max_age_s=env.parsed("ARCHIVE_MAX_AGE", between(1, 86_400), ArchiveSettings.max_age_s),
    )
    if (settings.access_key is None) != (settings.secret_key is None):
        missing = "SECRET_KEY" if settings.access_key else "ACCESS_KEY"
        raise SettingsError(f"MAEARI_ARCHIVE_{missing}: an access key and a secret key go together")
    return settings
