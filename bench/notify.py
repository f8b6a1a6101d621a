"""`maeari bench notify`: from POST to the frame at a socket, fan-outs to a crowd, what an idle socket costs.

Guarantees: everything lies in stores of its own that are gone afterwards; backend and notifier are processes
as users start them; fan-outs by maeari and by a bare `ws` server take turns in one run.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import perf_counter

from backbone.progress import Progress, shown_progress
from backbone.settings import Settings
from bench.crowd import Crowd, room_for_sockets
from bench.failure import MeasurementFailed
from bench.node_server import NodeServer, running_node
from bench.notify_figures import Arrivals, FanOut, Figures, FrameLatency, as_json, fan_out_of, table
from bench.notifying import ANNOUNCED, FOLLOWED, Platform, one_frame_each, running_platform
from bench.report import machine
from bench.scratch import scratch_stores

FAILED = 1
_ANNOUNCEMENTS_AT_MOST = 5


@dataclass(frozen=True)
class Plan:
    """What is measured: so many `sockets`, `rounds` of each fan-out, posts at each of the `rates`."""

    sockets: int = 2_000
    rounds: int = 10
    rates: tuple[int, ...] = (50, 500)
    seconds: float = 10.0
    node: bool = False


async def run(settings: Settings, plan: Plan, json: bool) -> int:
    """Measure; print the table or JSON on stdout. Return the exit code.

    Raises SetupError or Unavailable, whose texts are one line.
    """
    surroundings = _surroundings(settings)
    try:
        with shown_progress() as progress, room_for_sockets(plan.sockets * (2 if plan.node else 1)):
            async with scratch_stores(settings) as stores, running_platform(stores) as platform:
                figures = await _measure(platform, plan, progress)
    except MeasurementFailed as error:
        sys.stderr.write(f"maeari: {error}\n")
        return FAILED
    lines = [as_json(surroundings, figures)] if json else table(surroundings, figures)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


async def _measure(platform: Platform, plan: Plan, progress: Progress) -> Figures:
    progress.step(f"connect {plan.sockets:,} sockets")
    idle_socket_kib = await platform.add_idle(plan.sockets)
    progress.step("make the channels and their members")
    await platform.make_channels()
    event, event_by_node = await _events(platform, plan, progress)
    announcements: list[Arrivals] = []
    frame_bytes = 0
    for number in range(1, min(plan.rounds, _ANNOUNCEMENTS_AT_MOST) + 1):
        progress.step(f"@channel, round {number}")
        arrivals, frame_bytes = await platform.fan_out(ANNOUNCED, ("@channel",))
        announcements.append(arrivals)
    latencies: list[FrameLatency] = []
    for rate in plan.rates:
        progress.step(f"mention {rate} users a second for {plan.seconds:g} s")
        latencies.append(await platform.latency(rate, max(1, round(rate * plan.seconds))))
    return Figures(
        idle_sockets=plan.sockets,
        idle_socket_kib=idle_socket_kib,
        event=event,
        event_by_node=event_by_node,
        announcement=fan_out_of(announcements, frame_bytes),
        latencies=latencies,
    )


async def _events(platform: Platform, plan: Plan, progress: Progress) -> tuple[FanOut, FanOut | None]:
    """Tell the crowd of an event again and again, in turns with Node.js where that is asked for."""
    ours: list[Arrivals] = []
    theirs: list[Arrivals] = []
    frame_bytes = 0
    async with AsyncExitStack() as stack:
        node: tuple[NodeServer, Crowd] | None = None
        if plan.node:
            progress.step("start the server in Node.js")
            server = await stack.enter_async_context(running_node())
            node = server, stack.enter_context(Crowd(server.port))
            node[1].grow([str(number) for number in range(plan.sockets)])
        # The first round of either is not measured: what it loads stays.
        for number in range(plan.rounds + 1):
            progress.step(f"an event to all, round {number} of {plan.rounds}")
            arrivals, frame_bytes = await platform.fan_out(FOLLOWED)
            ours.append(arrivals)
            if node is not None:
                theirs.append(await _fan_out_by_node(*node, frame_bytes))
    by_node = fan_out_of(theirs[1:], frame_bytes) if theirs else None
    return fan_out_of(ours[1:], frame_bytes), by_node


async def _fan_out_by_node(server: NodeServer, crowd: Crowd, frame_bytes: int) -> Sequence[float]:
    async with one_frame_each(crowd) as gathered:
        moment = perf_counter()
        server.send(b"x" * frame_bytes)
        arrivals, _ = await gathered()
    return [arrival - moment for arrival in arrivals]


def _surroundings(settings: Settings) -> dict[str, str]:
    database = "SQLite" if settings.database_url.startswith("sqlite") else "PostgreSQL"
    eventlog = "Kafka" if settings.eventlog_url.startswith("kafka://") else "embedded"
    return machine(database, eventlog, f"{os.cpu_count()}, shared by backend, notifier, sockets and stores")
