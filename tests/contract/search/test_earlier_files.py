"""Search files of earlier versions: the first to open one cuts its words anew."""

import sqlite3
from pathlib import Path

from backbone.search import SearchQuery
from backbone.settings import Settings
from tests.support.search import document, ids, search_site, stored


async def test_words_of_earlier_forms_are_cut_anew(embedded_settings: Settings) -> None:
    """Given an index whose words have two forms only, it finds by all forms once it is opened."""
    async with search_site(embedded_settings) as site:
        search = site.open()
        await search.ensure()
        await stored(search, document(1, "배포 완료했습니다"), document(2, "다른 말"))
    _with_earlier_words(embedded_settings.data / "search.sqlite3")
    async with search_site(embedded_settings) as site:
        search = site.open()
        await search.ensure()
        for word in ("배포완료", "ㅂㅍ", "완료됐어요"):
            assert await ids(search, SearchQuery(words=(word,))) == {"msg_1"}, word


def _with_earlier_words(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE words_1")
        connection.execute("CREATE VIRTUAL TABLE words_1 USING fts5(exact, stemmed, tokenize = 'ascii')")
        connection.execute("INSERT INTO words_1 (rowid, exact, stemmed) VALUES (1, '배포 완료', '배포 완료')")
