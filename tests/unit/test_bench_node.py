"""What `maeari bench node` computes: turns, ratios, spreads, the table and the page; and what it installs."""

import itertools
import json
import re

import pytest

from bench.against_node.figures import BUS_OFF, BUS_ON, Figure, Spread, comparisons, within
from bench.against_node.instructions import count_in
from bench.against_node.page import page
from bench.against_node.plan import turns
from bench.against_node.questions import QUESTIONS, asked_by_maeari
from bench.against_node.run import SOURCES
from bench.against_node.told import as_json, table
from bench.http_client import LoadGenerator
from bench.workload import Workload, with_keys

POSTS = "POST /messages"


def figure(
    contender: str,
    pair: int,
    value: float,
    what: str = POSTS,
    cpu_ms_each: float | None = None,
    asked_per_second: float | None = None,
) -> Figure:
    return Figure(
        what=what,
        contender=contender,
        pair=pair,
        value=value,
        unit="posts/s",
        counted=100,
        seconds=2.0,
        cpu_ms_each=cpu_ms_each,
        asked_per_second=asked_per_second,
    )


FIGURES = [
    figure("maeari", 1, 900.0, cpu_ms_each=0.4),
    figure("express", 1, 300.0, cpu_ms_each=1.2),
    figure("maeari", 2, 400.0, cpu_ms_each=0.6),
    figure("express", 2, 100.0, cpu_ms_each=1.4),
    figure("maeari", 3, 1_000.0, cpu_ms_each=0.5),
]


def test_contenders_take_turns() -> None:
    """A B A B, pair by pair."""
    assert list(turns(2, ["maeari", "express"])) == [
        (1, "maeari"),
        (1, "express"),
        (2, "maeari"),
        (2, "express"),
    ]


def test_ratios_are_of_neighbours() -> None:
    """Each whole pair gives a ratio, maeari's to the other's; half a pair gives none."""
    ours, theirs = comparisons(FIGURES)
    assert (ours.ratio, ours.value) == (None, Spread(900.0, 400.0, 1_000.0, 3))
    assert (theirs.ratio, theirs.value) == (Spread(3.5, 3.0, 4.0, 2), Spread(200.0, 100.0, 300.0, 2))
    assert theirs.cpu_ms_each == pytest.approx(1.3)


def test_subjects_stay_together() -> None:
    """However they were measured in turns, what belongs together is told together."""
    mixed = [figure(who, 1, 1.0, what) for who in ("maeari", "express") for what in ("p50", "p99")]
    assert [(each.what, each.contender) for each in comparisons(mixed)] == [
        ("p50", "maeari"),
        ("p50", "express"),
        ("p99", "maeari"),
        ("p99", "express"),
    ]


def test_a_contender_is_compared_with_itself() -> None:
    """With the event bus to without it, pair by pair, each contender for itself."""
    figures = [figure("express", 1, 300.0, BUS_ON), figure("express", 1, 600.0, BUS_OFF)]
    assert within(figures, BUS_ON, BUS_OFF) == {"express": Spread(0.5, 0.5, 0.5, 1)}


def test_a_rate_that_was_not_reached_is_told() -> None:
    """A hundred in two seconds are not sixty a second."""
    slow = figure("maeari", 1, 30.0, asked_per_second=60.0)
    assert (slow.kept_up, figure("maeari", 1, 30.0, asked_per_second=50.0).kept_up) == (False, True)
    assert "the rate was not reached" in "\n".join(table({}, [slow]))


def test_people_and_programs_read_the_same() -> None:
    """Table, JSON and page have medians, spreads and ratios."""
    assert "maeari / express 3.50 (3.00 to 4.00), CPU 1.300 ms each" in "\n".join(table({}, FIGURES))
    document = json.loads(as_json({"system": "Linux"}, FIGURES))
    assert document["comparisons"][1]["ratio"]["median"] == 3.5
    assert len(document["figures"]) == len(FIGURES)
    drawn = page({"system": "<Linux>"}, FIGURES)
    assert "&lt;Linux&gt;" in drawn
    assert drawn.count("<rect") == 2
    assert "ratio 3.50 (3.00 to 4.00)" in drawn


def test_the_lock_file_names_no_host() -> None:
    """Which registry is asked is for npm's own settings; what comes is held to the hashes."""
    text = (SOURCES / "package-lock.json").read_text(encoding="utf-8")
    assert not re.search(r"://|\"resolved\"", text)
    packages = {name: each for name, each in json.loads(text)["packages"].items() if name}
    assert all(each["integrity"].startswith("sha512-") for each in packages.values())
    wanted = json.loads((SOURCES / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert {f"node_modules/{name}" for name in wanted} <= packages.keys()


@pytest.mark.parametrize("question", QUESTIONS)
def test_both_sides_can_be_asked_the_same(question: str) -> None:
    """The question is the whole one: rights, every form of the word, marks."""
    body = asked_by_maeari(question)
    assert "private-19" in json.dumps(body["query"]["bool"]["filter"])
    words = json.dumps(body["query"]["bool"]["must"], ensure_ascii=False)
    assert question in words
    assert words.count("query") > 1
    assert body["highlight"]["highlight_query"] == {"bool": {"must": body["query"]["bool"]["must"]}}


def test_every_post_has_a_key_of_its_own() -> None:
    """Also where the load repeats its requests; the rest stays as it was."""
    bare = Workload("spread", 1, 1).requests("run", "host")
    keyed = list(itertools.islice(with_keys(bare, "run"), 30))
    keys = {re.search(rb"\r\nIdempotency-Key: (run-\d+)\r\n", request)[1] for request in keyed}  # type: ignore[index]
    assert len(keys) == 30
    assert all(request.startswith(b"POST /messages HTTP/1.1\r\n") for request in keyed)


async def test_a_load_ends_with_its_requests() -> None:
    """Where there is nothing more to send, nobody waits for the end of the time."""
    generator = LoadGenerator(iter(()), counted=201)
    assert (await generator.run(60)).acknowledged == 0
    generator.close()


def test_instructions_are_read_where_they_are_counted() -> None:
    """What `perf stat` says with commas, and what it says where nothing is counted."""
    assert count_in("123456,,instructions:u,1000,100.00,,\n") == 123456
    assert count_in("<not supported>,,instructions:u,0,100.00,,\n") is None
    assert count_in("Error: no permission\n") is None
