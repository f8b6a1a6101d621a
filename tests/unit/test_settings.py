"""Settings: read once, checked whole; a wrong one is named in one line."""

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest

from backbone.errors import SetupError
from backbone.settings import Settings, SettingsError, TokenSecurity, is_loopback, read_settings


def read(**variables: str) -> Settings:
    return read_settings({f"MAEARI_{name}": value for name, value in variables.items()}, dotenv=None)


class TestDefaults:
    def test_nothing_set_means_files_below_one_folder(self) -> None:
        settings = read()
        assert settings.database_url == "sqlite+aiosqlite:///maeari-data/database.sqlite3"
        assert settings.eventlog_url == "embedded:maeari-data/eventlog.sqlite3"
        assert settings.search_url == "embedded:maeari-data/search.sqlite3"
        assert (settings.host, settings.port, settings.websocket_port) == ("127.0.0.1", 8000, 8001)
        assert settings.metrics_ports == {
            "indexer": 9101,
            "notifier": 9102,
            "analytics": 9103,
            "archiver": 9104,
        }
        assert (settings.topic_prefix, settings.search_alias) == ("platform", "messages")
        assert (settings.partitions, settings.compression, settings.auth) == (3, "none", "off")
        assert (settings.outbox_max, settings.timezone) == (1_000_000, "Asia/Seoul")
        assert (settings.write_rate, settings.write_burst) == (50, 200)

    def test_the_object_s_own_defaults_are_the_same(self) -> None:
        assert read() == Settings()

    def test_an_empty_value_counts_as_not_set(self) -> None:
        assert read(PORT="", SEARCH_URL="", AUTH="") == Settings()

    def test_the_folder_moves_all_three_files(self, tmp_path: Path) -> None:
        settings = read(DATA=str(tmp_path / "자료"))
        assert settings.database_url == f"sqlite+aiosqlite:///{tmp_path}/자료/database.sqlite3"
        assert settings.eventlog_url == f"embedded:{tmp_path}/자료/eventlog.sqlite3"
        assert settings.search_url == f"embedded:{tmp_path}/자료/search.sqlite3"

    def test_one_server_leaves_the_others_embedded(self) -> None:
        settings = read(EVENTLOG_URL="kafka://a:9092,b:9092")
        assert settings.search_url.startswith("embedded:")


