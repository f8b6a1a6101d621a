"""The measuring itself: each subject on empty stores of its own, the contenders in turns.

Guarantees: stores and copies of programs are gone afterwards, on an error and on Ctrl-C as well; every figure
is written down as it comes.
"""

import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from backbone.progress import Progress
from backbone.settings import Settings
from bench.against_node import consuming
from bench.against_node.contenders import EXPRESS, FASTIFY, Contender, Maeari, Node, Question
from bench.against_node.figures import BUS_OFF, BUS_ON, MAEARI, READ, Figure
from bench.against_node.ledger import Ledger, opened_ledger
from bench.against_node.loads import Load, Track, latencies, posts, searches
from bench.against_node.memory import memory
from bench.against_node.plan import Plan, at_rate, turns
from bench.against_node.searchable import searchable
from bench.backlog import tell_backlog
from bench.npm import NodeFolder
from bench.rebuild_log import tell_log
from bench.scratch import scratch_stores

SOURCES = Path(__file__).parent.parent / "node_reference"
POSTS = "POST /messages"
AT_FIXED_RATE = "POST /messages, p99 at half of express's maximum"
AS_THEY_ARE: tuple[str, Question] = ("GET /messages/search, each as it is", "own")
SAME: tuple[str, Question] = ("GET /messages/search, maeari's question in both", "maeari's")
PLAIN: tuple[str, Question] = ("GET /messages/search, plain match in both", "match")


