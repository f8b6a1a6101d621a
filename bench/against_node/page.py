"""The plots of `maeari bench node`: one page of HTML, drawn by itself, that loads nothing from elsewhere."""

from collections.abc import Iterator, Sequence
from html import escape

from bench.against_node.figures import Comparison, Figure, comparisons
from bench.against_node.told import said_spread

# The longest bar leaves room for what is said behind it.
_WIDTH, _NAME, _BAR, _ROW = 1_000, 90, 440, 26
_COLOURS = {"maeari": "#2f6f4f"}
_OTHERS = "#8a8f98"
_HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>maeari and Node.js</title>
<style>body{font:15px/1.4 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h2{font-size:1rem;margin:2rem 0 .3rem}svg{width:100%;height:auto}text{font-size:13px}
dt{float:left;clear:left;width:14rem;color:#555}</style>
<h1>maeari and Node.js, in turns on the same servers</h1>
<p>Bars are medians, the thin line goes from the least to the most; ratios are maeari's to its neighbour
of the same pair.</p>
"""


def page(surroundings: dict[str, str], figures: Sequence[Figure]) -> str:
    """Return the whole page."""
    return "".join([_HEAD, *_machine(surroundings), *_plots(list(comparisons(figures))), "</html>\n"])


def _machine(surroundings: dict[str, str]) -> Iterator[str]:
    yield "<dl>"
    yield from (f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in surroundings.items())
    yield "</dl>\n"


def _plots(found: Sequence[Comparison]) -> Iterator[str]:
    for what in dict.fromkeys(each.what for each in found):
        bars = [each for each in found if each.what == what]
        yield f"<h2>{escape(what)}, {escape(bars[0].unit)}</h2>\n"
        yield f'<svg viewBox="0 0 {_WIDTH} {_ROW * len(bars)}" role="img">\n'
        most = max(each.value.most for each in bars) or 1.0
        for number, each in enumerate(bars):
            yield _bar(each, number * _ROW, most)
        yield "</svg>\n"


def _bar(each: Comparison, top: int, most: float) -> str:
    """Draw one contender: its name, its bar, and what is said of it."""
    scale = _BAR / most
    colour = _COLOURS.get(each.contender, _OTHERS)
    least, median, highest = (_NAME + value * scale for value in _three(each))
    middle = top + _ROW // 2
    said = said_spread(each.value, 1)
    if each.ratio is not None:
        said += f" · ratio {said_spread(each.ratio, 2)}"
    return (
        f'<text x="0" y="{middle + 5}">{escape(each.contender)}</text>'
        f'<rect x="{_NAME}" y="{top + 4}" width="{median - _NAME:.1f}" height="{_ROW - 8}" fill="{colour}"/>'
        f'<line x1="{least:.1f}" x2="{highest:.1f}" y1="{middle}" y2="{middle}" stroke="#222"/>'
        f'<text x="{highest + 8:.1f}" y="{middle + 5}">{escape(said)}</text>\n'
    )


def _three(each: Comparison) -> tuple[float, float, float]:
    return each.value.least, each.value.median, each.value.most
