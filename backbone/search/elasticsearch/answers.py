"""What Elasticsearch answers, as the port's values and errors; pure.

Guarantees: every refusal becomes one line, and one of the errors that the port or its adapter knows.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from backbone.errors import SetupError, Unavailable
from backbone.search import DEPENDENCY, CursorExpired, Hit, QueryRefused, SearchPage
from backbone.search.elasticsearch.bulk import BUSY_STATUSES, reason_of
from schemas.documents import SearchDocument

# What the server says of a query that exceeds its limits, however often it is asked.
_TOO_MUCH = ("too many nested clauses", "too many clauses", "exceeded the allowed maximum")
# Where a blank was left out before the words were cut, the server takes it for a part of the word before.
_BLANK_MARKED = re.compile(r"(\s+)</em>")
FRAGMENT_MAX_CHARACTERS = 500
# How long the server may look for the hits of one page.
LOOKED_FOR_S = 5
NOTHING = SearchPage(hits=(), total=0, cursor=None)


class Absent(Unavailable):
    """The server has nothing of this name; `body` is its answer."""

    def __init__(self, dependency: str, detail: str, body: Any) -> None:
        super().__init__(dependency, detail)
        self.body = body


class AlreadyThere(Exception):
    """Another caller has just made an index of this name."""


class AliasMoved(Exception):
    """Another caller has moved the alias, or taken it away."""


class Overloaded(Unavailable):
    """The server has no room for this now; a little later it may."""


class NotUnderstood(Unavailable):
    """The server refuses the request as it is."""


def page(
    answer: Mapping[str, Any], limit: int, seal: Callable[[Sequence[Any]], str], *, first: bool
) -> SearchPage:
    """Return a page out of an answer with up to one hit more, which says that a next page exists.

    Of a `first` page nobody asks for the places of its hits.
    """
    hits = answer["hits"]["hits"]
    return SearchPage(
        hits=tuple(_hit(hit) for hit in hits[:limit]),
        total=answer["hits"]["total"]["value"],
        cursor=seal(hits[limit - 1]["sort"]) if len(hits) > limit else None,
        places=() if first else tuple(seal(hit["sort"]) for hit in hits[:limit]),
    )


def _hit(hit: Mapping[str, Any]) -> Hit:
    return Hit(
        index=hit["_index"],
        id=hit["_id"],
        score=hit["_score"],
        source=msgspec.convert(hit["_source"], SearchDocument),
        highlight={
            field: tuple(_short(_BLANK_MARKED.sub(r"</em>\1", fragment)) for fragment in fragments)
            for field, fragments in hit.get("highlight", {}).items()
        },
    )


def _short(fragment: str) -> str:
    """Cut a fragment of a text without a blank or a full stop, which the server leaves as long as it is."""
    if len(fragment) <= FRAGMENT_MAX_CHARACTERS:
        return fragment
    first = max(0, fragment.find("<em>"))
    start = max(0, first - FRAGMENT_MAX_CHARACTERS // 4)
    cut = re.sub(r"<[^>]*$", "", fragment[start : start + FRAGMENT_MAX_CHARACTERS])
    return cut if cut.rfind("<em>") <= cut.rfind("</em>") else f"{cut}</em>"


def refusal(status: int, body: Any, alias: str) -> Exception:
    """Return the error that an answer with this status stands for."""
    error = body.get("error") if isinstance(body, Mapping) else None
    error = error if isinstance(error, Mapping) else {"reason": error}
    root = next(iter(error.get("root_cause") or ()), error)
    reason = reason_of(root) or f"status {status}"
    match root.get("type"):
        case "search_context_missing_exception":
            return CursorExpired("the point in time of the cursor is gone")
        case "search_timeout_exception":
            return Unavailable(DEPENDENCY, f"a search took longer than {LOOKED_FOR_S} s")
        case "resource_already_exists_exception":
            return AlreadyThere(reason)
        case "aliases_not_found_exception":
            return AliasMoved(reason)
    return _of_alias(root, body, alias) or _by_status(status, reason, body)


def _of_alias(root: Mapping[str, Any], body: Any, alias: str) -> Exception | None:
    match root.get("type"):
        case "invalid_alias_name_exception":
            taken = f"the search server has an index named {alias}, which must be an alias"
            return SetupError(f"{taken}: delete that index, or set MAEARI_SEARCH_ALIAS")
        case "index_not_found_exception" if alias in (root.get("index"), root.get("resource.id")):
            missing = f"nothing is behind the alias {alias}: start the indexer (maeari indexer)"
            return Absent(DEPENDENCY, missing, body)
    return None


def _by_status(status: int, reason: str, body: Any) -> Exception:
    match status:
        case 400 if any(limit in reason for limit in _TOO_MUCH):
            return QueryRefused(reason)
        case 400:
            return NotUnderstood(DEPENDENCY, reason)
        case 401:
            settings = "MAEARI_SEARCH_API_KEY, or MAEARI_SEARCH_USERNAME and MAEARI_SEARCH_PASSWORD"
            return Unavailable(DEPENDENCY, f"the server refuses the credentials: set {settings}")
        case 403:
            return Unavailable(DEPENDENCY, f"the server does not allow this: {reason}")
        case 404:
            return Absent(DEPENDENCY, reason, body)
    return (Overloaded if status in BUSY_STATUSES else Unavailable)(DEPENDENCY, reason)
