"""The loads that are measured: who posts what into which channels, as bytes that are ready to be sent."""

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

# How many different requests a load repeats: each has an author and a channel of its own.
_REQUESTS_AN_AUTHOR = 10
_CONTENT = (
    "배포를 완료했습니다: build {number} of the release branch is out, 다음 회의는 목요일 오후 3시입니다."
)


@dataclass(frozen=True)
class Workload:
    """So many authors who post into so many channels."""

    name: str
    channels: int
    authors: int

    def channel_ids(self, run: str) -> list[str]:
        """Return the channels of one measurement, which no other uses."""
        return [f"{run}-{number:04}" for number in range(self.channels)]

    def requests(self, run: str, host: str) -> Iterator[bytes]:
        """Return requests without an end; the authors take turns, and in the long run the channels do."""
        chosen = random.Random(run)
        channel_ids = self.channel_ids(run)
        turns = [number % self.authors for number in range(self.authors * _REQUESTS_AN_AUTHOR)]
        chosen.shuffle(turns)
        posts = (
            post_request(host, chosen.choice(channel_ids), f"author-{author:05}", number)
            for number, author in enumerate(turns)
        )
        # The first posts make the channels, so that the load itself finds all of them.
        makers = [
            post_request(host, channel_id, f"author-{number % self.authors:05}", number)
            for number, channel_id in enumerate(channel_ids)
        ]
        return itertools.chain(makers, itertools.cycle(list(posts)))


def post_request(host: str, channel_id: str, author_id: str, number: int) -> bytes:
    """Return the bytes of a `POST /messages`."""
    body = json.dumps(
        {"channel_id": channel_id, "author_id": author_id, "content": _CONTENT.format(number=number)},
        ensure_ascii=False,
    ).encode()
    head = (
        f"POST /messages HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def with_keys(requests: Iterator[bytes], run: str) -> Iterator[bytes]:
    """Yield the requests, each with an `Idempotency-Key` of its own."""
    for number, request in enumerate(requests):
        line, _, rest = request.partition(b"\r\n")
        yield b"%b\r\nIdempotency-Key: %b-%d\r\n%b" % (line, run.encode(), number, rest)