def test_every_setting_reaches_its_field(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("certificate", encoding="utf-8")
    settings = read(
        DATABASE_URL="postgresql+asyncpg://u:p@[::1]:5432/n",
        EVENTLOG_URL="kafka://[::1]:9092",
        SEARCH_URL="https://search.example",
        HOST="::1",
        PORT="1",
        WEBSOCKET_PORT="65535",
        METRICS_PORT="9999",
        ALLOWED_ORIGINS="https://a.example, https://b.example",
        KAFKA_SECURITY_PROTOCOL="SASL_SSL",
        KAFKA_SASL_MECHANISM="SCRAM-SHA-512",
        KAFKA_USERNAME="k",
        KAFKA_PASSWORD="secret-of-kafka",
        KAFKA_CA_FILE=str(ca_file),
        SEARCH_USERNAME="s",
        SEARCH_PASSWORD="secret-of-search",
        SEARCH_CA_FILE=str(ca_file),
        TOPIC_PREFIX="team-1.platform",
        SEARCH_ALIAS="team-1-messages",
        PARTITIONS="12",
        COMPRESSION="lz4",
        OUTBOX_MAX="10",
        WRITE_RATE="1",
        WRITE_BURST="1000000",
        TIMEZONE="UTC",
        LOG_FORMAT="json",
        SENDERS="webhook, console",
        WEBHOOK_URL="https://hooks.example/secret-of-the-receiver",
        WEBHOOK_SECRET=f"whsec_{base64.b64encode(b'secret' * 6).decode()}, {'A' * 32}",
    )
    assert (settings.host, settings.port, settings.websocket_port) == ("::1", 1, 65535)
    assert set(settings.metrics_ports.values()) == {9999}
    assert settings.allowed_origins == ("https://a.example", "https://b.example")
    assert settings.kafka_security.sasl_mechanism == "SCRAM-SHA-512"
    assert settings.kafka_security.ca_file == settings.search_security.ca_file == ca_file
    assert (settings.partitions, settings.compression, settings.outbox_max) == (12, "lz4", 10)
    assert (settings.write_rate, settings.write_burst) == (1, 1_000_000)
    assert settings.senders == ("webhook", "console")
    assert settings.webhook.secrets == (b"secret" * 6, bytes(24))
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://u@h/n"),
        ("DATABASE_URL", "sqlite+aiosqlite:///"),
        ("DATABASE_URL", "postgresql+asyncpg:///n"),
        ("DATABASE_URL", "postgresql+asyncpg://h:port/n"),
        ("DATABASE_URL", "postgresql+asyncpg://h:99999/n"),
        ("DATABASE_URL", "postgresql+asyncpg://[::1/n"),
        ("EVENTLOG_URL", "embedded:"),
        ("EVENTLOG_URL", "localhost:9092"),
        ("EVENTLOG_URL", "kafka://"),
        ("EVENTLOG_URL", "kafka://a:9092,"),
        ("EVENTLOG_URL", "kafka://a:0"),
        ("SEARCH_URL", "elastic:9200"),
        ("SEARCH_URL", "http://"),
        ("SEARCH_URL", "http://h:-1"),
        ("HOST", "0.0.0.0"),
        ("HOST", "somewhere\nelse"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "eighty"),
        ("PORT", "80.5"),
        ("PORT", "9" * 5000),
        ("WEBSOCKET_PORT", "-1"),
        ("METRICS_PORT", "x"),
        ("SENDERS", "console, pigeon"),
        ("WEBHOOK_URL", "hooks.example"),
        ("WEBHOOK_URL", "https://"),
        ("WEBHOOK_URL", "https://user:password@hooks.example"),
        ("WEBHOOK_URL", "https://hooks.example:99999"),
        ("WEBHOOK_SECRET", "not base64!"),
        ("WEBHOOK_SECRET", "c2hvcnQ="),
        ("AUTH", "on"),
        ("AUTH", "jwt"),
        ("JWKS_URL", "keys.example/jwks"),
        ("JWKS_URL", "file:///etc/passwd"),
        ("JWKS_URL", "https://"),
        ("JWKS_URL", "https://h:0/jwks"),
        ("JWKS_URL", "https://h/a b"),
        ("JWKS_URL", "https://u:p@h/jwks"),
        ("WRITE_RATE", "0"),
        ("WRITE_RATE", "1000001"),
        ("WRITE_BURST", "many"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS"),
        ("KAFKA_SASL_MECHANISM", "GSSAPI"),
        ("KAFKA_CA_FILE", "/nowhere/ca.pem"),
        ("SEARCH_CA_FILE", "/nowhere/ca.pem"),
        ("TOPIC_PREFIX", "plat form"),
        ("TOPIC_PREFIX", "플랫폼"),
        ("TOPIC_PREFIX", "."),
        ("TOPIC_PREFIX", "p" * 201),
        ("SEARCH_ALIAS", "Messages"),
        ("SEARCH_ALIAS", "_messages"),
        ("SEARCH_ALIAS", "메시지"),
        ("SEARCH_ALIAS", "a*"),
        ("PARTITIONS", "0"),
        ("COMPRESSION", "snappy"),
        ("BATCH_MAX", "1_0"),
        ("PORT", "١٨١٢٠"),
        ("ALLOWED_ORIGINS", "nonsense"),
        ("ALLOWED_ORIGINS", "http://a/path"),
        ("DATABASE_URL", "sqlite+aiosqlite:///:memory:"),
        ("DATABASE_URL", "sqlite+aiosqlite:///x.db?foo=bar"),
        ("DATABASE_URL", "postgresql+asyncpg://u@h/n?sslmode=require"),
        ("DATA", "what?"),
        ("OUTBOX_MAX", "0"),
        ("TIMEZONE", "Seoul"),
        ("TIMEZONE", "../../etc/passwd"),
        ("TIMEZONE", "Asia"),
        ("LOG_FORMAT", "xml"),
        ("INSTANCE", "two words"),
        ("INSTANCE", "i" * 201),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(**{name: value})
    assert str(caught.value).startswith(f"MAEARI_{name}: ")
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, SetupError)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, "MAEARI_KAFKA_USERNAME"),
        ({"SEARCH_API_KEY": "k", "SEARCH_USERNAME": "u"}, "MAEARI_SEARCH_API_KEY"),
        ({"AUTH": "off", "HOST": "10.1.2.3"}, "MAEARI_HOST"),
        ({"AUTH": "off", "HOST": "10.1.2.3", "JWT_SECRET": "s"}, "MAEARI_HOST"),
        ({"AUTH": "jwt", "JWT_ISSUER": "i", "JWT_AUDIENCE": "a"}, "MAEARI_AUTH"),
        ({"AUTH": "jwt", "JWT_SECRET": "s", "JWKS_URL": "https://h/jwks"}, "MAEARI_JWT_SECRET"),
    ],
)
def test_settings_that_do_not_go_together_are_named(variables: Mapping[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=f"^{named}: "):
        read(**variables)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://u:hunter2@h/n"),
        ("DATABASE_URL", "postgresql+asyncpg://u:hunter2@h:port/n"),
        ("DATABASE_URL", "postgresql+asyncpg://u:hunter2/@h:port/n"),
        ("SEARCH_URL", "https://u:hunter2@h:0"),
        ("EVENTLOG_URL", "amqp://u:hunter2@h"),
        ("JWKS_URL", "https://u:hunter2@h/jwks"),
        ("JWKS_URL", "ftp://u:hunter2@h/jwks"),
    ],
)
def test_a_wrong_url_is_shown_without_its_password(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(**{name: value})
    assert "hunter2" not in str(caught.value)


class TestTokens:
    def test_a_secret_serves_any_address_and_is_not_shown(self) -> None:
        settings = read(AUTH="jwt", JWT_SECRET="the-secret-of-tokens", HOST="0.0.0.0")
        assert (settings.auth, settings.host) == ("jwt", "0.0.0.0")
        assert settings.token_security == TokenSecurity(secret="the-secret-of-tokens")
        assert "the-secret" not in repr(settings)

    def test_a_secret_may_stand_in_a_file(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("in-a-file\n", encoding="utf-8")
        assert read(AUTH="jwt", JWT_SECRET_FILE=str(secret)).token_security.secret == "in-a-file"

    def test_keys_at_a_url(self) -> None:
        settings = read(AUTH="jwt", JWKS_URL="https://id.example/jwks", JWT_ISSUER="i", JWT_AUDIENCE="a")
        expected = TokenSecurity(jwks_url="https://id.example/jwks", issuer="i", audience="a")
        assert settings.token_security == expected

    def test_what_tokens_need_may_be_set_while_nobody_asks_for_them(self) -> None:
        settings = read(AUTH="off", JWT_SECRET="s", JWKS_URL="https://h/jwks")
        assert settings.auth == "off"


class TestFiles:
    def test_a_secret_is_read_from_a_file_without_its_last_newline(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("비밀\n", encoding="utf-8")
        assert read(SEARCH_PASSWORD_FILE=str(secret)).search_security.password == "비밀"

    def test_the_value_wins_over_the_file(self, tmp_path: Path) -> None:
        settings = read(SEARCH_PASSWORD="here", SEARCH_PASSWORD_FILE=str(tmp_path / "unread"))
        assert settings.search_security.password == "here"

    def test_any_setting_can_stand_in_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "url"
        file.write_text("kafka://a:9092", encoding="utf-8")
        assert read(EVENTLOG_URL_FILE=str(file)).eventlog_url == "kafka://a:9092"

    @pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
    def test_a_file_that_cannot_be_read_is_named(self, tmp_path: Path, content: bytes | None) -> None:
        file = tmp_path / "secret"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(SettingsError, match=r"^MAEARI_KAFKA_PASSWORD_FILE: cannot read .*secret"):
            read(KAFKA_PASSWORD_FILE=str(file))


class TestDotenv:
    def test_is_read_and_the_environment_wins(self, tmp_path: Path) -> None:
        dotenv = tmp_path / ".env"
        dotenv.write_text("MAEARI_PORT=8100\nMAEARI_WEBSOCKET_PORT=8101\nOTHER=x\n", encoding="utf-8")
        settings = read_settings({"MAEARI_PORT": "8200"}, dotenv=dotenv)
        assert (settings.port, settings.websocket_port) == (8200, 8101)

    def test_a_file_named_in_the_environment_wins_too(self, tmp_path: Path) -> None:
        dotenv, secret = tmp_path / ".env", tmp_path / "secret"
        dotenv.write_text("MAEARI_SEARCH_PASSWORD=old\n", encoding="utf-8")
        secret.write_text("new", encoding="utf-8")
        settings = read_settings({"MAEARI_SEARCH_PASSWORD_FILE": str(secret)}, dotenv=dotenv)
        assert settings.search_security.password == "new"

    def test_a_wrong_value_in_it_is_named_all_the_same(self, tmp_path: Path) -> None:
        dotenv = tmp_path / ".env"
        dotenv.write_text("MAEARI_PORT=http\n", encoding="utf-8")
        with pytest.raises(SettingsError, match=r"^MAEARI_PORT: 'http' is not a whole number"):
            read_settings({}, dotenv=dotenv)

    def test_none_there_is_no_error(self, tmp_path: Path) -> None:
        assert read_settings({}, dotenv=tmp_path / ".env") == Settings()

    def test_one_that_is_not_text_is_named(self, tmp_path: Path) -> None:
        dotenv = tmp_path / ".env"
        dotenv.write_bytes(b"MAEARI_PORT=\xff\xfe")
        with pytest.raises(SettingsError, match=r"^\.env: cannot read"):
            read_settings({}, dotenv=dotenv)


@pytest.mark.parametrize(
    ("host", "only_here"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.1", False),
        ("maeari.example", False),
        ("", False),
    ],
)
def test_loopback(host: str, only_here: bool) -> None:
    assert is_loopback(host) is only_here


@pytest.mark.parametrize(
    ("named", "variables"),
    [
        ("MAEARI_WEBHOOK_URL", {}),
        ("MAEARI_WEBHOOK_URL", {"WEBHOOK_SECRET": "A" * 32}),
        ("MAEARI_WEBHOOK_SECRET", {"WEBHOOK_URL": "https://hooks.example/"}),
    ],
)
def test_webhooks_need_a_receiver_and_a_key(named: str, variables: Mapping[str, str]) -> None:
    with pytest.raises(SettingsError, match=f"^{named}: MAEARI_SENDERS names webhook"):
        read(SENDERS="webhook", **variables)
    read(SENDERS="console", **variables)
