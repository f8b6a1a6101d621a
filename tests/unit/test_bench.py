"""What a benchmark computes and reads: percentiles, ratios, the CSV, requests and answers."""

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import pytest

from backbone.errors import SetupError
from bench.figures import Measurement, percentile, ratios
from bench.http_client import AnswerReader, LoadGenerator, NotReadable
from bench.report import COLUMNS, as_json, csv_sheet, table
from bench.workload import Workload
from bench.write import Plan

ANSWER = (
    b'HTTP/1.1 201 Created\r\nContent-Type: application/json\r\ncontent-length: 12\r\n\r\n{"a":"\r\n\r\n"}'
)


def measurement(**changes: Any) -> Measurement:
    """Return a measurement in which all is well."""
    usual: dict[str, Any] = {
        **dict.fromkeys(COLUMNS, 0),
        "workload": "spread",
        "group_commit": "on",
        "connections": 64,
        "pair": 1,
        "acknowledged": 90,
        "warm_up": 10,
        "stored": 100,
        "per_second": 90.0,
    }
    return Measurement(**{**usual, **changes})


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1), (50, 50), (50.5, 51), (95, 95), (99, 99), (99.9, 100), (100, 100)]
)
def test_percentiles_are_of_the_nearest_rank(percent: float, value: int) -> None:
    """Of 1 to 100 the p-th percentile is p; in between it is the next value that was measured."""
    assert percentile(range(1, 101), percent) == value


def test_percentiles_of_few() -> None:
    """One value is every percentile; of none it is 0."""
    assert [percentile([7], percent) for percent in (0, 50, 99)] == [7, 7, 7]
    assert percentile([], 99) == 0


def test_ratios_are_of_pairs() -> None:
    """Each pair gives one ratio; a half of a pair gives none, nor does one without a single answer."""
    rates = [(1, "on", 300.0), (1, "off", 100.0), (2, "on", 500.0), (2, "off", 100.0), (3, "on", 400.0)]
    measured = [measurement(pair=pair, group_commit=kind, per_second=rate) for pair, kind, rate in rates]
    measured += [measurement(connections=1, group_commit=kind, per_second=0.0) for kind in ("on", "off")]
    (ratio,) = ratios(measured)
    assert (ratio.connections, ratio.pairs, ratio.least, ratio.median, ratio.most) == (64, 2, 3.0, 4.0, 5.0)


@pytest.mark.parametrize(
    ("stored", "lost", "agrees"), [(100, 0, True), (99, 0, False), (101, 0, False), (101, 1, True)]
)
def test_what_is_stored_is_what_was_acknowledged(stored: int, lost: int, agrees: bool) -> None:
    """Every acknowledged post is stored, and nothing else but what got no answer."""
    disagreement = measurement(stored=stored, lost=lost).disagreement()
    assert (disagreement is None) == agrees
    assert agrees or f"100 posts were acknowledged and {stored} are stored" in str(disagreement)


def test_the_csv_has_a_row_at_once(tmp_path: Path) -> None:
    """A measurement is in the file as soon as it is added."""
    path = tmp_path / "new" / "figures.csv"
    with csv_sheet(path) as sheet:
        sheet.add(measurement(server_cpu_ms_per_post=None))
        (row,) = csv.DictReader(path.open(encoding="utf-8"))
    assert tuple(row) == COLUMNS
    assert (row["workload"], row["connections"], row["server_cpu_ms_per_post"]) == ("spread", "64", "")


def test_a_csv_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Before anything is measured, one line says which file it is."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="--csv: cannot write"), csv_sheet(tmp_path / "file" / "x.csv"):
        pytest.fail("it cannot be written")


def test_the_table_shows_rates_ratios_and_what_was_not_counted() -> None:
    """The table has the median of each kind, the ratio with its spread, and other answers than 201."""
    rates = [(1, "on", 3_000.0), (1, "off", 1_000.0), (2, "on", 5_000.0), (2, "off", 1_000.0)]
    measured = [measurement(pair=pair, group_commit=kind, per_second=rate) for pair, kind, rate in rates]
    shown = "\n".join(table({"cores": "2"}, [*measured, measurement(pair=3, other_answers=7)]))
    assert "cores: 2" in shown
    assert "3,000" in shown
    assert "4.00 (3.00 to 5.00, 2 pairs)" in shown
    assert "7 answers were not 201" in shown


