"""The domain's decisions on repeated posts: what an Idempotency-Key stands for, and for whom."""

import pytest

from backend.commands.answers import Posted
from backend.domain.rejections import KeyReused, NotFound
from schemas.events import MessageCreated
from schemas.messages import Attachment
from tests.support.worlds import World, delete, edit, make, post, put, remove


def test_a_key_stands_for_one_message_of_its_author() -> None:
    """The same again: no event, and the message as it was first stored. Another author's key is another."""
    world = World(make())
    first = post("a", "처음", idempotency_key="열쇠")
    [created] = world.when(first)
    assert isinstance(created, MessageCreated)
    assert (created.idempotency_key_hash, created.request_hash) == (
        first.idempotency_key_hash,
        first.request_hash,
    )
    world.when(edit(first.message_id, "a", content="나중"))
    again, answer = world.carry_out(post("a", "처음", idempotency_key="열쇠"))
    assert again == ()
    assert answer == Posted(created.payload, repeated=True)
    world.when(delete(first.message_id, "a"))
    assert world.carry_out(post("a", "처음", idempotency_key="열쇠"))[1] == answer
    assert len(world.when(post("b", "처음", idempotency_key="열쇠"))) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"content": "다름"},
        {"channel": "other"},
        {"channel": "nowhere", "auto": True},
        {"mentions": ("b",)},
        {"attachments": (Attachment("n", "http://x"),)},
        {"parent_id": "p"},
    ],
)
def test_a_key_with_another_body_is_refused(other: dict[str, object]) -> None:
    """Whatever differs: text, channel, mentions, attachments, parent; nothing happens, no channel is made."""
    world = World(make(), make("other"), post("a", message_id="p"), post("a", idempotency_key="k"))
    with pytest.raises(KeyReused):
        world.when(post("a", **{"idempotency_key": "k", **other}))  # type: ignore[arg-type]
    assert "nowhere" not in world.group.channels


def test_a_repeat_is_a_stranger_s_once_its_author_is_outside() -> None:
    """The key opens no private channel to its author who was removed."""
    world = World(make(private=True), put("member"))
    world.when(post("member", idempotency_key="k"))
    world.when(remove("member"))
    with pytest.raises(NotFound):
        world.when(post("member", idempotency_key="k"))
