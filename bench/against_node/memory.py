"""How much memory the processes of a contender hold: backend, indexer and notifier together.

Guarantees: idle means ready, before the first post; afterwards all posts are stored, told and indexed.
"""

import asyncio
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from bench.against_node.contenders import Contender
from bench.against_node.elastic import opened_elastic
from bench.against_node.figures import Figure
from bench.against_node.ledger import Ledger
from bench.against_node.loads import POSTS
from bench.against_node.searchable import send, until_indexed
from bench.cores import Cores
from bench.failure import MeasurementFailed
from bench.indexing import fresh_index
from bench.server import HOST, RunningService
from bench.workload import with_keys

_SETTLED_S = 3.0
_CONNECTIONS = 64
_INDEXED_WITHIN_S = 1_800.0
_LINE = re.compile(r"^(Rss|Pss):\s+([0-9]+) kB$", re.MULTILINE)


async def memory(contender: Contender, ledger: Ledger, posts: int, cores: Cores) -> list[Figure]:
    """Measure RSS and PSS, idle and after so many posts. Raises MeasurementFailed."""
    async with (
        fresh_index(contender.stores),
        opened_elastic(contender.stores) as elastic,
        contender.backend(cores.server) as backend,
        contender.indexer(cores.server) as indexer,
        contender.notifier(cores.server) as (notifier, _),
    ):
        processes = (backend, indexer, notifier)
        await asyncio.sleep(_SETTLED_S)
        figures = list(_figures("idle", contender.name, processes, 0))
        requests = POSTS.requests(contender.name, f"{HOST}:{backend.port}")
        await send(backend, islice(with_keys(requests, contender.name), posts), posts, _CONNECTIONS)
        await ledger.require(posts)
        await until_indexed(elastic, posts, _INDEXED_WITHIN_S)
        await asyncio.sleep(_SETTLED_S)
        figures += _figures(f"after {posts:,} posts", contender.name, processes, posts)
    return figures


def _figures(when: str, contender: str, processes: Sequence[RunningService], posts: int) -> Iterator[Figure]:
    found = [held_kib(process.process.pid) for process in processes]
    for name in ("Rss", "Pss"):
        mib = round(sum(each[name] for each in found) / 1024, 1)
        yield Figure(
            what=f"memory, {name.upper()}, {when}",
            contender=contender,
            pair=1,
            value=mib,
            unit="MiB",
            counted=posts,
        )


def held_kib(pid: int) -> dict[str, int]:
    """Return `Rss` and `Pss` of a process, in KiB; its part of what it shares counts in the latter alone."""
    try:
        said = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError as error:
        raise MeasurementFailed(
            f"this system does not tell what a process holds: {error.strerror}"
        ) from error
    return {name: int(kib) for name, kib in _LINE.findall(said)}
