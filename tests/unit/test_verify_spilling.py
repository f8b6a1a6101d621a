"""Rows that spill into a temporary file: the same as a dict, however few are at hand."""

from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st

from rebuilder.verify.folding import Row
from rebuilder.verify.spilling import SpillingRows

ids = st.integers(0, 12).map("msg_{}".format)
steps = st.lists(
    st.tuples(st.sampled_from(["put", "remove", "get"]), ids, st.integers(1, 2**63 - 1)), max_size=60
)


def row(version: int) -> Row:
    deleted_at = "2026-01-31T09:00:00.000Z" if version % 3 == 0 else None
    hashed = version * 2**64 % 2**128
    return Row(version, hashed, "채널", "messages.created", deleted_at, indexed=2**128 - 1 - version)


@given(steps, st.integers(1, 9))
def test_they_are_a_mapping(steps: list[tuple[str, str, int]], at_hand: int) -> None:
    expected: dict[str, Row] = {}
    with closing(SpillingRows(at_hand)) as rows:
        for step, message_id, version in steps:
            match step:
                case "put":
                    expected[message_id] = rows[message_id] = row(version)
                case "remove":
                    assert rows.pop(message_id, None) == expected.pop(message_id, None)
                case _:
                    assert rows.get(message_id) == expected.get(message_id)
        assert dict(rows) == expected
        assert len(rows) == len(expected)
        assert sorted(rows.rows()) == sorted(expected.values())
