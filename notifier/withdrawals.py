"""What is taken back of what messages told, or is born without a text: asked of who was a member when.

Guarantees: the answer follows from the versions of a message and from `memberships` alone, not from when it
is asked, nor in which order the versions came.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from notifier.memberships import Place, present
from notifier.projection import Known, Told


@dataclass(frozen=True, slots=True)
class Case:
    """A message of a channel, and whom it tells or told."""

    known: Known
    channel_id: str
    private: bool
    told: Collection[Told]


async def withdrawn_of(
    connection: AsyncConnection, cases: Mapping[str, Case]
) -> Mapping[str, Collection[Told]]:
    """Return of each message, by its id, what of the told is to be taken back."""
    places = {
        Place(case.channel_id, told.user_id, sequence)
        for case in cases.values()
        for told in case.told
        for sequence in case.known.in_doubt(told, private=case.private)
    }
    member_at: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for channel_id, user_id, sequence in await present(connection, places):
        member_at[channel_id, user_id].add(sequence)
    return {
        message_id: {
            told
            for told in case.told
            if case.known.withdraws(
                told, private=case.private, member_at=member_at[case.channel_id, told.user_id]
            )
        }
        for message_id, case in cases.items()
    }
