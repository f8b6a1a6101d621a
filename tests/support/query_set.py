"""The published query set: its messages in an index, its queries asked, and how well they were answered."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from unicodedata import normalize
from zoneinfo import ZoneInfo

from backbone.search import IndexedDocument, SearchIndex
from backend.queries.search_query import parse_query, with_parameters
from schemas.clock import format_ms
from schemas.documents import SearchDocument
from tests.support.search import ids, stored

_FOLDER = Path(__file__).parents[1] / "golden" / "search"
_SEOUL = ZoneInfo("Asia/Seoul")
_ANY_DAY = "2025-06-01"


@dataclass(frozen=True)
class Asked:
    """A query, what a person expects, what is fine either way, and what was found."""

    q: str
    about: str
    expected: frozenset[str]
    either_way: frozenset[str]
    found: frozenset[str]

    @property
    def missing(self) -> frozenset[str]:
        return self.expected - self.found

    @property
    def wrong(self) -> frozenset[str]:
        return self.found - self.expected - self.either_way


async def answers(search: SearchIndex) -> list[Asked]:
    """Put the messages into the index and ask every query."""
    await stored(search, *_documents())
    return [
        Asked(
            q=line["q"],
            about=line["about"],
            expected=frozenset(line["expect"]),
            either_way=frozenset(line.get("may", ())),
            found=frozenset(await ids(search, with_parameters(parse_query(line["q"], _SEOUL), {}, _SEOUL))),
        )
        for line in _lines("queries.jsonl")
    ]


def recall(asked: Sequence[Asked]) -> float:
    """Return the share of the expected hits that were found."""
    expected = sum(len(each.expected) for each in asked)
    return 1 - sum(len(each.missing) for each in asked) / max(1, expected)


def precision(asked: Sequence[Asked]) -> float:
    """Return the share of right ones among the hits, those left out that are fine either way."""
    right = sum(len(each.expected & each.found) for each in asked)
    return right / max(1, right + sum(len(each.wrong) for each in asked))


def table(asked: Sequence[Asked]) -> Iterator[str]:
    """Yield a line for each kind of query, and one for all of them."""
    kinds = {
        kind: [each for each in asked if each.about == kind] for kind in sorted({a.about for a in asked})
    }
    for kind, some in {**kinds, "all": asked}.items():
        yield f"{kind:14} {len(some):4} queries  recall {recall(some):.3f}  precision {precision(some):.3f}"


def _documents() -> Iterator[IndexedDocument]:
    for number, line in enumerate(_lines("messages.jsonl"), 1):
        noon = datetime.fromisoformat(f"{line.get('day', _ANY_DAY)}T12:00").replace(tzinfo=_SEOUL)
        created_at = format_ms(round(noon.timestamp() * 1000) + number)
        document = SearchDocument(
            content=normalize("NFC", line["content"]),
            author=line["author"],
            channel=line["channel"],
            created_at=created_at,
            updated_at=created_at,
            mentions=tuple(line.get("mentions", ())),
            has_attachment=line.get("attachment", False),
            sequence=number,
            version=number,
        )
        yield IndexedDocument(line["id"], document)


@cache
def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (_FOLDER / name).read_text().splitlines()]
