"""What is searched for, by whom, and what maeari asks Elasticsearch then: Node.js can ask the same."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import msgspec

from backbone.search import Rights
from backbone.search.elasticsearch.marking import marks
from backbone.search.elasticsearch.query import BY_RELEVANCE, bool_query
from backend.queries.search_query import parse_query
from bench.server import HOST

SEARCHER = "bench-searcher"
PRIVATE_CHANNELS = tuple(f"private-{number}" for number in range(20))
PUBLIC_CHANNELS = tuple(f"public-{number}" for number in range(100))
QUESTIONS = ("배포를", "회의는", "dashboard", "release", "검색", "고객", "merged", "일정이")
HITS = 20
# For dates, of which no question has any.
_TIMEZONE = ZoneInfo("UTC")


def search_request(port: int, question: str) -> bytes:
    """Return the bytes of a search of the searcher for twenty hits."""
    path = f"/messages/search?{urlencode({'q': question, 'limit': HITS})}"
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nX-User-Id: {SEARCHER}\r\n\r\n".encode()


def write_questions(folder: Path) -> Path:
    """Write what maeari asks for each question into a file; return its name.

    The rights are in it: they cost Node.js nothing, while maeari asks its database for them each time.
    """
    path = folder / "questions.json"
    path.write_bytes(msgspec.json.encode({question: asked_by_maeari(question) for question in QUESTIONS}))
    return path


def asked_by_maeari(question: str) -> dict[str, Any]:
    """Return the body of the search for a first page by relevance, but for its point in time."""
    clause = bool_query(parse_query(question, _TIMEZONE), Rights(PRIVATE_CHANNELS))
    assert clause is not None, "every question has words"
    return {
        "query": clause,
        "sort": BY_RELEVANCE,
        "track_total_hits": True,
        "highlight": marks(clause["bool"]["must"]),
    }
