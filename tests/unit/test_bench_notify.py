"""What `maeari bench notify` computes: frames out of pieces, latencies, fan-outs, the table."""

import json

import pytest

from bench.crowd import FrameReader, masked
from bench.notify_figures import Figures, as_json, fan_out_of, latency_of, table

SHORT = b"\x81\x05hello"
MIDDLE = b"\x81\x7e\x01\x00" + b"m" * 256
LONG = b"\x81\x7f" + (70_000).to_bytes(8, "big") + b"l" * 70_000
PING = b"\x89\x01p"
EVENT = fan_out_of([[0.010, 0.030], [0.012, 0.052]], frame_bytes=300)
BY_NODE = fan_out_of([[0.001, 0.011], [0.001, 0.041]], frame_bytes=300)


def figures(node: bool = True) -> Figures:
    return Figures(
        idle_sockets=2_000,
        idle_socket_kib=11.2,
        event=EVENT,
        event_by_node=BY_NODE if node else None,
        announcement=EVENT,
        latencies=[latency_of([0.010, 0.020, 0.200], 50, answered_in_s=0.1)],
    )


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100_000])
def test_frames_come_out_however_they_were_cut(size: int) -> None:
    """All three lengths that frames have, and pings among them, in pieces of any size."""
    data = SHORT + MIDDLE + PING + LONG
    reader = FrameReader()
    found = [frame for at in range(0, len(data), size) for frame in reader.feed(data[at : at + size])]
    assert [(opcode, len(payload)) for opcode, payload in found] == [(1, 5), (1, 256), (9, 1), (1, 70_000)]
    assert found[0][1] == b"hello"


def test_a_client_s_frame_is_masked() -> None:
    """The mask bit is set, and the mask leaves the payload as it is."""
    assert masked(1, b"abc") == b"\x81\x83\0\0\0\0abc"


def test_fan_outs_are_told_by_round() -> None:
    """First, last and the time between them, in milliseconds."""
    assert (EVENT.sockets, EVENT.first_ms, EVENT.last_ms) == (2, [10.0, 12.0], [30.0, 52.0])
    assert EVENT.spread_ms == [20.0, 40.0]


def test_rounds_are_compared_with_their_neighbours() -> None:
    """Each round with that of Node.js that followed it; without Node.js there is nothing to compare."""
    assert figures().node_ratios() == [2.0, 1.0]
    assert figures(node=False).node_ratios() == []


def test_the_table_says_all() -> None:
    """Every figure has its line, and a rate that was not kept up is told."""
    text = "\n".join(table({"database": "SQLite"}, figures()))
    for said in ("11.2 KiB", "bare ws, Node.js", "1.50 (1.00 to 2.00, rounds: 2)", "p50 20 ms, p99 200 ms"):
        assert said in text
    assert "only 30 a second were answered" in text
    assert "Node.js" not in "\n".join(table({}, figures(node=False)))


def test_programs_read_the_same() -> None:
    """The JSON has the rounds, the latencies and the ratios."""
    document = json.loads(as_json({"database": "SQLite"}, figures()))
    assert document["machine"] == {"database": "SQLite"}
    assert document["event"]["spread_ms"] == [20.0, 40.0]
    assert document["latencies"][0]["longest_ms"] == 200.0
    assert document["node_ratios"] == [2.0, 1.0]
