"""The fold and its digests: any order, any repetition, the same proof; any difference, another one."""

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebuilder.digest import Digests, canonical, message_hash
from rebuilder.search.fold import Fold, Taken
from schemas.documents import IndexedDocument, SearchDocument


def document(version: int = 1, channel: str = "c", **fields: Any) -> SearchDocument:
    usual: dict[str, Any] = {
        "content": f"내용 {version}",
        "author": "a",
        "created_at": "2026-01-31T09:00:00.000Z",
        "updated_at": "2026-01-31T09:00:00.000Z",
        "sequence": 1,
    }
    return SearchDocument(channel=channel, version=version, **(usual | fields))


def digests_of(*stored: IndexedDocument) -> Digests:
    """The digests that a scan of these documents gives."""
    digests = Digests()
    for message_id, doc in stored:
        digests.add(doc.channel, message_hash(message_id, doc), doc.deleted)
    return digests


histories = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 6), st.booleans()).map(
        lambda drawn: IndexedDocument(
            f"msg_{drawn[0]}", document(drawn[1], f"c{drawn[0] % 2}", deleted=drawn[1] == 6)
        )
    ),
    max_size=30,
)


@given(histories, st.randoms(use_true_random=False))
def test_the_order_of_the_log_does_not_matter(history: list[IndexedDocument], chance: random.Random) -> None:
    """Shuffled and read twice, the log folds to the newest version of each message."""
    in_order, shuffled = Fold(), Fold()
    in_order.take(history)
    again = history * 2
    chance.shuffle(again)
    for at in range(0, len(again), 7):
        shuffled.take(again[at : at + 7])

    newest: dict[str, IndexedDocument] = {}
    for indexed in history:
        kept = newest.setdefault(indexed.message_id, indexed)
        if indexed.document.version > kept.document.version:
            newest[indexed.message_id] = indexed
    assert in_order.digests.as_text() == shuffled.digests.as_text()
    assert in_order.digests.differing(digests_of(*newest.values())) == []
    assert in_order.digests.messages == len(newest)
    assert in_order.digests.deleted == sum(indexed.document.deleted for indexed in newest.values())


def test_only_what_is_newer_goes_into_the_index() -> None:
    fold = Fold()
    assert fold.take([IndexedDocument("m", document(version)) for version in (3, 2)]) == [
        Taken.NEWER,
        Taken.OLDER,
    ]
    assert fold.take([IndexedDocument("m", document(version)) for version in (3, 4)]) == [
        Taken.OLDER,
        Taken.NEWER,
    ]


def test_two_contents_under_one_version_are_a_contradiction() -> None:
    fold = Fold()
    fold.take([IndexedDocument("m", document(3, content="하나"))])
    assert fold.take([IndexedDocument("m", document(3, content="둘"))]) == [Taken.CONTRADICTION]


def test_it_tells_what_it_holds() -> None:
    """Given 3,000 messages and a deletion, all that are counted are told, and the deleted one is known."""
    fold = Fold()
    fold.take([IndexedDocument(f"msg_{number:04}", document(1)) for number in range(3_000)])
    fold.take([IndexedDocument("msg_0007", document(2, deleted=True))])
    told = {message_id: version for message_id, version, _, _ in fold.counted()}
    assert len(told) == fold.messages == 3_000
    assert (told["msg_0007"], told["msg_2999"]) == (2, 1)
    assert fold.undeleted(["msg_0007", "msg_0008", "msg_9999"]) == {"msg_0008"}


@pytest.mark.parametrize(
    "change",
    [
        {"content": "다른 내용"},
        {"author": "b"},
        {"mentions": ("b",)},
        {"has_attachment": True},
        {"parent_id": "msg_0"},
        {"private": True},
        {"sequence": 2},
        {"created_at": "2026-01-31T09:00:00.001Z"},
        {"updated_at": "2026-01-31T09:00:00.001Z"},
        {"version": 2},
        {"deleted": True},
        {"channel": "d"},
    ],
)
def test_every_field_that_the_index_keeps_is_part_of_the_proof(change: dict[str, Any]) -> None:
    usual = document()
    changed = msgspec.structs.replace(usual, **change)
    log, index = digests_of(IndexedDocument("m", usual)), digests_of(IndexedDocument("m", changed))
    assert log.differing(index) == sorted({"c", changed.channel})


def test_the_order_of_mentions_and_where_one_field_ends_are_part_of_it() -> None:
    assert canonical("m", document(mentions=("a", "b"))) != canonical("m", document(mentions=("b", "a")))
    assert canonical("m", document(mentions=("a,b",))) != canonical("m", document(mentions=("a", "b")))


def test_a_deleted_message_is_compared_by_what_a_deletion_keeps() -> None:
    """Stores differ in what they leave of its text, which is not a difference."""
    emptied = document(5, content="", created_at=None, updated_at=None, deleted=True)
    with_traces = document(5, content="흔적", parent_id="msg_0", deleted=True)
    assert canonical("m", emptied) == canonical("m", with_traces)


def test_a_missing_and_an_additional_message_are_found_in_their_channels() -> None:
    one, two = IndexedDocument("1", document(channel="가")), IndexedDocument("2", document(channel="나"))
    assert digests_of(one, two).differing(digests_of(one)) == ["나"]
    assert digests_of(one).differing(digests_of(one, two)) == ["나"]
    assert digests_of().differing(digests_of(one, two)) == ["가", "나"]
    assert digests_of(one, two).differing(digests_of(two, one)) == []


def test_a_message_stored_twice_is_no_message_missing() -> None:
    """Sums count: the same hash twice is another digest than once, and than never."""
    one = IndexedDocument("1", document())
    assert digests_of(one, one).differing(digests_of(one)) == ["c"]
    assert digests_of(one, one).differing(digests_of()) == ["c"]
