"""The text of a setting becomes its value: each function returns it, or raises ValueError saying why not."""

import base64
import binascii
import re
from collections.abc import Callable
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_ORIGIN = r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?"
_SSL = r"ssl=(disable|allow|prefer|require|verify-ca|verify-full)"


def _without_password(url: str) -> str:
    """Return the URL as a message may show it."""
    return re.sub(r"(//[^/@:]*):.*@", r"\1:***@", url)


def database_url(value: str) -> str:
    """Where the tables are."""
    for scheme in ("sqlite+aiosqlite:///", "postgresql+asyncpg://"):
        if value.startswith(scheme) and len(value) > len(scheme):
            if scheme.startswith("postgresql"):
                _host_and_port(value)
            _only_ssl(value)
            if value.endswith(":memory:"):
                raise ValueError("a database in memory is gone with its process; name a file")
            return value
    raise ValueError(
        f"{_without_password(value)!r} is not sqlite+aiosqlite:///FILE or postgresql+asyncpg://USER@HOST:PORT/NAME"
    )


def _only_ssl(url: str) -> None:
    query = url.partition("?")[2]
    if query and not (url.startswith("postgresql") and re.fullmatch(_SSL, query)):
        raise ValueError(
            f"{query!r} behind the ? is not understood; for PostgreSQL ssl=require and its like are"
        )


def eventlog_url(value: str) -> str:
    """Where the log is."""
    if value.startswith("embedded:") and len(value) > len("embedded:"):
        return value
    if value.startswith("kafka://") and len(value) > len("kafka://"):
        for server in value.removeprefix("kafka://").split(","):
            _host_and_port(f"kafka://{server}")
        return value
    raise ValueError(f"{_without_password(value)!r} is not embedded:FILE or kafka://HOST:PORT,…")


def search_url(value: str) -> str:
    """Where the index is."""
    if value.startswith("embedded:") and len(value) > len("embedded:"):
        return value
    if value.startswith(("http://", "https://")):
        _host_and_port(value)
        return value
    raise ValueError(
        f"{_without_password(value)!r} is not embedded:FILE, http://HOST:PORT or https://HOST:PORT"
    )


def archive_url(value: str) -> str:
    """Where the archive's files are."""
    if value.startswith("file:///") and len(value) > len("file:///"):
        return value.rstrip("/")
    if re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._=/-]*)?", value):
        return value.rstrip("/")
    raise ValueError(f"{_without_password(value)!r} is not file:///FOLDER or s3://BUCKET/PREFIX")


def endpoint(value: str) -> str:
    """Where a storage is that speaks like S3."""
    if not value.startswith(("http://", "https://")):
        raise ValueError(f"{_without_password(value)!r} is not http(s)://HOST:PORT")
    _host_and_port(value)
    if "@" in urlsplit(value).netloc:
        raise ValueError("the URL names a user: the keys have settings of their own")
    return value


def webhook_url(value: str) -> str:
    """Where webhooks are posted to; it may hold a secret of the receiver's, and is not shown."""
    if not value.startswith(("http://", "https://")) or re.search(r"[\x00-\x20\x7f#]", value):
        raise ValueError("it is not http(s)://HOST/PATH")
    try:
        parts = urlsplit(value)
        wrong = not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    if wrong:
        raise ValueError("it names no host and port to connect to")
    if "@" in parts.netloc:
        raise ValueError("the URL names a user: the signature says who sends")
    return value


def signing_secrets(value: str) -> tuple[bytes, ...]:
    """Keys of 24 to 64 bytes in Base64, each with or without `whsec_`, parted by commas or blanks."""
    keys = []
    for number, text in enumerate(value.replace(",", " ").split(), 1):
        try:
            key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"key {number} is not Base64, such as of `openssl rand -base64 32`") from None
        if not 24 <= len(key) <= 64:
            raise ValueError(f"key {number} has {len(key)} bytes, not 24 to 64")
        keys.append(key)
    return tuple(keys)


def senders(value: str) -> tuple[str, ...]:
    """Ways out besides sockets, parted by commas or blanks."""
    found = tuple(dict.fromkeys(value.replace(",", " ").split()))
    for sender in found:
        one_of("console", "webhook")(sender)
    return found


def jwks_url(value: str) -> str:
    """Where the keys are that tokens are signed with."""
    if not value.startswith(("http://", "https://")) or re.search(r"[\x00-\x20\x7f]", value):
        raise ValueError(f"{_without_password(value)!r} is not http(s)://HOST/PATH")
    _host_and_port(value)
    if "@" in urlsplit(value).netloc:
        raise ValueError("the URL names a user: public keys need none")
    return value


def _host_and_port(url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # The parser's own words may show a part of the password.
        raise ValueError(f"{_without_password(url)!r} is not a URL") from None
    if not parts.hostname:
        raise ValueError(f"{_without_password(url)!r} names no host")
    if port == 0:
        raise ValueError(f"{_without_password(url)!r} has the port 0")


def port(value: str) -> int:
    """A TCP port."""
    return between(1, 65_535)(value)


def between(lowest: int, highest: int) -> Callable[[str], int]:
    """A whole number within bounds."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,19}", value):
            raise ValueError(f"{value!r} is not a whole number")
        number = int(value)
        if not lowest <= number <= highest:
            raise ValueError(f"{number} is not between {lowest} and {highest}")
        return number

    return parse


def origins(value: str) -> tuple[str, ...]:
    """What browsers send as Origin, parted by commas or blanks; `*` stands for all."""
    found = tuple(value.lower().replace(",", " ").split())
    for origin in found:
        if origin != "*" and not re.fullmatch(_ORIGIN, origin):
            raise ValueError(f"{origin!r} is not an origin such as https://chat.example")
    return found


def one_of(*choices: str) -> Callable[[str], str]:
    """One of these words."""

    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is not one of {', '.join(choices)}")
        return value

    return parse


def topic_prefix(value: str) -> str:
    """What stands before each topic's name."""
    if (
        not value.isascii()
        or not value.replace(".", "").replace("-", "").replace("_", "").isalnum()
        or len(value) > 200
    ):
        raise ValueError(f"{value!r} is not made of ASCII letters, digits, '.', '-' and '_'")
    return value


def alias(value: str) -> str:
    """A name that Elasticsearch takes for an alias."""
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


def instance(value: str) -> str:
    """A name that Kafka takes for a member of a group; `auto` and `none` are words of ours."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", value):
        raise ValueError(f"{value!r} is not auto, none, or made of ASCII letters, digits, '.', '-' and '_'")
    return value


def timezone(value: str) -> str:
    """A name of the time zone database."""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{value!r} is not a time zone such as Asia/Seoul") from None
    return value
