"""The published query set (tests/golden/search): what people expect is found, on every adapter."""

import pytest

from backbone.search import SearchIndex
from tests.contract.search.conftest import QUERY_SET_TABLES
from tests.support.query_set import Asked, answers, precision, recall, table

PRECISION_MIN = 0.97


async def test_what_people_expect_is_found(
    embedded: SearchIndex, without_nori: SearchIndex, with_nori: SearchIndex, request: pytest.FixtureRequest
) -> None:
    """Nothing that is expected is missing; embedded and bigrams find the same; nori finds no less."""
    asked = {
        "embedded": await answers(embedded),
        "Elasticsearch without nori": await answers(without_nori),
        "Elasticsearch with nori": await answers(with_nori),
    }
    request.config.stash[QUERY_SET_TABLES] = {name: list(table(each)) for name, each in asked.items()}
    for name, each in asked.items():
        missing = [(query.q, sorted(query.missing)) for query in each if query.missing]
        assert recall(each) == 1, (name, missing)
        assert precision(each) >= PRECISION_MIN, (name, [(q.q, sorted(q.wrong)) for q in each if q.wrong])
    one, other, nori = asked.values()
    assert _found(one) == _found(other)
    assert [query for query, found in _found(nori).items() if not found >= _found(one)[query]] == []


def _found(asked: list[Asked]) -> dict[str, frozenset[str]]:
    return {each.q: each.found for each in asked}


async def test_an_index_without_the_forms_of_today_is_told(
    without_nori: SearchIndex, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given an index that was made before the server had its plugin, whoever starts says what mends it."""
    await without_nori.ensure()
    told = capsys.readouterr().out
    assert "search_index_lacks_forms" in told
    assert "korean" in told
    assert "maeari rebuild search" in told
