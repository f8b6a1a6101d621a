"""The domain's decisions on channels and members: who may not, who may, and the owner who must stay."""

import pytest

from backend.domain.commands import EventfulCommand
from backend.domain.rejections import Conflict, Forbidden, NotFound
from schemas.channels import Membership, Role
from schemas.clock import format_ms
from schemas.events import (
    ChannelCreated,
    ChannelMemberAdded,
    ChannelMemberRemoved,
    ChannelRoleChanged,
)
from tests.support.worlds import NOW, World, make, post, put, remove


def world_of_two(private: bool = False) -> World:
    """A channel of `owner`, in which `member` is."""
    return World(make(private=private), put("member"))


@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
@pytest.mark.parametrize(
    "command",
    [
        put("new", by="member"),
        put("new", "owner", by="member"),
        put("member", "owner", by="member"),
        put("owner", "member", by="member"),
        put("owner", by="member"),
        remove("owner", by="member"),
    ],
)
def test_members_manage_nobody(command: EventfulCommand, private: bool) -> None:
    """A member adds, raises, lowers and removes no one, nor makes itself an owner."""
    with pytest.raises(Forbidden):
        world_of_two(private).when(command)


@pytest.mark.parametrize(
    "command",
    [
        put("stranger", "owner", by="stranger"),
        put("other", by="stranger"),
        put("member", by="stranger"),
        remove("member", by="stranger"),
        remove("nobody", by="stranger"),
    ],
)
def test_strangers_only_join(command: EventfulCommand) -> None:
    """In a public channel a stranger may join as a member, nothing else."""
    world = world_of_two()
    with pytest.raises(Forbidden):
        world.when(command)
    [joined] = world.when(put("stranger", by="stranger"))
    assert isinstance(joined, ChannelMemberAdded)
    assert world.role("stranger") == "member"


@pytest.mark.parametrize("command", [put("a", by="a"), remove("a", by="a"), post("a")])
def test_there_is_nothing_in_a_channel_that_does_not_exist(command: EventfulCommand) -> None:
    """No join, no leave, no post."""
    with pytest.raises(NotFound):
        World().when(command)


def test_a_channel_id_is_taken_once() -> None:
    """Whoever asks, for a private channel of others too."""
    world = World(make(private=True))
    for actor in ("owner", "stranger"):
        with pytest.raises(Conflict):
            world.when(make(actor=actor))


@pytest.mark.parametrize("private", [False, True])
def test_a_channel_is_owned_by_its_maker(private: bool) -> None:
    """channel.created is event 1 and says all; its maker is the owner from there on."""
    [made] = (world := World()).when(make("방", "maker", private), now_ms=NOW)
    assert isinstance(made, ChannelCreated)
    assert (made.sequence, made.timestamp) == (1, NOW)
    channel = made.payload
    assert (channel.channel_id, channel.name, channel.private) == ("방", "방", private)
    assert (channel.created_by, channel.created_at) == ("maker", format_ms(NOW))
    assert world.role("maker", "방") == "owner"
    assert world.group.members["방", "maker"].version == 1


@pytest.mark.parametrize("role", [None, "member", "owner"])
@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
def test_owners_add(private: bool, role: Role | None) -> None:
    """An owner adds anyone with any role; the event says who did it, and has the channel's next number."""
    world = World(make(private=private))
    [added] = world.when(put("new", role))
    assert isinstance(added, ChannelMemberAdded)
    assert added.payload == Membership(
        channel_id="c", user_id="new", role=role or "member", version=2, changed_by="owner"
    )
    assert (added.sequence, world.role("new")) == (2, role or "member")


def test_what_is_so_already_is_no_event() -> None:
    """A second join, a role given again, a leave of one who is not there: the answer is the same."""
    world = world_of_two()
    assert world.when(put("member", by="member")) == ()
    assert world.when(put("member", "member")) == ()
    assert world.when(put("owner")) == ()
    assert world.when(put("owner", "owner")) == ()
    assert world.when(remove("stranger", by="stranger")) == ()
    assert world.when(remove("stranger")) == ()
    assert world.role("owner") == "owner"


def test_roles_rise_and_fall() -> None:
    """An owner makes a member an owner, who may step down again, or lower the first."""
    world = world_of_two()
    [raised] = world.when(put("member", "owner"))
    assert isinstance(raised, ChannelRoleChanged)
    assert (raised.payload.role, raised.payload.version) == ("owner", 3)
    [fallen] = world.when(put("member", "member", by="member"))
    assert isinstance(fallen, ChannelRoleChanged)
    assert world.role("member") == "member"
    world.when(put("member", "owner"))
    world.when(put("owner", "member", by="member"))
    assert (world.role("owner"), world.role("member")) == ("member", "owner")


@pytest.mark.parametrize("command", [put("owner", "member"), remove("owner")])
def test_the_last_owner_stays(command: EventfulCommand) -> None:
    """Neither leave nor step down; with a second owner both may."""
    world = world_of_two()
    with pytest.raises(Conflict):
        world.when(command)
    world.when(put("member", "owner"))
    assert len(world.when(command)) == 1
    with pytest.raises(Conflict):
        world.when(remove("member", by="member"))


def test_members_leave_and_are_removed() -> None:
    """The event holds the role they had; whoever left a public channel may join again, a private one not."""
    world = world_of_two()
    [left] = world.when(remove("member", by="member"))
    assert isinstance(left, ChannelMemberRemoved)
    assert left.payload == Membership(
        channel_id="c", user_id="member", role="member", version=3, changed_by="member"
    )
    world.when(put("member", by="member"))
    [removed] = world.when(remove("member"))
    assert isinstance(removed, ChannelMemberRemoved)
    assert removed.payload.changed_by == "owner"
    closed = world_of_two(private=True)
    closed.when(remove("member", by="member"))
    with pytest.raises(NotFound):
        closed.when(put("member", by="member"))


def test_a_new_owner_has_all_of_an_owner_s_rights_at_once() -> None:
    """Rights are those at the moment of the command: given, used, and lost again."""
    world = world_of_two(private=True)
    world.when(put("member", "owner"))
    world.when(put("third", by="member"))
    world.when(put("member", "member", by="owner"))
    with pytest.raises(Forbidden):
        world.when(put("fourth", by="member"))
