"""A command of maeari with one part taken out: `python -m bench.against_node.variant VARIANT COMMAND`.

`plain-match` asks the index as the guide does, one `match` on the content, without rights, readings of words
and marks; `no-relay` leaves the outbox unread, so that no event is told to the log. The rest is as it is.
"""

import asyncio
import runpy
import sys
from collections.abc import Iterable
from typing import Any

from backbone.search import Rights, SearchQuery
from backbone.search.elasticsearch import searching
from backend import service

PLAIN_MATCH, NO_RELAY = "plain-match", "no-relay"


def plain_match(query: SearchQuery, _rights: Rights) -> dict[str, Any]:
    """Stand for the query of the product."""
    return {"match": {"content": " ".join(query.words)}}


class NoRelay:
    """Stands for the relay, and does nothing."""

    def __init__(self, *_ports: object) -> None:
        pass

    def wake(self, shards: Iterable[int]) -> None:
        """See LaneRelay."""

    async def run(self, stop: asyncio.Event) -> None:
        """Wait for the end."""
        await stop.wait()


def main(variant: str, command: str) -> None:
    """Run the command."""
    if variant == PLAIN_MATCH:
        vars(searching)["bool_query"] = plain_match
    else:
        vars(service)["LaneRelay"] = NoRelay
    sys.argv = ["maeari", command]
    runpy.run_module("maeari", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
