"""What people and programs read of `maeari bench node`: a table, JSON."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

from bench.against_node.figures import Comparison, Figure, Spread, comparisons


def as_json(surroundings: dict[str, str], figures: Sequence[Figure]) -> str:
    """Return everything as one JSON object."""
    document: dict[str, Any] = {
        "machine": surroundings,
        "figures": [dataclasses.asdict(figure) for figure in figures],
        "comparisons": [dataclasses.asdict(each) for each in comparisons(figures)],
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


def _row(each: Comparison) -> str:
    beside = [
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
