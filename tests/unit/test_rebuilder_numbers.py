"""Numbers of channels in any order, any number of times: what lacks is what was not given."""

from hypothesis import given
from hypothesis import strategies as st

from rebuilder.export.sorting import Sorter
from rebuilder.numbers import Numbers, told


@given(st.lists(st.integers(1, 30)))
def test_gaps_are_what_was_not_given(given_numbers: list[int]) -> None:
    numbers = Numbers()
    for number in given_numbers:
        numbers.add("c", number)
    lacking = [each for _, first, last in numbers.gaps() for each in range(first, last + 1)]
    assert lacking == [each for each in range(1, max(given_numbers, default=0)) if each not in given_numbers]


def test_it_holds_ranges_alone() -> None:
    """Given a channel whose events come topic by topic, one range is left."""
    numbers = Numbers()
    for start in (1, 2, 3):
        for number in range(start, 10_000, 3):
            numbers.add("c", number)
    assert list(numbers.gaps()) == []
    assert numbers._ranges == {"c": ([1], [9_999])}


def test_it_is_told_to_people() -> None:
    assert told("ops", 3, 3) == "channel 'ops': event 3 is missing"
    assert told("ops", 1, 4_200) == "channel 'ops': events 1 to 4,200 are missing"


@given(st.lists(st.tuples(st.tuples(st.integers(1, 9), st.integers(1, 9)), st.binary(max_size=20))))
def test_sorted_in_files_as_in_memory(items: list[tuple[tuple[int, int], bytes]]) -> None:
    sorter = Sorter(run_bytes=100)
    for key, data in items:
        sorter.add(key, data)
    assert list(sorter.items()) == sorted(items, key=lambda item: item[0])
    sorter.close()