@dataclass
class Measuring:
    """One run of the command."""

    settings: Settings
    plan: Plan
    folder: NodeFolder
    track: Track
    progress: Progress
    write_down: Callable[[Figure], None]
    express_maximum: float | None = None

    async def run(self) -> None:
        """Measure the subjects of the plan. Raises MeasurementFailed, SetupError or Unavailable."""
        subjects: dict[str, Callable[[], Awaitable[None]]] = {
            "posts": self._posts,
            "latency": self._latency,
            "search": self._search,
            "indexing": self._indexing,
            "notifications": self._notifications,
            "fold": self._fold,
            "memory": self._memory,
            "guide": self._guide,
        }
        for subject in self.plan.subjects:
            await subjects[subject]()

    async def _posts(self) -> None:
        plan = self.plan
        of_express = []
        async with self._contest(EXPRESS, FASTIFY) as contest:
            for pair, (contender, ledger) in turns(plan.pairs, contest):
                self._step(pair, contender.name, POSTS)
                load = Load(POSTS, pair, plan.connections, plan.seconds)
                figure = await posts(load, contender, ledger, self.track)
                self.write_down(figure)
                if contender.name == EXPRESS:
                    of_express.append(figure.value)
        self.express_maximum = statistics.median(of_express)

    async def _latency(self) -> None:
        plan = self.plan
        async with self._contest(EXPRESS, FASTIFY) as contest:
            if self.express_maximum is None:
                self.progress.step("what express can do at most")
                load = Load(POSTS, 0, plan.connections, plan.seconds)
                self.express_maximum = (await posts(load, *contest[1], self.track)).value
            rate = self.express_maximum / 2
            for pair, (contender, ledger) in turns(plan.pairs, contest):
                self._step(pair, contender.name, f"{rate:.0f} posts a second")
                load = Load(AT_FIXED_RATE, pair, plan.connections, plan.seconds)
                self.write_down(await latencies(load, rate, contender, ledger, self.track))

    async def _search(self) -> None:
        await self._searches((AS_THEY_ARE, SAME, PLAIN), (EXPRESS, FASTIFY))

    async def _searches(self, kinds: Sequence[tuple[str, Question]], nodes: Sequence[str]) -> None:
        """All search one index: the same documents under the same mapping, the same words."""
        plan = self.plan
        async with scratch_stores(self.settings) as stores:
            maeari = Maeari(stores)
            contenders: list[Contender] = [maeari]
            contenders += [Node(name, stores, self.folder) for name in nodes]
            self.progress.step(f"make an index of {plan.documents:,} messages")
            async with searchable(maeari, plan.documents, self.track.cores) as elastic:
                for pair, ((what, question), contender) in turns(
                    plan.pairs, tuple(product(kinds, contenders))
                ):
                    self._step(pair, contender.name, what)
                    load = Load(what, pair, plan.search_connections, plan.seconds)
                    self.write_down(await searches(load, contender, elastic, self.track, question=question))

    async def _indexing(self) -> None:
        plan, cores = self.plan, self.track.cores
        async with scratch_stores(self.settings) as stores, consuming.opened_log(stores) as eventlog:
            self.progress.step(f"tell the log of {plan.backlog:,} messages")
            await tell_backlog(eventlog, plan.backlog)
            for pair in range(1, plan.pairs + 1):
                node = Node("node", stores, self.folder)
                self._step(pair, MAEARI, "indexing")
                self.write_down(
                    await consuming.indexed_by_maeari(stores, eventlog, pair, plan.backlog, cores)
                )
                self._step(pair, node.name, "indexing")
                self.write_down(await consuming.indexed_by_node(node, pair, plan.backlog, cores))

    async def _notifications(self) -> None:
        plan = self.plan
        async with self._contest(EXPRESS) as contest:
            for pair, (contender, ledger) in turns(plan.pairs, contest):
                self._step(pair, contender.name, "notifications")
                figures = await consuming.told(
                    contender, pair, plan.mentions_per_second, plan.seconds, self.track.cores
                )
                await ledger.require(sum(at_rate(plan.mentions_per_second, plan.seconds)))
                for figure in figures:
                    self.write_down(figure)

    async def _fold(self) -> None:
        plan, cores = self.plan, self.track.cores
        async with scratch_stores(self.settings) as stores:
            node = Node("node", stores, self.folder)
            self.progress.step(f"tell the log of {plan.states:,} states")
            async with consuming.opened_log(stores) as eventlog:
                await tell_log(eventlog, plan.states)
            for pair in range(1, plan.pairs + 1):
                for what, kind in ((consuming.FOLDED, "fold"), (consuming.FOLDED_WHOLE, "states")):
                    self._step(pair, MAEARI, what)
                    self.write_down(
                        await consuming.folded_by_maeari(stores, kind, what, pair, plan.states, cores)
                    )
                    self._step(pair, node.name, what)
                    self.write_down(await consuming.folded_by_node(node, what, pair, plan.states, cores))

    async def _memory(self) -> None:
        async with self._contest(EXPRESS) as contest:
            for _, (contender, ledger) in turns(1, contest):
                self._step(1, contender.name, f"memory, {self.plan.posts:,} posts")
                for figure in await memory(contender, ledger, self.plan.posts, self.track.cores):
                    self.write_down(figure)

    async def _guide(self) -> None:
        """The guide's own comparisons: writes with events told to those without, and to reads."""
        plan = self.plan
        async with self._contest(EXPRESS) as with_bus, self._contest(EXPRESS) as without:
            kinds = [(BUS_ON, True, *each) for each in with_bus] + [
                (BUS_OFF, False, *each) for each in without
            ]
            for pair, (what, bus, contender, ledger) in turns(plan.pairs, kinds):
                self._step(pair, contender.name, what)
                load = Load(what, pair, plan.connections, plan.seconds)
                self.write_down(await posts(load, contender, ledger, self.track, bus=bus))
        await self._searches(((READ, "own"),), (EXPRESS,))

    def _step(self, pair: int, name: str, what: str) -> None:
        self.progress.step(f"pair {pair} of {self.plan.pairs}: {name}, {what}")

    @asynccontextmanager
    async def _contest(self, *nodes: str) -> AsyncIterator[Sequence[tuple[Contender, Ledger]]]:
        """Give maeari and these Node.js servers, each with empty stores and a ledger of them."""
        async with AsyncExitStack() as stack:
            contest: list[tuple[Contender, Ledger]] = []
            for name in (MAEARI, *nodes):
                stores = await stack.enter_async_context(scratch_stores(self.settings))
                contender = Maeari(stores) if name == MAEARI else Node(name, stores, self.folder)
                contest.append((contender, await stack.enter_async_context(opened_ledger(contender))))
            yield contest
