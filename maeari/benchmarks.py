"""`maeari bench …`: measurements, each in stores of its own that are gone afterwards."""

import time
from pathlib import Path

import click

from bench.against_node.plan import SUBJECTS
from bench.against_node.plan import Plan as NodePlan
from maeari.process import run_work, settings_or_exit

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def bench() -> None:
    """Measurements, on scratch stores beside those of the settings."""


@bench.command("write")
@click.option(
    "--connections",
    default="1,16,64,256",
    show_default=True,
    callback=lambda _context, _option, value: _numbers(value),
    help="Numbers of connections, each with one request in flight.",
)
@click.option("--seconds", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Of each load.")
@click.option(
    "--repeats",
    type=click.IntRange(1),
    help="Pairs with and without group commit.  [default: 3 at 64 connections, else 1]",
)
@click.option("--channels", type=click.IntRange(1), default=100, show_default=True)
@click.option("--authors", type=click.IntRange(1), default=1_000, show_default=True)
@click.option("--hot/--no-hot", default=True, help="Also the load of all authors on one channel.")
@click.option(
    "--csv",
    type=_FILE,
    help="Where the figures are written.  [default: bench-results/write-TIME.csv]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
def bench_write(
    connections: tuple[int, ...],
    seconds: float,
    repeats: int | None,
    channels: int,
    authors: int,
    hot: bool,
    csv: Path | None,
    as_json: bool,
) -> None:
    """Measure acknowledged posts, with group commit and without, in turns."""
    from bench.write import Plan, run  # noqa: PLC0415

    settings = settings_or_exit()
    plan = Plan(connections, seconds, repeats, channels, authors, hot)
    path = csv or Path("bench-results") / f"write-{_now()}.csv"
    run_work(settings, lambda: run(settings, plan, path, as_json))


@bench.command("index")
@click.option("--messages", type=click.IntRange(10), default=20_000, show_default=True, help="The backlog.")
@click.option(
    "--one-by-one",
    type=click.IntRange(2),
    default=2_000,
    show_default=True,
    help="How many of them the indexer reads that awaits a request for each.",
)
@click.option("--pairs", type=click.IntRange(1), default=3, show_default=True, help="Runs of each.")
@click.option(
    "--rate", type=click.FloatRange(1, 500), default=50.0, show_default=True, help="Posts a second."
)
@click.option("--seconds", type=click.FloatRange(0.1), default=20.0, show_default=True, help="Of posting.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
def bench_index(
    messages: int, one_by_one: int, pairs: int, rate: float, seconds: float, as_json: bool
) -> None:
    """Measure the indexer, in bulk and one by one in turns, and the lag from POST to searchable."""
    from bench.index import Plan, run  # noqa: PLC0415

    settings = settings_or_exit()
    plan = Plan(messages, min(one_by_one, messages), pairs, rate, seconds)
    run_work(settings, lambda: run(settings, plan, as_json))


@bench.command("notify")
@click.option("--sockets", type=click.IntRange(1, 3_000), default=2_000, show_default=True, help="The crowd.")
@click.option("--rounds", type=click.IntRange(1), default=10, show_default=True, help="Of each fan-out.")
@click.option(
    "--rates",
    default="50,500",
    show_default=True,
    callback=lambda _context, _option, value: _numbers(value),
    help="Mentions a second.",
)
@click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Of each rate.")
@click.option("--node", is_flag=True, help="Compare with a bare `ws` server: needs Node.js and npm.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
def bench_notify(
    sockets: int, rounds: int, rates: tuple[int, ...], seconds: float, node: bool, as_json: bool
) -> None:
    """Measure from POST to the frame at a socket, fan-outs to a crowd, and what an idle socket costs."""
    from bench.notify import Plan, run  # noqa: PLC0415

    settings = settings_or_exit()
    plan = Plan(sockets, rounds, rates, seconds, node)
    run_work(settings, lambda: run(settings, plan, as_json))


@bench.command("rebuild")
@click.option(
    "--messages",
    default="10000,100000",
    show_default=True,
    callback=lambda _context, _option, value: _numbers(value, 10_000_000),
    help="Sizes of the log.",
)
@click.option("--pairs", type=click.IntRange(1), default=5, show_default=True, help="Of reading and folding.")
@click.option(
    "--only",
    "targets",
    type=click.Choice(["search", "database", "notifications"]),
    multiple=True,
    help="Rebuild this target; may be repeated.  [default: all]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
def bench_rebuild(messages: tuple[int, ...], pairs: int, targets: tuple[str, ...], as_json: bool) -> None:
    """Measure rebuilds of each store from each source, beside reading with nothing done."""
    from bench.rebuild import TARGETS, Plan, run  # noqa: PLC0415

    settings = settings_or_exit()
    run_work(settings, lambda: run(settings, Plan(messages, pairs, targets or TARGETS), as_json))


@bench.command("node")
@click.option("--pairs", type=click.IntRange(1), default=5, show_default=True, help="Turns of each.")
@click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Of each load.")
@click.option("--connections", type=click.IntRange(1, 1_000), default=64, show_default=True, help="Of posts.")
@click.option("--backlog", type=click.IntRange(10), default=50_000, show_default=True, help="To index.")
@click.option("--states", type=click.IntRange(10), default=200_000, show_default=True, help="To fold.")
@click.option(
    "--posts", type=click.IntRange(100), default=100_000, show_default=True, help="Between looks at memory."
)
@click.option(
    "--documents", type=click.IntRange(300), default=10_000, show_default=True, help="To search among."
)
@click.option("--only", type=click.Choice(SUBJECTS), multiple=True, help="May be repeated.  [default: all]")
@click.option("--csv", type=_FILE, help="Where each figure goes.  [default: bench/results/node-TIME.csv]")
@click.option("--html", type=_FILE, help="Where the plots go.  [default: beside the CSV]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
def bench_node(
    pairs: int,
    seconds: float,
    connections: int,
    backlog: int,
    states: int,
    posts: int,
    documents: int,
    only: tuple[str, ...],
    csv: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Measure maeari and the guide in Node.js in turns, on the same servers: needs Node.js and npm."""
    from bench.against_node.command import Files, run  # noqa: PLC0415

    settings = settings_or_exit()
    plan = NodePlan(
        pairs=pairs,
        seconds=seconds,
        connections=connections,
        backlog=backlog,
        states=states,
        posts=posts,
        documents=documents,
        subjects=only or SUBJECTS,
    )
    path = csv or Path("bench", "results") / f"node-{_now()}.csv"
    run_work(settings, lambda: run(settings, plan, Files(path, html or path.with_suffix(".html")), as_json))


@bench.command("growth")
@click.option(
    "--messages",
    default="1000,10000,100000",
    show_default=True,
    callback=lambda _context, _option, value: _numbers(value, 10_000_000),
    help="Sizes.",
)
@click.option(
    "--channels",
    default="1,10000",
    show_default=True,
    callback=lambda _context, _option, value: _numbers(value, 100_000),
    help="Over so many channels.",
)
@click.option("--requests", type=click.IntRange(1), default=50, show_default=True, help="Of each route.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
def bench_growth(messages: tuple[int, ...], channels: tuple[int, ...], requests: int, as_json: bool) -> None:
    """Measure how the cost of each route and process grows with the messages."""
    from bench.growth import Plan, run  # noqa: PLC0415

    settings = settings_or_exit()
    run_work(settings, lambda: run(settings, Plan(messages, channels, requests), as_json))


def _now() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def _numbers(text: str, most: int = 10_000) -> tuple[int, ...]:
    numbers = tuple(int(number) for number in text.split(",") if number.strip().isdecimal())
    if len(numbers) != text.count(",") + 1 or not all(1 <= number <= most for number in numbers):
        raise click.BadParameter(f"{text!r} is not a list of numbers from 1 to {most}, with commas between")
    return numbers
