"""The versioned indices behind one alias: `messages-1`, `messages-2` … and `messages`.

Guarantees: of several callers that make the first index at once one does and all return; a version's
number is never given twice while its index exists.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from backbone.errors import Unavailable
from backbone.search import DEPENDENCY
from backbone.search.elasticsearch.answers import Absent, AlreadyThere, NotUnderstood
from backbone.search.elasticsearch.mapping import (
    COMPONENTS,
    Component,
    components_tried,
    forms_of,
    index_body,
)

Ask = Callable[[str, str, Any], Awaitable[Any]]
"""Sends method, path and body; returns the decoded answer or raises the errors of the answers."""

_RACES = 5

log = structlog.get_logger()


class VersionedIndices:
    """The indices of one alias; `ask` talks to the server."""

    def __init__(self, alias: str, ask: Ask) -> None:
        self._alias = alias
        self._ask = ask
        self._versioned = re.compile(rf"{re.escape(alias)}-(\d+)")

    async def ensure(self) -> None:
        """Make the first index together with its alias, unless the alias exists."""
        for _ in range(_RACES):
            # One answer shows indices and aliases at one moment. Whoever made the first index since
            # then made it under this very name, so that a second one is refused.
            indices = await self.with_aliases()
            if any(self._alias in aliases for aliases in indices.values()) or await self.behind_alias():
                await self._warn_of_missing_forms()
                return
            try:
                await self._create(self._name_after(indices), {self._alias: {}})
            except AlreadyThere:
                continue
            return
        raise Unavailable(
            DEPENDENCY, f"the alias {self._alias} could not be made: others keep making indices"
        )

    async def behind_alias(self) -> list[str]:
        """Return the names of what the alias points at, the newest version last."""
        try:
            answer = await self._ask("GET", f"/_alias/{self._alias}", None)
        except Absent:
            return []
        return sorted(answer, key=lambda name: (len(name), name))

    async def names(self) -> list[str]:
        """Return the names of all versions that exist, oldest first."""
        return [f"{self._alias}-{version}" for version in self._versions(await self.with_aliases())]

    async def create_next(self) -> str:
        """Make an index under the next version's name; return the name."""
        for _ in range(_RACES):
            name = self._name_after(await self.with_aliases())
            try:
                await self._create(name, {})
            except AlreadyThere:
                continue
            return name
        raise Unavailable(DEPENDENCY, "no index could be made: others keep making indices")

    async def drop(self, index: str) -> None:
        """Delete an index; one that does not exist is no error. Raises ValueError behind the alias."""
        if index in await self.behind_alias():
            raise ValueError(f"{index} is behind the alias {self._alias}")
        await self._ask("DELETE", f"/{index}?ignore_unavailable=true", None)

    async def drop_all(self) -> None:
        """Delete the indices of all versions; the alias goes with them."""
        for index in await self.names():
            await self._ask("DELETE", f"/{index}?ignore_unavailable=true", None)

    async def _create(self, name: str, aliases: dict[str, Any]) -> None:
        components = await self._components()
        if lacking := [each for each in COMPONENTS if each not in components]:
            # What that means is in the documentation: `korean` morphemes without nori, for one.
            log.warning("search_server_lacks", index=name, components=lacking)
        await self._ask("PUT", f"/{name}", {"aliases": aliases, **index_body(components)})

    async def _warn_of_missing_forms(self) -> None:
        """Say so when the live index was made by an earlier version, or before the server got its plugin."""
        wanted = forms_of(index_body(await self._components())["mappings"])
        for name, found in (await self._ask("GET", f"/{self._alias}/_mapping", None)).items():
            if missing := sorted(wanted - forms_of(found["mappings"])):
                log.warning(
                    "search_index_lacks_forms", index=name, forms=missing, remedy="maeari rebuild search"
                )

    async def _components(self) -> list[Component]:
        """Ask the server what it can analyse with: plugins differ, and so do builds."""
        found: list[Component] = []
        for component, analysis in components_tried().items():
            try:
                await self._ask("POST", "/_analyze", {**analysis, "text": "메아리 echo"})
            except NotUnderstood:
                continue
            found.append(component)
        return found

    async def with_aliases(self) -> dict[str, set[str]]:
        """Return what has a name after the alias, with all its aliases, as they are at one moment."""
        answer = await self._ask("GET", f"/{self._alias}-*/_alias", None)
        return {name: set(found["aliases"]) for name, found in answer.items()}

    def _versions(self, indices: dict[str, set[str]]) -> list[int]:
        found = (self._versioned.fullmatch(name) for name in indices)
        return sorted(int(match[1]) for match in found if match)

    def _name_after(self, indices: dict[str, set[str]]) -> str:
        return f"{self._alias}-{max(self._versions(indices), default=0) + 1}"
