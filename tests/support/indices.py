"""Indices of a test's own on the real server, dropped when the test ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from backbone.settings import Settings


@asynccontextmanager
async def dropped_indices(settings: Settings) -> AsyncIterator[None]:
    """Drop the indices of the settings' alias at the end of the block, where they are on a server."""
    try:
        yield
    finally:
        if settings.search_url.startswith("http"):
            async with httpx.AsyncClient(base_url=settings.search_url) as client:
                found = await client.get(f"/{settings.search_alias}-*/_alias")
                for name in found.json():
                    answer = await client.delete(f"/{name}")
                    assert answer.status_code in (200, 404), answer.text
