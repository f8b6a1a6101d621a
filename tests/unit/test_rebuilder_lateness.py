"""Looks at an index that moves: what is late is no difference, what is lost is one."""

import pytest

from rebuilder.contradictions import Version, contradictions

V1, V2, V3 = (Version(number, number * 11, "ops") for number in (1, 2, 3))
OTHER = Version(2, 99, "ops")
ELSEWHERE = Version(2, 22, "일반")


@pytest.mark.parametrize(
    ("early", "held", "late"),
    [
        (V1, V1, V1),
        (V1, V1, V3),
        (V1, V2, V3),
        (V1, V3, V3),
        (None, V1, V1),
        (None, V1, V2),
        (None, None, V1),
        (V1, None, None),
    ],
)
def test_what_moves_is_no_difference(
    early: Version | None, held: Version | None, late: Version | None
) -> None:
    """The index held something between what was applied before it was read, and what the log had after."""
    assert names(early, held, late) == frozenset()


@pytest.mark.parametrize(
    ("early", "held", "late"),
    [
        (V1, None, V1),
        (V1, None, V2),
        (V2, V1, V2),
        (V2, V1, V3),
        (V1, V3, V2),
        (None, V1, None),
        (V1, V1, None),
        (V2, OTHER, V2),
        (V1, OTHER, V2),
        (V2, OTHER, V3),
        (V2, ELSEWHERE, V2),
    ],
)
def test_what_could_not_be_is_one(early: Version | None, held: Version | None, late: Version | None) -> None:
    """Less than was applied, more than there is, or something else under the same version."""
    assert names(early, held, late) == frozenset({"msg_1"})


def names(*stores: Version | None) -> frozenset[str]:
    early, held, late = ({} if version is None else {"msg_1": version} for version in stores)
    return contradictions(early, held, late)
