"""The figures of `maeari bench notify`, and what people and programs read of them."""

import dataclasses
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.figures import percentile

Arrivals = Sequence[float]
"""When a frame came to each socket, in seconds after the moment at which it was sent for."""


@dataclass(frozen=True, kw_only=True)
class FrameLatency:
    """From the moment of a POST that mentions someone to the frame at their socket.

    `achieved_per_second` is how fast the posts were answered: well below the rate asked for, the machine
    could not keep up, and the times are those of a queue.
    """

    posts: int
    posts_per_second: float
    achieved_per_second: float
    p50_ms: float
    p99_ms: float
    longest_ms: float


@dataclass(frozen=True, kw_only=True)
class FanOut:
    """One frame to many sockets: milliseconds to the first and to the last, and between the two, by round."""

    sockets: int
    frame_bytes: int
    first_ms: list[float]
    last_ms: list[float]
    spread_ms: list[float]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """All that was measured; what could not be is None."""

    idle_sockets: int
    idle_socket_kib: float | None
    event: FanOut
    event_by_node: FanOut | None
    announcement: FanOut
    latencies: list[FrameLatency]

    def node_ratios(self) -> list[float]:
        """Return how long a fan-out takes from first to last, to that of Node.js, round by round."""
        if self.event_by_node is None:
            return []
        both = zip(self.event.spread_ms, self.event_by_node.spread_ms, strict=True)
        return [round(ours / theirs, 3) for ours, theirs in both if theirs]


def fan_out_of(rounds: Sequence[Arrivals], frame_bytes: int) -> FanOut:
    """Return the figures of rounds in each of which the same sockets got a frame."""
    return FanOut(
        sockets=len(rounds[0]),
        frame_bytes=frame_bytes,
        first_ms=[_ms(min(each)) for each in rounds],
        last_ms=[_ms(max(each)) for each in rounds],
        spread_ms=[_ms(max(each) - min(each)) for each in rounds],
    )


def latency_of(lags_s: Sequence[float], posts_per_second: float, answered_in_s: float) -> FrameLatency:
    """Return the figures of lags in seconds."""
    ascending = sorted(round(lag_s * 1e6) for lag_s in lags_s)
    p50_us, p99_us, longest_us = (percentile(ascending, percent) for percent in (50, 99, 100))
    return FrameLatency(
        posts=len(ascending),
        posts_per_second=posts_per_second,
        achieved_per_second=round(len(ascending) / answered_in_s, 1),
        p50_ms=p50_us / 1000,
        p99_ms=p99_us / 1000,
        longest_ms=longest_us / 1000,
    )


def as_json(surroundings: dict[str, str], figures: Figures) -> str:
    """Return everything as one JSON object."""
    document: dict[str, Any] = {
        "machine": surroundings,
        **dataclasses.asdict(figures),
        "node_ratios": figures.node_ratios(),
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def table(surroundings: dict[str, str], figures: Figures) -> Iterator[str]:
    """Yield the lines that people read."""
    yield from (f"{name}: {value}" for name, value in surroundings.items())
    yield ""
    if figures.idle_socket_kib is not None:
        yield f"an idle socket: {figures.idle_socket_kib:.1f} KiB (of {figures.idle_sockets:,})"
    yield ""
    yield f"{'one frame to all':<18}{'sockets':>8}{'first ms':>16}{'last ms':>18}{'first to last':>18}"
    yield _row("channel event", figures.event)
    if figures.event_by_node is not None:
        yield _row("bare ws, Node.js", figures.event_by_node)
    yield _row("@channel", figures.announcement)
    if ratios := figures.node_ratios():
        yield (
            f"first to last, maeari to Node.js: {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}, rounds: {len(ratios)})"
        )
    yield ""
    for each in figures.latencies:
        yield (
            f"from POST to frame, {each.posts:,} posts, {each.posts_per_second:g} a second: "
            f"p50 {each.p50_ms:,.0f} ms, p99 {each.p99_ms:,.0f} ms, longest {each.longest_ms:,.0f} ms"
        )
        if each.achieved_per_second < 0.9 * each.posts_per_second:
            yield f"  only {each.achieved_per_second:g} a second were answered: the machine could not keep up"


def _row(name: str, fan_out: FanOut) -> str:
    columns = (fan_out.first_ms, fan_out.last_ms, fan_out.spread_ms)
    return f"{name:<18}{fan_out.sockets:>8,}" + "".join(
        f"{_span(values):>{width}}" for values, width in zip(columns, (16, 18, 18), strict=True)
    )


def _span(values: Sequence[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
