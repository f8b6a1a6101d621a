"""What Elasticsearch itself says: documents in an index, and the time that its searches took."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from backbone.search.elasticsearch.connection import Connection
from backbone.settings import Settings
from bench.indexing import REQUEST_TIMEOUT_S

_JSON = {"accept": "application/json"}


class Elastic:
    """The server of some stores, asked by their alias."""

    def __init__(self, alias: str, connection: Connection) -> None:
        self._alias = alias
        self._connection = connection

    async def search_ms(self) -> int:
        """Return the time that all searches took so far, their fetches included: the sum of their `took`."""
        search = (await self._stats("search"))["total"]["search"]
        return int(search["query_time_in_millis"]) + int(search["fetch_time_in_millis"])

    async def written(self) -> int:
        """Return how many documents were written so far, visible or not."""
        return int((await self._stats("indexing"))["primaries"]["indexing"]["index_total"])

    async def documents(self) -> int:
        """Return how many documents a search can find, once all that was written is visible."""
        await self._ask("POST", f"/{self._alias}/_refresh")
        return int((await self._ask("GET", f"/{self._alias}/_count"))["count"])

    async def _stats(self, kind: str) -> Mapping[str, Any]:
        everything: Mapping[str, Any] = (await self._ask("GET", f"/{self._alias}/_stats/{kind}"))["_all"]
        return everything

    async def _ask(self, method: str, path: str) -> Any:
        return await self._connection.send(method, path, None, _JSON, REQUEST_TIMEOUT_S)


@asynccontextmanager
async def opened_elastic(stores: Settings) -> AsyncIterator[Elastic]:
    """Connect for the block."""
    connection = Connection(stores.search_url, stores.search_alias, stores.search_security)
    try:
        yield Elastic(stores.search_alias, connection)
    finally:
        await connection.close()
