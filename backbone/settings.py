"""The settings: one frozen object, read once from the environment and `.env`, checked whole.

A wrong setting raises SettingsError with one line that names it. Nothing else reads the environment.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from backbone.archive.settings import ArchiveSettings, read_archive_settings
from backbone.environment import Environment
from backbone.environment import SettingsError as SettingsError  # noqa: PLC0414 - told on
from backbone.setting_values import (
    alias,
    between,
    database_url,
    eventlog_url,
    instance,
    jwks_url,
    one_of,
    origins,
    port,
    search_url,
    senders,
    signing_secrets,
    timezone,
    topic_prefix,
    webhook_url,
)

METRICS_PORTS: Mapping[str, int] = {"indexer": 9101, "notifier": 9102, "analytics": 9103, "archiver": 9104}


@dataclass(frozen=True)
class KafkaSecurity:
    """How the Kafka client identifies itself and trusts the brokers."""

    protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
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
class TokenSecurity:
    """How tokens are told from forgeries: by one shared secret (HS256), or by the public keys at a URL."""

    secret: str | None = field(default=None, repr=False)
    jwks_url: str | None = None
    issuer: str | None = None
    audience: str | None = None


@dataclass(frozen=True)
class WebhookReceiver:
    """Where webhooks go, and the keys that they are signed with: the first ones are the newest."""

    # Receivers of other makers put their secret into the path.
    url: str | None = field(default=None, repr=False)
    secrets: tuple[bytes, ...] = field(default=(), repr=False)


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
    token_security: TokenSecurity = TokenSecurity()
    allowed_origins: tuple[str, ...] = ()
    kafka_security: KafkaSecurity = KafkaSecurity()
    search_security: SearchSecurity = SearchSecurity()
    topic_prefix: str = "platform"
    search_alias: str = "messages"
    partitions: int = 3
    compression: str = "none"
    batch_max: int = 256
    outbox_max: int = 1_000_000
    write_rate: int = 50
    write_burst: int = 200
    timezone: str = "Asia/Seoul"
    log_format: str = "console"
    instance: str = "auto"
    senders: tuple[str, ...] = ()
    webhook: WebhookReceiver = WebhookReceiver()
    archive: ArchiveSettings = field(default_factory=ArchiveSettings)


def read_settings(variables: Mapping[str, str], dotenv: Path | None = Path(".env")) -> Settings:
    """Read and check the settings. The environment wins over `.env`. Raises SettingsError."""
    env = Environment({**_not_overridden(_dotenv(dotenv), variables), **variables})
    data = Path(env.text("DATA") or "maeari-data")
    ways_out: tuple[str, ...] = env.parsed("SENDERS", senders, ())
    settings = Settings(
        data=data,
        database_url=env.parsed("DATABASE_URL", database_url, _sqlite_url(data / "database.sqlite3")),
        eventlog_url=env.parsed("EVENTLOG_URL", eventlog_url, f"embedded:{data / 'eventlog.sqlite3'}"),
        search_url=env.parsed("SEARCH_URL", search_url, f"embedded:{data / 'search.sqlite3'}"),
        host=env.text("HOST") or "127.0.0.1",
        port=env.parsed("PORT", port, 8000),
        websocket_port=env.parsed("WEBSOCKET_PORT", port, 8001),
        metrics_ports={
            process: env.parsed("METRICS_PORT", port, usual) for process, usual in METRICS_PORTS.items()
        },
        auth=env.parsed("AUTH", one_of("off", "jwt"), "off"),
        token_security=_token_security(env),
        allowed_origins=env.parsed("ALLOWED_ORIGINS", origins, ()),
        kafka_security=_kafka_security(env),
        search_security=_search_security(env),
        topic_prefix=env.parsed("TOPIC_PREFIX", topic_prefix, "platform"),
        search_alias=env.parsed("SEARCH_ALIAS", alias, "messages"),
        partitions=env.parsed("PARTITIONS", between(1, 10_000), 3),
        compression=env.parsed("COMPRESSION", one_of("none", "gzip", "lz4", "zstd"), "none"),
        batch_max=env.parsed("BATCH_MAX", between(1, 10_000), 256),
        outbox_max=env.parsed("OUTBOX_MAX", between(1, 2**62), 1_000_000),
        write_rate=env.parsed("WRITE_RATE", between(1, 1_000_000), 50),
        write_burst=env.parsed("WRITE_BURST", between(1, 1_000_000), 200),
        timezone=env.parsed("TIMEZONE", timezone, "Asia/Seoul"),
        log_format=env.parsed("LOG_FORMAT", one_of("console", "json"), "console"),
        instance=env.parsed("INSTANCE", instance, "auto"),
        senders=ways_out,
        webhook=_webhook(env, needed="webhook" in ways_out),
        archive=read_archive_settings(env, data),
    )
    _check_auth(settings)
    return settings


def _check_auth(settings: Settings) -> None:
    if settings.auth == "off":
        if not is_loopback(settings.host):
            raise SettingsError(
                f"MAEARI_HOST: {settings.host!r} is not a loopback address; MAEARI_AUTH=off allows no other"
            )
        return
    secret, url = settings.token_security.secret, settings.token_security.jwks_url
    if secret is None and url is None:
        raise SettingsError("MAEARI_AUTH: jwt needs MAEARI_JWT_SECRET or MAEARI_JWKS_URL")
    if secret is not None and url is not None:
        raise SettingsError("MAEARI_JWT_SECRET: set it or MAEARI_JWKS_URL, not both")


def _webhook(env: Environment, needed: bool) -> WebhookReceiver:
    url = env.parsed("WEBHOOK_URL", webhook_url, None)
    secrets: tuple[bytes, ...] = env.parsed("WEBHOOK_SECRET", signing_secrets, ())
    if needed and (url is None or not secrets):
        missing = "SECRET" if url else "URL"
        raise SettingsError(f"MAEARI_WEBHOOK_{missing}: MAEARI_SENDERS names webhook, which needs it")
    return WebhookReceiver(url, secrets)


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
        with path.open(encoding="utf-8") as file:
            wrong = next((line.original for line in parse_stream(file) if line.error), None)
        if wrong is not None:
            raise SettingsError(f"{path}: line {wrong.line} is not NAME=value")
        values = dotenv_values(path)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f".env: cannot read {path}: {error}") from error
    bare = next(
        (name for name, value in values.items() if value is None and name.startswith("MAEARI_")), None
    )
    if bare is not None:
        raise SettingsError(f"{path}: {bare} has no value: write {bare}=value")
    return {name: value for name, value in values.items() if value is not None}


def _not_overridden(dotenv: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """Leave out what the environment sets in the other form: `NAME` against `NAME_FILE`."""
    return {
        name: value
        for name, value in dotenv.items()
        if not variables.get(f"{name}_FILE") and not variables.get(name.removesuffix("_FILE"))
    }


def _sqlite_url(path: Path) -> str:
    if "?" in str(path):
        raise SettingsError(f"MAEARI_DATA: {str(path.parent)!r} has a '?', which no URL can hold")
    return f"sqlite+aiosqlite:///{path}"


def _kafka_security(env: Environment) -> KafkaSecurity:
    protocols = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
    mechanisms = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
    security = KafkaSecurity(
        protocol=env.parsed("KAFKA_SECURITY_PROTOCOL", one_of(*protocols), "PLAINTEXT"),
        sasl_mechanism=env.parsed("KAFKA_SASL_MECHANISM", one_of(*mechanisms), "PLAIN"),
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


def _token_security(env: Environment) -> TokenSecurity:
    return TokenSecurity(
        secret=env.text("JWT_SECRET"),
        jwks_url=env.parsed("JWKS_URL", jwks_url, None),
        issuer=env.text("JWT_ISSUER"),
        audience=env.text("JWT_AUDIENCE"),
    )


def _file(env: Environment, name: str) -> Path | None:
    text = env.text(name)
    if text is None:
        return None
    path = Path(text)
    if not path.is_file():
        raise SettingsError(f"MAEARI_{name}: {path} is not a file")
    return path
