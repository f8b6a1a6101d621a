"""What `maeari bench index` computes and makes: ratios, lags, the table, the backlog."""

import json

import pytest

from backbone.eventlog import Record
from backbone.eventlog.events import read_message_event
from bench.backlog import backlog
from bench.index_figures import IndexRun, Kind, SearchableLag, as_json, lag_of, ratios, table
from indexer.projection import document_of_event
from schemas.events import encode
from schemas.topics import MESSAGES_CREATED


def run(indexer: Kind, pair: int, per_second: float) -> IndexRun:
    return IndexRun(
        indexer=indexer,
        pair=pair,
        documents=1_000,
        seconds=1.0,
        per_second=per_second,
        cpu_ms_per_document=0.025,
    )


RUNS = [
    run("bulk", 1, 9_000.0),
    run("one by one", 1, 1_000.0),
    run("bulk", 2, 22_000.0),
    run("one by one", 2, 2_000.0),
    run("bulk", 3, 5_000.0),
]
LAG = SearchableLag(posts=3, posts_per_second=50.0, p50_ms=600.0, p99_ms=1_100.0, longest_ms=1_200.0)


def test_ratios_are_of_whole_pairs() -> None:
    """Each pair gives one ratio; a half of one gives none."""
    assert ratios(RUNS) == [9.0, 11.0]


def test_lags_are_in_milliseconds() -> None:
    """Of a hundred lags of 10 ms to 1 s the median is 500 ms, and 99 of 100 are at most 990 ms."""
    lag = lag_of([number / 100 for number in range(100, 0, -1)], 50.0)
    assert (lag.posts, lag.p50_ms, lag.p99_ms, lag.longest_ms) == (100, 500.0, 990.0, 1_000.0)


def test_the_table_shows_rates_ratio_and_lag() -> None:
    shown = "\n".join(table({"cores": "2"}, RUNS, LAG))
    assert "cores: 2" in shown
    assert "22,000" in shown
    assert "10.0 (9.0 to 11.0, pairs: 2)" in shown
    assert "p50 600 ms, p99 1,100 ms" in shown


def test_json_has_the_same() -> None:
    document = json.loads(as_json({"cores": "2"}, RUNS, LAG))
    assert document["ratios"] == [9.0, 11.0]
    assert [found["indexer"] for found in document["runs"][:2]] == ["bulk", "one by one"]
    assert document["lag"]["p99_ms"] == 1_100.0


def test_the_backlog_is_of_real_events() -> None:
    """Every event is read as the indexer reads it, of a message of its own, in its channel's order."""
    events = list(backlog(500))
    documents = []
    for event in events:
        record = Record(MESSAGES_CREATED.name, 0, 0, None, encode(event), (), 0)
        documents.append(document_of_event(read_message_event(record)))
    assert len({message_id for message_id, _ in documents}) == 500
    of_channels: dict[str, list[int]] = {}
    for event in events:
        of_channels.setdefault(event.payload.channel_id, []).append(event.sequence)
    for sequences in of_channels.values():
        assert sequences == list(range(2, 2 + len(sequences)))
    assert len(of_channels) == pytest.approx(100, abs=5)
