"""The figures of `maeari bench growth`: what each thing costs at each size, and how fast that grows."""

import json
import math
from collections.abc import Iterator, Sequence

import msgspec


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one thing cost in stores of one size: a request of a route, or a message of a process.

    `layout` says over how many channels the messages lie; `each_ms` is a median for requests, and for
    processes their whole time over the number of messages.
    """

    kind: str
    what: str
    layout: str
    messages: int
    each_ms: float


def exponent(costs: Sequence[Cost]) -> float | None:
    """Return by which power of the size the whole grows, of the least squares; None of one size.

    1 is in proportion: a request, or a message, costs the same at every size. n log n over two powers of ten
    and more is below 1.2.
    """
    points = [(math.log(each.messages), math.log(each.messages * each.each_ms)) for each in costs]
    if len({x for x, _ in points}) < 2:
        return None
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    over = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return over / sum((x - mean_x) ** 2 for x, _ in points)


def as_json(surroundings: dict[str, str], costs: Sequence[Cost]) -> str:
    """Return everything as one JSON object."""
    exponents = [
        {"what": what, "layout": layout, "exponent": exponent(alike)} for what, layout, alike in _alike(costs)
    ]
    document = {"surroundings": surroundings, "costs": msgspec.to_builtins(costs), "exponents": exponents}
    return json.dumps(document, ensure_ascii=False, indent=2)


def table(surroundings: dict[str, str], costs: Sequence[Cost]) -> Iterator[str]:
    """Yield lines for people: a row for each thing and layout, a column for each size, ms each."""
    yield from (f"{name}: {value}" for name, value in surroundings.items())
    sizes = sorted({each.messages for each in costs})
    yield ""
    yield f"{'ms each':<44}{'channels':<10}" + "".join(f"{size:>12,}" for size in sizes) + f"{'exponent':>10}"
    for what, layout, alike in _alike(costs):
        at = {each.messages: each.each_ms for each in alike}
        cells = "".join(f"{at[size]:>12.3f}" if size in at else f"{'':>12}" for size in sizes)
        grows = exponent(alike)
        yield f"{what:<44}{layout:<10}{cells}" + ("" if grows is None else f"{grows:>10.2f}")


def _alike(costs: Sequence[Cost]) -> Iterator[tuple[str, str, Sequence[Cost]]]:
    for what, layout in dict.fromkeys((each.what, each.layout) for each in costs):
        yield what, layout, [each for each in costs if (each.what, each.layout) == (what, layout)]
