"""How a database is to be rebuilt, and what may not be swapped in."""

from dataclasses import dataclass

from rebuilder.refusal import Refusal


class NotProven(Refusal):
    """The side tables must not be swapped in; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Ways:
    """How to rebuild: `compare` changes nothing; `resume` goes on with what an earlier run left.

    With `accept_differences` the tables are swapped in whatever the live ones hold; with `skip_poison`
    records that cannot be read are left out.
    """

    source: str = "events"
    into: str = "maeari_rebuild"
    compare: bool = False
    resume: bool = False
    skip_poison: bool = False
    accept_differences: bool = False