def test_json_has_the_same() -> None:
    """As JSON there are the machine, each measurement under the names of the CSV, and the ratios."""
    both = [measurement(), measurement(group_commit="off", per_second=30.0)]
    document = json.loads(as_json({"cores": "2"}, both))
    assert document["machine"] == {"cores": "2"}
    assert [tuple(row) for row in document["measurements"]] == [COLUMNS, COLUMNS]
    assert document["ratios"][0]["median"] == 3.0


def test_both_kinds_take_turns() -> None:
    """On and off alternate; 64 connections are measured three times unless told otherwise."""
    steps = Plan(connections=(1, 64)).steps()
    assert [step.group_commit for step in steps] == ["on", "off"] * 8
    assert [(s.workload.name, s.workload.channels, s.connections) for s in steps[::2]] == [
        ("spread", 100, 1),
        *[("spread", 100, 64)] * 3,
        ("hot", 1, 1),
        *[("hot", 1, 64)] * 3,
    ]
    assert len(Plan(connections=(1, 64), repeats=1, hot=False).steps()) == 4


def test_requests_name_every_channel_and_author() -> None:
    """The first posts make the channels; then the authors take turns, over and over."""
    requests = Workload("x", channels=3, authors=4).requests("run", "127.0.0.1:1")
    bodies = []
    for _ in range(200):
        head, _, body = next(requests).partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}\r\n".encode() in head + b"\r\n"
        bodies.append(json.loads(body))
    channels = {"run-0000", "run-0001", "run-0002"}
    assert {body["channel_id"] for body in bodies[:3]} == channels == {body["channel_id"] for body in bodies}
    assert len({body["author_id"] for body in bodies[3:43]}) == 4
    assert bodies[3:43] == bodies[43:83]


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1_000])
def test_an_answer_is_read_from_pieces_of_any_size(size: int) -> None:
    """However the bytes are cut, the status comes with the last of them, one answer after the other."""
    reader = AnswerReader()
    for _ in range(2):
        pieces = [ANSWER[start : start + size] for start in range(0, len(ANSWER), size)]
        assert [reader.feed(piece) for piece in pieces] == [None] * (len(pieces) - 1) + [201]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"SSH-2.0-x\r\ncontent-length: 0\r\n\r\n",
        ANSWER + b"H",
    ],
)
def test_what_is_no_whole_answer_is_refused(data: bytes) -> None:
    """No length, another protocol, more than was asked for: the reader says so."""
    with pytest.raises(NotReadable):
        AnswerReader().feed(data)


async def test_every_request_is_answered_or_lost() -> None:
    """Given a server that answers 201, then 429, then goes away: two answers, one lost, and the load ends."""
    answers = [ANSWER, b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            assert await reader.readexactly(4) == b"ping"
            writer.write(answer)
        await reader.readexactly(4)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        generator = LoadGenerator(iter([b"ping"] * 3), counted=201)
        await generator.connect("127.0.0.1", server.sockets[0].getsockname()[1], 1)
        tally = await generator.run(30)
    assert (tally.acknowledged, dict(tally.others), tally.lost) == (1, {429: 1}, 1)
    assert 0 < tally.latencies_ns[0] <= tally.elapsed_ns


async def test_a_load_stops_sending_and_waits() -> None:
    """After its time nothing is sent any more, and what is in flight is waited for."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while len(await reader.read(4)) == 4:
            writer.write(ANSWER)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        sent = 0

        def requests() -> Any:
            nonlocal sent
            while True:
                sent += 1
                yield b"ping"

        generator = LoadGenerator(requests(), counted=201)
        await generator.connect("127.0.0.1", server.sockets[0].getsockname()[1], 3)
        first, second = await generator.run(0.05), await generator.run(0.05)
        generator.close()
    assert first.acknowledged > 0
    assert second.acknowledged > 0
    assert sent == first.acknowledged + second.acknowledged
    assert (first.lost, second.lost, first.others.total()) == (0, 0, 0)
