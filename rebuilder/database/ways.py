"""How a database is to be rebuilt, and what refuses to."""

from dataclasses import dataclass

from rebuilder.archived import Unfit
from rebuilder.database.loading import NotLoaded
from rebuilder.database.storing import Contradicted


class NotProven(Exception):
    """The side tables must not be swapped in; the text says why."""


REFUSALS = (NotProven, Contradicted, NotLoaded, Unfit)


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
