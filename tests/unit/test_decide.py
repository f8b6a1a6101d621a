"""The domain's decisions on messages: given a world, when a command comes, then events or a rejection."""

import pytest
from msgspec import UNSET

from backend.domain.channels import read_up_to
from backend.domain.commands import EventfulCommand, MarkRead
from backend.domain.rejections import (
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Rejected,
    Stale,
    TooLarge,
)
from schemas.clock import format_ms, parse_ms
from schemas.events import ChannelCreated, MessageCreated, MessageDeleted, MessageUpdated
from schemas.messages import Attachment, DeletedMessage
from tests.support.worlds import NOW, World, delete, edit, make, post, put, remove


def private_world() -> World:
    """A private channel of `owner` and `member`, with a message of the member's."""
    return World(
        make(private=True), put("member"), post("member", message_id="m"), post("owner", message_id="o")
    )


def public_world() -> World:
    """A public channel of `owner`, with a message of `author`, who never joined."""
    return World(make(), post("author", message_id="m"))


@pytest.mark.parametrize(
    "command",
    [
        post("stranger"),
        post("stranger", auto=True),
        post("stranger", parent_id="m"),
        edit("m", "stranger", content="x"),
        edit("m", "stranger", content="x", if_match=frozenset({99})),
        delete("m", "stranger"),
        put("stranger", by="stranger"),
        put("stranger", "owner", by="stranger"),
        put("member", by="stranger"),
        remove("stranger", by="stranger"),
        remove("member", by="stranger"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_a_private_channel_does_not_exist_for_those_outside(command: EventfulCommand) -> None:
    """Every command of theirs is answered as if there were nothing, and nothing happens."""
    world = private_world()
    before = len(world.group.events)
    with pytest.raises(NotFound):
        world.when(command)
    assert len(world.group.events) == before


def test_whoever_was_removed_is_outside_even_for_their_own_messages() -> None:
    """Given an author who was removed from a private channel, their own message does not exist for them."""
    world = private_world()
    world.when(remove("member"))
    for command in (edit("m", "member", content="x"), delete("m", "member"), post("member")):
        with pytest.raises(NotFound):
            world.when(command)


@pytest.mark.parametrize("actor", ["owner", "stranger", "joined"])
def test_only_the_author_edits(actor: str) -> None:
    """Not even an owner of the channel changes what another wrote."""
    world = public_world()
    world.when(put("joined", by="joined"))
    with pytest.raises(Forbidden):
        world.when(edit("m", actor, content="x"))


@pytest.mark.parametrize("actor", ["stranger", "joined"])
def test_neither_strangers_nor_members_delete_what_another_wrote(actor: str) -> None:
    """Also a message that is deleted already."""
    world = public_world()
    world.when(put("joined", by="joined"))
    with pytest.raises(Forbidden):
        world.when(delete("m", actor))
    world.when(delete("m", "author"))
    with pytest.raises(Forbidden):
        world.when(delete("m", actor))


def test_reading_marks_are_for_those_who_see_the_channel() -> None:
    """A stranger finds no private channel to mark; a member's mark is never beyond the last event."""
    world = private_world()
    stranger, member = MarkRead("stranger", "c", 2), MarkRead("member", "c", 99)
    with pytest.raises(NotFound):
        read_up_to(stranger, world.group.situation(stranger))
    assert read_up_to(member, world.group.situation(member)) == 4
    absent = MarkRead("member", "nowhere", 1)
    with pytest.raises(NotFound):
        read_up_to(absent, world.group.situation(absent))


def test_a_channel_is_made_by_a_post_only_where_that_is_asked() -> None:
    """Without an id for the event there is no such channel; with one it is made, public, event 1."""
    world = World()
    with pytest.raises(NotFound):
        world.when(post("a"))
    made, created = world.when(post("a", auto=True))
    assert isinstance(made, ChannelCreated)
    assert isinstance(created, MessageCreated)
    assert (made.sequence, created.sequence, created.payload.version) == (1, 2, 2)
    assert (made.payload.name, made.payload.created_by, made.payload.private) == ("c", "a", False)
    assert world.role("a") == "owner"
    [second] = world.when(post("b", auto=True))
    assert (second.sequence, world.role("b")) == (3, None)


def test_whoever_reads_a_public_channel_posts_in_it() -> None:
    """A stranger's post is the whole message as asked for, and does not join; it names no privacy."""
    world = World(make())
    picture = Attachment("그림", "https://files.example/그림.png", "image/png", 5)
    [created] = world.when(post("stranger", "글\u1112\u1161\u11ab", mentions=("b",), attachments=(picture,)))
    assert isinstance(created, MessageCreated)
    message = created.payload
    assert (message.content, message.mentions, message.attachments) == (
        "글\u1112\u1161\u11ab",
        ("b",),
        (picture,),
    )
    assert (message.author_id, message.sequence, message.version) == ("stranger", 2, 2)
    assert message.created_at == message.updated_at == format_ms(NOW)
    assert (created.private, created.idempotency_key_hash, created.request_hash) == (UNSET, UNSET, UNSET)
    assert world.role("stranger") is None


def test_events_of_a_private_channel_say_so() -> None:
    """Post, edit and deletion carry `private`, by which a reader of one event knows who may see it."""
    world = private_world()
    events = [
        *world.when(post("member", message_id="n")),
        *world.when(edit("n", "member", content="x")),
        *world.when(delete("n", "member")),
    ]
    assert [getattr(event, "private", None) for event in events] == [True] * 3


@pytest.mark.parametrize(
    ("parent", "why"),
    [
        ("nothing", "no such message"),
        ("gone", "no such message"),
        ("elsewhere", "no such message"),
        ("reply", "one level"),
    ],
)
def test_whom_nobody_answers(parent: str, why: str) -> None:
    """Unknown, deleted and foreign messages have no replies; neither have replies."""
    world = World(
        make(),
        make("other"),
        post("a", message_id="first"),
        post("a", message_id="gone"),
        delete("gone", "a"),
        post("a", message_id="elsewhere", channel="other"),
        post("a", message_id="reply", parent_id="first"),
    )
    with pytest.raises(Invalid, match=why) as refusal:
        world.when(post("b", parent_id=parent))
    assert refusal.value.field == "parent_id"


def test_a_reply_outlives_what_it_answers() -> None:
    """A reply names its parent; it may still be edited when that is gone."""
    world = public_world()
    [reply] = world.when(post("b", parent_id="m", message_id="r"))
    assert isinstance(reply, MessageCreated)
    assert reply.payload.parent_id == "m"
    world.when(delete("m", "author"))
    [edited] = world.when(edit("r", "b", content="x"))
    assert isinstance(edited, MessageUpdated)
    assert edited.payload.parent_id == "m"


def test_a_first_post_that_is_refused_makes_no_channel() -> None:
    """Given a reply to nothing in a channel that does not exist, there still is none."""
    world = World()
    with pytest.raises(Invalid):
        world.when(post("a", auto=True, parent_id="nothing"))
    with pytest.raises(TooLarge):
        world.when(post("a", "x" * 600_000, auto=True))
    assert (world.group.channels, world.group.events) == ({}, [])


def test_an_edit_changes_what_was_asked_and_nothing_else() -> None:
    """The event carries the whole message; version and time are those of the edit, the rest stays."""
    world = World(make(), post("a", "전", message_id="m", mentions=("b",)))
    [edited] = world.when(edit("m", "a", content="후"), now_ms=NOW + 50)
    assert isinstance(edited, MessageUpdated)
    message = edited.payload
    assert (message.content, message.mentions) == ("후", ("b",))
    assert (message.sequence, message.version, edited.sequence) == (2, 3, 3)
    assert (message.created_at, message.updated_at) == (format_ms(NOW), format_ms(NOW + 50))
    [edited] = world.when(edit("m", "a", mentions=(), attachments=(Attachment("n", "http://x"),)))
    assert isinstance(edited, MessageUpdated)
    assert (edited.payload.content, edited.payload.mentions) == ("후", ())


def test_an_edit_to_what_it_is_already_is_no_event() -> None:
    """Nothing is told where nothing changes, but a stale `If-Match` still is refused."""
    world = public_world()
    assert world.when(edit("m", content="안녕", mentions=())) == ()
    with pytest.raises(Stale):
        world.when(edit("m", content="안녕", if_match=frozenset({1})))


def test_if_match_names_the_versions_that_will_do() -> None:
    """An edit and a deletion over another version are refused; over one of those named they happen."""
    world = public_world()
    with pytest.raises(Stale):
        world.when(edit("m", content="x", if_match=frozenset({1, 3})))
    with pytest.raises(Stale):
        world.when(edit("m", content="x", if_match=frozenset()))
    assert world.when(edit("m", content="x", if_match=frozenset({1, 2})))
    with pytest.raises(Stale):
        world.when(delete("m", if_match=frozenset({2})))
    assert world.when(delete("m", if_match=frozenset({3})))


@pytest.mark.parametrize("actor", ["author", "owner"])
def test_authors_and_owners_delete(actor: str) -> None:
    """The event says who did it and holds no text; nothing of it is left in the state; again: no event."""
    picture = Attachment("n", "http://x")
    world = World(make(), post("author", message_id="m", mentions=("b",), attachments=(picture,)))
    [gone] = world.when(delete("m", actor), now_ms=NOW + 7)
    assert isinstance(gone, MessageDeleted)
    assert gone.payload == DeletedMessage(
        message_id="m",
        channel_id="c",
        author_id="author",
        sequence=2,
        version=3,
        deleted_at=format_ms(NOW + 7),
        deleted_by=actor,
    )
    record = world.group.messages["m"]
    left = record.message
    assert (left.content, left.mentions, left.attachments) == ("", (), ())
    assert (record.deleted_at, record.deleted_by) == (NOW + 7, actor)
    assert world.when(delete("m", actor)) == ()
    assert world.when(delete("m", actor, if_match=frozenset({1}))) == ()


def test_a_deleted_message_is_gone_for_edits() -> None:
    """For its author, and for all who see the channel."""
    world = public_world()
    world.when(delete("m"))
    for actor in ("author", "owner", "stranger"):
        with pytest.raises(Gone):
            world.when(edit("m", actor, content="x"))


def test_time_never_goes_back() -> None:
    """A clock set back: events keep the channel's time, and a message's next one is later by 1 ms."""
    world = World(make(), post("a"))
    earlier = NOW - 5_000
    [later] = world.when(post("a", message_id="n"), now_ms=earlier)
    [edited] = world.when(edit("n", "a", content="x"), now_ms=earlier)
    [joined] = world.when(put("b", by="b"), now_ms=earlier)
    [gone] = world.when(delete("n", "a"), now_ms=earlier)
    times = [event.timestamp for event in (later, edited, joined, gone)]
    assert times == [NOW, NOW + 1, NOW + 1, NOW + 2]
    assert parse_ms(world.group.messages["n"].message.updated_at) == NOW + 2


@pytest.mark.parametrize("change", ["post", "edit"])
def test_an_event_too_large_for_the_log_is_refused(change: str) -> None:
    """An event beyond 512 KiB is rejected before anything happened."""
    world = public_world()
    large = "x" * 600_000
    with pytest.raises(TooLarge):
        world.when(post("a", large) if change == "post" else edit("m", content=large))
    assert len(world.group.events) == 2


@pytest.mark.parametrize("command", [edit("nothing", content="x"), delete("nothing")])
def test_what_does_not_exist_is_not_found(command: EventfulCommand) -> None:
    """An unknown message is neither edited nor deleted."""
    rejection: type[Rejected] = NotFound
    with pytest.raises(rejection):
        public_world().when(command)
