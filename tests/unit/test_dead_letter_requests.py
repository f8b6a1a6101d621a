"""What `maeari dead-letters replay` and `drop` ask the group for."""

from maeari.dead_letters.asking import Choice, requests_for
from maeari.dead_letters.letters import Letter
from schemas.dead_letters import DeadLetter


def letter(offset: int, alone: bool = False, key: str = "배포") -> Letter:
    return Letter(
        DeadLetter(
            group="indexer",
            ordering_key=key,
            topic="platform.messages.created",
            partition=0,
            offset=offset,
            error="poison",
            key=None,
            value=None,
            encoding="utf-8",
            timestamp=0,
            alone=alone,
        ),
        parked_ms=0,
    )


def test_records_that_are_named_are_asked_for_in_the_order_of_the_queue() -> None:
    """In whichever order they are typed, and more of them than one request takes."""
    parked = [letter(offset) for offset in range(1_500)]
    typed = [f"platform.messages.created/0/{offset}" for offset in reversed(range(1_500))]
    requests = requests_for("replay", Choice("indexer", "배포", typed), parked)
    assert requests is not None
    assert [len(each.sources or ()) for each in requests] == [1_000, 500]
    assert [source for each in requests for source in each.sources or ()] == list(reversed(typed))


def test_a_queue_is_asked_for_as_it_is() -> None:
    """Without names all of the key is meant; what stands alone is named, for it is in no queue."""
    requests = requests_for(
        "drop", Choice("indexer", None, ()), [letter(1), letter(2, alone=True), letter(3)]
    )
    assert [each.sources for each in requests or ()] == [("platform.messages.created/0/2",), None]


def test_each_key_is_asked_for_by_itself() -> None:
    """However their letters are mixed; keys in the order in which they were stopped."""
    parked = [letter(1, key="나"), letter(2, key="가"), letter(3, key="나"), letter(4, key="가", alone=True)]
    requests = requests_for("replay", Choice("indexer", None, ()), parked)
    assert [(each.ordering_key, each.sources) for each in requests or ()] == [
        ("나", None),
        ("가", ("platform.messages.created/0/4",)),
        ("가", None),
    ]
