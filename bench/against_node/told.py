"""What people and programs read of `maeari bench node`: a table, JSON."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

from bench.against_node.figures import (
    BUS_OFF,
    BUS_ON,
    READ,
    Comparison,
    Figure,
    Spread,
    comparisons,
    within,
)


def as_json(surroundings: dict[str, str], figures: Sequence[Figure]) -> str:
    """Return everything as one JSON object."""
    document: dict[str, Any] = {
        "machine": surroundings,
        "figures": [dataclasses.asdict(figure) for figure in figures],
        "comparisons": [dataclasses.asdict(each) for each in comparisons(figures)],
        "guide": {
            name: {contender: dataclasses.asdict(ratio) for contender, ratio in spreads.items()}
            for name, spreads in _guide(figures).items()
        },
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def table(surroundings: dict[str, str], figures: Sequence[Figure]) -> Iterator[str]:
    """Yield the lines that people read: a subject, and below it a row for each contender."""
    yield from (f"{name}: {value}" for name, value in surroundings.items())
    said = ""
    for each in comparisons(figures):
        if each.what != said:
            said = each.what
            yield ""
            yield f"{said} ({each.unit})"
        yield _row(each)
    for name, spreads in _guide(figures).items():
        yield ""
        yield name
        for contender, ratio in spreads.items():
            yield f"  {contender:<9}{said_spread(ratio, 2)}"


def _guide(figures: Sequence[Figure]) -> dict[str, dict[str, Spread]]:
    found = {
        "guide: posts/s with the event bus to those without": within(figures, BUS_ON, BUS_OFF),
        "guide: posts/s to searches/s": within(figures, BUS_ON, READ),
    }
    return {name: spreads for name, spreads in found.items() if spreads}


def _row(each: Comparison) -> str:
    beside = [
        "" if each.kept_up else "the rate was not reached",
        f"CPU {each.cpu_ms_each:.3f} ms each" if each.cpu_ms_each is not None else "",
        f"{each.instructions_each:,.0f} instructions each" if each.instructions_each is not None else "",
        f"Elasticsearch {each.search_ms_each:.2f} ms each" if each.search_ms_each is not None else "",
    ]
    ratio = "" if each.ratio is None else f"maeari / {each.contender} {said_spread(each.ratio, 2)}"
    cells = ", ".join(filter(None, [ratio, *beside]))
    return f"  {each.contender:<9}{said_spread(each.value, 1):<36}{cells}".rstrip()


def said_spread(spread: Spread, digits: int) -> str:
    """Return median, least and most."""
    median, least, most = (f"{v:,.{digits}f}" for v in (spread.median, spread.least, spread.most))
    return median if spread.values == 1 else f"{median} ({least} to {most})"
