"""The settings: one frozen object, read once from the environment and `.env`, checked whole.

A wrong setting raises SettingsError with one line that names it. Nothing else reads the environment.
"""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from dotenv import dotenv_values

from backbone.errors import SetupError

T = TypeVar("T")

METRICS_PORTS: Mapping[str, int] = {"indexer": 9101, "notifier": 9102, "analytics": 9103, "archiver": 9104}


class SettingsError(SetupError):
    """A setting is wrong; the text names it and says what it may be."""


@dataclass(frozen=True)
class KafkaSecurity:
    """How the Kafka client identifies itself and trusts the brokers."""

    protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None


@dataclass(frozen=True)
class SearchSecurity:
    """How the Elasticsearch client identifies itself and trusts the server."""

    api_key: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None


@dataclass(frozen=True)
class Settings:
    """Every setting of every process; the field names are the variables' without `MAEARI_`."""

    data: Path = Path("maeari-data")
    database_url: str = "sqlite+aiosqlite:///maeari-data/database.sqlite3"
    eventlog_url: str = "embedded:maeari-data/eventlog.sqlite3"
    search_url: str = "embedded:maeari-data/search.sqlite3"
    host: str = "127.0.0.1"
    port: int = 8000
    websocket_port: int = 8001
    metrics_ports: Mapping[str, int] = field(default_factory=lambda: dict(METRICS_PORTS))
    auth: str = "off"
    allowed_origins: tuple[str, ...] = ()
    kafka_security: KafkaSecurity = KafkaSecurity()
    search_security: SearchSecurity = SearchSecurity()
    topic_prefix: str = "platform"
    search_alias: str = "messages"
    partitions: int = 3
    compression: str = "none"
    outbox_max: int = 1_000_000
    timezone: str = "Asia/Seoul"
    log_format: str = "console"

    @property
    def embedded(self) -> bool:
        """Whether all three stores are files of this machine."""
        return (
            self.database_url.startswith("sqlite")
            and self.eventlog_url.startswith("embedded:")
            and self.search_url.startswith("embedded:")
        )


