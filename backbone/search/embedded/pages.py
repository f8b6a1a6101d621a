"""Pages of hits out of the embedded search file: by time, or by relevance at a point in time.

Guarantees: every page is filtered with the rights given for it; hits by relevance keep their order
while documents come and go, for two minutes after the last page; calls block.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from backbone.search import Hit, Rights, SearchPage, SearchQuery, Witness
from backbone.search.cursors import AfterHit, seal
from backbone.search.embedded.forms import COLUMNS, WEIGHTS, Terms
from backbone.search.embedded.highlighting import Needles, highlighted, needles
from backbone.search.embedded.points import SCORE_BYTES, AfterPlace, Ranking, change_of_point, score_of
from backbone.search.embedded.query import (
    ORDER,
    Condition,
    after,
    conjunction,
    exact_expression,
    excluded_expression,
    filters,
    match_expression,
    visible,
)
from backbone.search.embedded.store import name_of
from backbone.search.embedded.witness import holds, last_change
from schemas.documents import SearchDocument

# What another form of a word is worth, beside the word as it was typed.
INEXACT = 0.1

_decoder = msgspec.json.Decoder(SearchDocument)


@dataclass(frozen=True)
class Asked:
    """One search for one page; `number` is the index behind the alias."""

    connection: sqlite3.Connection
    number: int
    query: SearchQuery
    rights: Rights
    limit: int
    witness: Witness | None = None

    def page(self, rows: Sequence[Any], total: int, cursor: Callable[[Any], str], change: int) -> SearchPage:
        """Return a page out of rows (document, score, …) with up to one more than the limit.

        They were found in the state that the index had after `change`.
        """
        index = name_of(self.connection, self.number)
        sought = needles(self.query)
        hits = tuple(self._hit(index, document, score, sought) for document, score, *_ in rows[: self.limit])
        places = tuple(map(cursor, rows[: self.limit]))
        more = len(rows) > self.limit
        return SearchPage(hits, total, places[-1] if more else None, self.witnessed(change), places)

    def witnessed(self, change: int) -> bool | None:
        """Say whether the witness was there after `change`, None without one."""
        if self.witness is None:
            return None
        return holds(self.connection, self.number, self.witness, change)

    def _hit(self, index: str, document: int, score: float | None, sought: list[Needles]) -> Hit:
        sql = f"SELECT message_id, source FROM documents_{self.number} WHERE document = ?"
        message_id, encoded = self.connection.execute(sql, (document,)).fetchone()
        source = _decoder.decode(encoded)
        fragments: tuple[str, ...] = ()
        if sought:
            sql = f"SELECT {', '.join(COLUMNS)} FROM words_{self.number} WHERE rowid = ?"
            terms = self.connection.execute(sql, (document,)).fetchone()
            fragments = highlighted(source.content, Terms(*terms), sought) if terms else ()
        highlight = {"content": fragments} if fragments else {}
        return Hit(index=index, id=message_id, score=score, source=source, highlight=highlight)


def page_by_time(asked: Asked, place: AfterHit | None) -> SearchPage:
    """Return the page that follows `place`, newest or oldest first."""
    matching = _matching(asked)
    paged = conjunction([matching, after(asked.query.sort, place)]) if place else matching
    rows = asked.connection.execute(
        f"SELECT d.document, NULL, d.created_at_ms, d.channel, d.sequence"
        f" FROM documents_{asked.number} d WHERE {paged.sql} ORDER BY {ORDER[asked.query.sort]} LIMIT ?",
        (*paged.parameters, asked.limit + 1),
    ).fetchall()
    total = asked.connection.execute(
        f"SELECT count(*) FROM documents_{asked.number} d WHERE {matching.sql}", matching.parameters
    ).fetchone()[0]
    change = last_change(asked.connection, asked.number)
    return asked.page(rows, total, lambda last: seal(asked.query, AfterHit(*last[2:])), change)


def first_page_by_relevance(asked: Asked) -> tuple[SearchPage, Ranking]:
    """Return the first page, its cursor left out, and the ranking that its next page keeps to."""
    ranked = _ranked(asked)
    hits = asked.connection.execute(ranked.sql, ranked.parameters).fetchall()
    change = last_change(asked.connection, asked.number)
    page = asked.page(hits[: asked.limit], len(hits), lambda _: "", change)
    return page, Ranking(asked.query, asked.rights, asked.number, change, hits)


def page_by_relevance(asked: Asked, place: AfterPlace) -> SearchPage:
    """Return the page that follows `place` at its point in time, which lies in the index asked."""
    found = (
        f"rankings r, json_each(r.documents) e JOIN documents_{asked.number} d ON d.document = e.value"
        f" WHERE r.point = ?"
    )
    readable = visible(asked.rights)
    rows = asked.connection.execute(
        f"SELECT d.document, substr(r.scores, 1 + {SCORE_BYTES} * e.key, {SCORE_BYTES}), e.key + 1"
        f" FROM {found} AND e.key >= ? AND {readable.sql} ORDER BY e.key LIMIT ?",
        (place.point, place.place, *readable.parameters, asked.limit + 1),
    ).fetchall()
    # Counted anew: whoever has the cursor may have fewer rights than whoever asked for the first page.
    total = asked.connection.execute(
        f"SELECT count(*) FROM {found} AND {readable.sql}", (place.point, *readable.parameters)
    ).fetchone()[0]
    change = change_of_point(asked.connection, place.point)
    hits = [(document, score_of(packed), number) for document, packed, number in rows]
    return asked.page(hits, total, lambda last: seal(asked.query, AfterPlace(place.point, last[2])), change)


def _matching(asked: Asked, *, ranked: bool = False) -> Condition:
    """Return the condition of every hit; the words that must occur are left out where they are ranked."""
    conditions = [visible(asked.rights), *filters(asked.query)]
    words = f"words_{asked.number}"
    found = f"d.document {{}} (SELECT rowid FROM {words} WHERE {words} MATCH ?)"
    if not ranked and (expression := match_expression(asked.query)) is not None:
        conditions.append(Condition(found.format("IN"), (expression,)))
    if (expression := excluded_expression(asked.query)) is not None:
        conditions.append(Condition(found.format("NOT IN"), (expression,)))
    return conjunction(conditions)


def _ranked(asked: Asked) -> Condition:
    """Return a query for (document, score) of every hit, the best first."""
    expression = match_expression(asked.query)
    matching = _matching(asked, ranked=expression is not None)
    words = f"words_{asked.number}"
    if expression is None:
        hits = f"SELECT d.document, 0.0 AS score FROM documents_{asked.number} d"
        parameters = matching.parameters
    else:
        # FTS5 ranks the best lowest; the outside knows scores that grow. It also weighs what is rare more
        # than what was asked for: texts that hold the very words come first.
        score = f"-bm25({words}, {', '.join(map(str, WEIGHTS))})"
        exact = f"d.document IN (SELECT rowid FROM {words} WHERE {words} MATCH ?)"
        hits = (
            f"SELECT d.document, r.score * iif({exact}, 1.0, {INEXACT}) AS score"
            f" FROM documents_{asked.number} d JOIN"
            f" (SELECT rowid AS document, {score} AS score FROM {words} WHERE {words} MATCH ?) r"
            " USING (document)"
        )
        parameters = (exact_expression(asked.query), expression, *matching.parameters)
    order = "score DESC, d.created_at_ms DESC, d.document DESC"
    return Condition(f"{hits} WHERE {matching.sql} ORDER BY {order}", parameters)
