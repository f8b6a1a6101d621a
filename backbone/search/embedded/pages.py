"""Pages of hits out of the embedded search file: by time, or by relevance at a point in time.

Guarantees: every page is filtered with the rights given for it; hits by relevance keep their order
while documents come and go, for two minutes after the last page; calls block.
"""

import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from backbone.search import CursorExpired, Hit, Rights, SearchPage, SearchQuery
from backbone.search.cursors import AfterHit, seal
from backbone.search.embedded.highlighting import highlighted, needles
from backbone.search.embedded.query import (
    ORDER,
    Condition,
    after,
    conjunction,
    excluded_expression,
    filters,
    match_expression,
    visible,
)
from backbone.search.embedded.store import name_of
from schemas.documents import SearchDocument

POINT_KEPT_MS = 120_000

_decoder = msgspec.json.Decoder(SearchDocument)


class AfterPlace(msgspec.Struct, frozen=True, array_like=True):
    """A place in hits by relevance: the point in time, and the number of the last hit there."""

    point: str
    place: int


@dataclass(frozen=True)
class Asked:
    """One search for one page; `number` is the index behind the alias."""

    connection: sqlite3.Connection
    number: int
    query: SearchQuery
    rights: Rights
    limit: int

    def page(self, rows: list[Any], total: int, cursor: Callable[[Any], str]) -> SearchPage:
        """Return a page out of rows (id, source, score, …) with up to one more than the limit."""
        index = name_of(self.connection, self.number)
        sought = needles(self.query)
        hits = tuple(_hit(index, row, sought) for row in rows[: self.limit])
        more = len(rows) > self.limit
        return SearchPage(hits=hits, total=total, cursor=cursor(rows[self.limit - 1]) if more else None)


def page_by_time(asked: Asked, place: AfterHit | None) -> SearchPage:
    """Return the page that follows `place`, newest or oldest first."""
    matching = _matching(asked)
    paged = conjunction([matching, after(asked.query.sort, place)]) if place else matching
    rows = asked.connection.execute(
        f"SELECT d.message_id, d.source, NULL, d.created_at_ms, d.channel, d.sequence"
        f" FROM documents_{asked.number} d WHERE {paged.sql} ORDER BY {ORDER[asked.query.sort]} LIMIT ?",
        (*paged.parameters, asked.limit + 1),
    ).fetchall()
    total = asked.connection.execute(
        f"SELECT count(*) FROM documents_{asked.number} d WHERE {matching.sql}", matching.parameters
    ).fetchone()[0]
    return asked.page(rows, total, lambda last: seal(asked.query, AfterHit(*last[3:])))


def first_page_by_relevance(asked: Asked) -> SearchPage | None:
    """Return the only page, or None where there is more: then a point in time is to be kept."""
    ranked = _ranked(asked)
    rows = asked.connection.execute(
        f"SELECT d.message_id, d.source, ranked.score FROM ({ranked.sql}) ranked"
        f" JOIN documents_{asked.number} d USING (document) ORDER BY ranked.place LIMIT ?",
        (*ranked.parameters, asked.limit + 1),
    ).fetchall()
    return None if len(rows) > asked.limit else asked.page(rows, len(rows), lambda _: "")


def keep_point(asked: Asked, now_ms: int) -> str:
    """Store the order of all hits as it is now, forget what is too old; return the point's name."""
    expired = "SELECT point FROM points WHERE until_ms < ?"
    asked.connection.execute(f"DELETE FROM point_hits WHERE point IN ({expired})", (now_ms,))
    asked.connection.execute("DELETE FROM points WHERE until_ms < ?", (now_ms,))
    point = secrets.token_urlsafe(12)
    ranked = _ranked(asked)
    total = asked.connection.execute(
        "INSERT INTO point_hits (point, place, document, score)"
        f" SELECT ?, ranked.place, ranked.document, ranked.score FROM ({ranked.sql}) ranked",
        (point, *ranked.parameters),
    ).rowcount
    asked.connection.execute(
        "INSERT INTO points (point, number, total, until_ms) VALUES (?, ?, ?, ?)",
        (point, asked.number, total, now_ms + POINT_KEPT_MS),
    )
    return point


def page_by_relevance(
    connection: sqlite3.Connection,
    query: SearchQuery,
    rights: Rights,
    limit: int,
    place: AfterPlace,
    now_ms: int,
) -> SearchPage:
    """Return the page that follows `place` at its point in time. Raises CursorExpired."""
    kept = connection.execute(
        "UPDATE points SET until_ms = ? WHERE point = ? AND until_ms >= ? RETURNING number, total",
        (now_ms + POINT_KEPT_MS, place.point, now_ms),
    ).fetchone()
    if kept is None:
        raise CursorExpired("the point in time of the cursor is gone")
    number, total = kept
    asked = Asked(connection, number, query, rights, limit)
    readable = visible(rights)
    rows = connection.execute(
        "SELECT d.message_id, d.source, p.score, p.place FROM point_hits p"
        f" JOIN documents_{number} d USING (document)"
        f" WHERE p.point = ? AND p.place > ? AND {readable.sql} ORDER BY p.place LIMIT ?",
        (place.point, place.place, *readable.parameters, limit + 1),
    ).fetchall()
    return asked.page(rows, total, lambda last: seal(query, AfterPlace(place.point, last[3])))


def _matching(asked: Asked) -> Condition:
    """Return the condition of every hit, words included."""
    conditions = [visible(asked.rights), *filters(asked.query)]
    words = f"words_{asked.number}"
    found = f"d.document {{}} (SELECT rowid FROM {words} WHERE {words} MATCH ?)"
    if (expression := match_expression(asked.query)) is not None:
        conditions.append(Condition(found.format("IN"), (expression,)))
    if (expression := excluded_expression(asked.query)) is not None:
        conditions.append(Condition(found.format("NOT IN"), (expression,)))
    return conjunction(conditions)


def _ranked(asked: Asked) -> Condition:
    """Return a query for (document, score, place) of every hit, the best first."""
    matching = _matching(asked)
    words = f"words_{asked.number}"
    expression = match_expression(asked.query)
    if expression is None:
        hits = f"SELECT d.document, 0.0 AS score, d.created_at_ms FROM documents_{asked.number} d"
        parameters = matching.parameters
    else:
        # FTS5 ranks the best lowest; the outside knows scores that grow.
        hits = (
            f"SELECT d.document, r.score, d.created_at_ms FROM documents_{asked.number} d JOIN"
            f" (SELECT rowid AS document, -bm25({words}) AS score FROM {words} WHERE {words} MATCH ?) r"
            " USING (document)"
        )
        parameters = (expression, *matching.parameters)
    order = "ORDER BY score DESC, created_at_ms DESC, document DESC"
    return Condition(
        f"SELECT document, score, row_number() OVER ({order}) AS place FROM ({hits} WHERE {matching.sql})",
        parameters,
    )


def _hit(index: str, row: Any, sought: list[Any]) -> Hit:
    source = _decoder.decode(row[1])
    fragments = highlighted(source.content, sought) if sought else ()
    return Hit(
        index=index,
        id=row[0],
        score=row[2],
        source=source,
        highlight={"content": fragments} if fragments else {},
    )
