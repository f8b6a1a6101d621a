"""The connection to Elasticsearch: one request, one answer, or the error that it stands for.

Guarantees: every request ends in bounded time, and is sent once. Connects on first use.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from elasticsearch import (
    ApiError,
    AsyncElasticsearch,
    ConnectionError,  # noqa: A004
    ConnectionTimeout,
    SSLError,
    TransportError,
    UnsupportedProductError,
)
from elasticsearch.serializer import JsonSerializer

from backbone.errors import Unavailable
from backbone.search import DEPENDENCY
from backbone.search.elasticsearch.answers import refusal
from backbone.settings import SearchSecurity


class _Json(JsonSerializer):
    """Answers are read many times as fast as by the standard library, which the client takes."""

    def json_loads(self, data: bytes) -> Any:
        """See JsonSerializer: what is no JSON raises ValueError."""
        return msgspec.json.decode(data)


class Connection:
    """One client of one Elasticsearch; `alias` is named where nothing is behind it."""

    def __init__(self, url: str, alias: str, security: SearchSecurity) -> None:
        self._url = url
        self._alias = alias
        self._security = security
        self._opened: AsyncElasticsearch | None = None
        self._of_timeout: dict[float, AsyncElasticsearch] = {}

    async def close(self) -> None:
        """Release the connection."""
        if self._opened is not None:
            client, self._opened = self._opened, None
            self._of_timeout.clear()
            await client.close()

    async def send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> Any:
        """Send one request and return the decoded answer, or raise what its error stands for."""
        client = self._client(timeout_s)
        try:
            answer = await client.perform_request(method, path, headers=headers, body=body)
        except UnsupportedProductError as error:
            raise Unavailable(DEPENDENCY, f"what answers at {self._place} is not Elasticsearch") from error
        except ApiError as error:
            raise refusal(error.status_code, error.body, self._alias) from error
        except TransportError as error:
            raise Unavailable(DEPENDENCY, f"{self._place}: {_trouble(error)}") from error
        return answer.body

    def _client(self, timeout_s: float) -> AsyncElasticsearch:
        """Return the client with this timeout: to make one costs as much as a request."""
        if self._opened is None:
            self._opened = _connect(self._url, self._security)
        if timeout_s not in self._of_timeout:
            self._of_timeout[timeout_s] = self._opened.options(request_timeout=timeout_s)
        return self._of_timeout[timeout_s]

    @property
    def _place(self) -> str:
        """The address without credentials."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _trouble(error: TransportError) -> str:
    match error:
        case ConnectionTimeout():
            return "no answer in time"
        case SSLError():
            return f"its certificate is not trusted (see MAEARI_SEARCH_CA_FILE): {error.message}"
        case ConnectionError():
            return f"no connection: {error.message}"
        case _:
            return str(error.message)


def _connect(url: str, security: SearchSecurity) -> AsyncElasticsearch:
    parts = urlsplit(url)
    if parts.port is None:
        netloc = f"{parts.netloc}:{443 if parts.scheme == 'https' else 80}"
        url = parts._replace(netloc=netloc).geturl()
    options: dict[str, Any] = {}
    if security.api_key:
        options["api_key"] = security.api_key
    elif security.username:
        options["basic_auth"] = (security.username, security.password or "")
    if security.ca_file and parts.scheme == "https":
        options["ca_certs"] = str(security.ca_file)
    # Who calls decides when to try again: here nothing is sent twice.
    return AsyncElasticsearch(url, max_retries=0, serializers={_Json.mimetype: _Json()}, **options)
