"""Every route that reads or writes messages, asked again and again of a backend that holds many."""

import http.client
import json
import statistics
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote

from bench.backlog import channel_of
from bench.failure import MeasurementFailed
from bench.server import HOST

_WARM_UP = 5
_USER = "author-0001"


class Route(NamedTuple):
    """A request, under the name of its route; `body` is JSON where there is one."""

    name: str
    method: str
    path: str
    body: Mapping[str, object] | None = None


def routes(message_id: str, channels: int, messages: int, number: int) -> Iterator[Route]:
    """Yield what is asked each time; `message_id` is a message that is there, the author's own."""
    channel = channel_of(number % channels)
    middle = max(1, messages // channels // 2)
    post = {"channel_id": channel, "content": f"growth {number}"}
    reply = {**post, "channel_id": channel_of(0), "parent_id": message_id}
    yield Route("POST /messages", "POST", "/messages", post)
    yield Route("POST /messages, a reply", "POST", "/messages", reply)
    yield Route("PATCH /messages/{id}", "PATCH", f"/messages/{message_id}", {"content": f"edit {number}"})
    for name, path in (
        ("GET /messages/{id}", f"/messages/{message_id}"),
        ("GET /messages/{id}?as_of", f"/messages/{message_id}?as_of=2100-01-01T00:00:00Z"),
        ("GET /messages/{id}/history", f"/messages/{message_id}/history"),
        ("GET /messages/{id}/replies", f"/messages/{message_id}/replies"),
        ("GET /channels", "/channels"),
        ("GET /channels/{id}", f"/channels/{channel}"),
        ("GET /channels/{id}/members", f"/channels/{channel}/members"),
        ("GET /channels/{id}/messages", f"/channels/{channel}/messages"),
        ("GET /channels/{id}/messages, the middle", f"/channels/{channel}/messages?after_sequence={middle}"),
        ("GET /channels/{id}/events, the middle", f"/channels/{channel}/events?after_sequence={middle}"),
        ("GET /unread", "/unread"),
        ("GET /notifications", "/notifications"),
        ("GET /messages/search, relevance", f"/messages/search?q={quote('배포')}"),
        ("GET /messages/search, newest", f"/messages/search?q={quote('배포')}&sort=newest"),
        ("GET /messages/search, a rare word", f"/messages/search?q={quote('#17')}"),
    ):
        yield Route(name, "GET", path)


def medians_ms(port: int, channels: int, messages: int, requests: int) -> dict[str, float]:
    """Ask each route so many times, one request after the other; return the median of each, ms.

    To be called in a thread. Raises MeasurementFailed.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    took: dict[str, list[float]] = {}
    try:
        first = {"channel_id": channel_of(0), "content": "the one that is asked for"}
        posted = _ask(connection, Route("the first post", "POST", "/messages", first))
        message_id = json.loads(posted)["message_id"]
        for number in range(_WARM_UP + requests):
            for route in routes(message_id, channels, messages, number):
                began = time.perf_counter()
                _ask(connection, route)
                if number >= _WARM_UP:
                    took.setdefault(route.name, []).append(time.perf_counter() - began)
    except OSError as error:
        raise MeasurementFailed(f"the backend gave no answer: {error}") from error
    finally:
        connection.close()
    return {name: statistics.median(each) * 1000 for name, each in took.items()}


def _ask(connection: http.client.HTTPConnection, route: Route) -> bytes:
    headers = {"X-User-Id": _USER, "Content-Type": "application/json"}
    body = None if route.body is None else json.dumps(route.body)
    connection.request(route.method, route.path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status not in (200, 201):
        raise MeasurementFailed(f"{route.name} was answered with {answer.status}: {content[:200].decode()}")
    return content