class Environment:
    """Looks settings up by name, without the prefix; `NAME_FILE` names a file that holds the value."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str) -> str | None:
        """Return the value, None when it is not set or empty."""
        value = self._variables.get(f"MAEARI_{name}")
        if value:
            return value
        file = self._variables.get(f"MAEARI_{name}_FILE")
        if not file:
            return None
        try:
            return Path(file).read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise SettingsError(f"MAEARI_{name}_FILE: cannot read {file}: {reason}") from error

    def parsed(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """Return the parsed value; what `parse` raises as ValueError becomes the one line."""
        value = self.text(name)
        if value is None:
            return default
        try:
            return parse(value)
        except ValueError as error:
            raise SettingsError(f"MAEARI_{name}: {error}") from error


def read_settings(variables: Mapping[str, str], dotenv: Path | None = Path(".env")) -> Settings:
    """Read and check the settings. The environment wins over `.env`. Raises SettingsError."""
    merged = {**_dotenv(dotenv), **variables}
    env = Environment(merged)
    data = Path(env.text("DATA") or "maeari-data")
    settings = Settings(
        data=data,
        database_url=env.parsed("DATABASE_URL", _database_url, _sqlite_url(data / "database.sqlite3")),
        eventlog_url=env.parsed("EVENTLOG_URL", _eventlog_url, f"embedded:{data / 'eventlog.sqlite3'}"),
        search_url=env.parsed("SEARCH_URL", _search_url, f"embedded:{data / 'search.sqlite3'}"),
        host=env.text("HOST") or "127.0.0.1",
        port=env.parsed("PORT", _port, 8000),
        websocket_port=env.parsed("WEBSOCKET_PORT", _port, 8001),
        metrics_ports={
            process: env.parsed("METRICS_PORT", _port, port) for process, port in METRICS_PORTS.items()
        },
        auth=env.parsed("AUTH", _auth, "off"),
        allowed_origins=tuple(filter(None, (env.text("ALLOWED_ORIGINS") or "").replace(",", " ").split())),
        kafka_security=_kafka_security(env),
        search_security=_search_security(env),
        topic_prefix=env.parsed("TOPIC_PREFIX", _topic_prefix, "platform"),
        search_alias=env.parsed("SEARCH_ALIAS", _alias, "messages"),
        partitions=env.parsed("PARTITIONS", _between(1, 10_000), 3),
        compression=env.parsed("COMPRESSION", _one_of("none", "gzip", "lz4", "zstd"), "none"),
        outbox_max=env.parsed("OUTBOX_MAX", _between(1, 2**62), 1_000_000),
        timezone=env.parsed("TIMEZONE", _timezone, "Asia/Seoul"),
        log_format=env.parsed("LOG_FORMAT", _one_of("console", "json"), "console"),
    )
    if settings.auth == "off" and not is_loopback(settings.host):
        raise SettingsError(
            f"MAEARI_HOST: {settings.host} is not a loopback address; MAEARI_AUTH=off allows no other"
        )
    return settings


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _dotenv(path: Path | None) -> dict[str, str]:
    if path is None or not path.is_file():
        return {}
    try:
        return {name: value for name, value in dotenv_values(path).items() if value is not None}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f".env: cannot read {path}: {error}") from error


def _sqlite_url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


def _database_url(value: str) -> str:
    for scheme in ("sqlite+aiosqlite:///", "postgresql+asyncpg://"):
        if value.startswith(scheme) and len(value) > len(scheme):
            if scheme.startswith("postgresql"):
                _host_and_port(value)
            return value
    raise ValueError(f"{value!r} is not sqlite+aiosqlite:///FILE or postgresql+asyncpg://USER@HOST:PORT/NAME")


def _eventlog_url(value: str) -> str:
    if value.startswith("embedded:") and len(value) > len("embedded:"):
        return value
    if value.startswith("kafka://") and len(value) > len("kafka://"):
        for server in value.removeprefix("kafka://").split(","):
            _host_and_port(f"kafka://{server}")
        return value
    raise ValueError(f"{value!r} is not embedded:FILE or kafka://HOST:PORT,…")


def _search_url(value: str) -> str:
    if value.startswith("embedded:") and len(value) > len("embedded:"):
        return value
    if value.startswith(("http://", "https://")):
        _host_and_port(value)
        return value
    raise ValueError(f"{value!r} is not embedded:FILE, http://HOST:PORT or https://HOST:PORT")


def _host_and_port(url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is not a URL: {error}") from error
    if not parts.hostname:
        raise ValueError(f"{url!r} names no host")
    if port == 0:
        raise ValueError(f"{url!r} has the port 0")


def _port(value: str) -> int:
    return _between(1, 65_535)(value)


def _between(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a whole number") from None
        if not lowest <= number <= highest:
            raise ValueError(f"{number} is not between {lowest} and {highest}")
        return number

    return parse


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is not one of {', '.join(choices)}")
        return value

    return parse


def _auth(value: str) -> str:
    if value == "jwt":
        raise ValueError("'jwt' is not supported by this version yet; use 'off' on a loopback address")
    return _one_of("off")(value)


def _topic_prefix(value: str) -> str:
    if (
        not value.isascii()
        or not value.replace(".", "").replace("-", "").replace("_", "").isalnum()
        or len(value) > 200
    ):
        raise ValueError(f"{value!r} is not made of ASCII letters, digits, '.', '-' and '_'")
    return value


def _alias(value: str) -> str:
    plain = value.replace("-", "").replace("_", "").replace(".", "")
    if (
        not value.isascii()
        or not plain.isalnum()
        or value != value.lower()
        or not value[0].isalnum()
        or len(value) > 200
    ):
        raise ValueError(f"{value!r} is not made of lower-case ASCII letters, digits, '.', '-' and '_'")
    return value


def _timezone(value: str) -> str:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415

    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{value!r} is not a time zone such as Asia/Seoul") from None
    return value


def _kafka_security(env: Environment) -> KafkaSecurity:
    protocols = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
    mechanisms = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
    security = KafkaSecurity(
        protocol=env.parsed("KAFKA_SECURITY_PROTOCOL", _one_of(*protocols), "PLAINTEXT"),
        sasl_mechanism=env.parsed("KAFKA_SASL_MECHANISM", _one_of(*mechanisms), "PLAIN"),
        username=env.text("KAFKA_USERNAME"),
        password=env.text("KAFKA_PASSWORD"),
        ca_file=_file(env, "KAFKA_CA_FILE"),
    )
    if security.protocol.startswith("SASL") and not (security.username and security.password):
        raise SettingsError(
            f"MAEARI_KAFKA_USERNAME: the protocol {security.protocol} needs it, and MAEARI_KAFKA_PASSWORD"
        )
    return security


def _search_security(env: Environment) -> SearchSecurity:
    security = SearchSecurity(
        api_key=env.text("SEARCH_API_KEY"),
        username=env.text("SEARCH_USERNAME"),
        password=env.text("SEARCH_PASSWORD"),
        ca_file=_file(env, "SEARCH_CA_FILE"),
    )
    if security.api_key and security.username:
        raise SettingsError("MAEARI_SEARCH_API_KEY: set it or MAEARI_SEARCH_USERNAME, not both")
    return security


def _file(env: Environment, name: str) -> Path | None:
    text = env.text(name)
    if text is None:
        return None
    path = Path(text)
    if not path.is_file():
        raise SettingsError(f"MAEARI_{name}: {path} is not a file")
    return path
