"""The kinds of trouble that adapters translate their drivers' errors into."""


class Unavailable(Exception):
    """A dependency does not answer for now: nothing is lost, try again later, with backoff."""

    def __init__(self, dependency: str, detail: str) -> None:
        super().__init__(f"{dependency} is not available: {detail}")
        self.dependency = dependency
        self.detail = detail


class Busy(Unavailable):
    """A dependency takes no more from this process for a moment: of its health that says nothing."""


class RolledBack(Unavailable):
    """A transaction was rolled back for certain, by no fault of its own: it may be tried again at once."""


class CommitUnknown(Unavailable):
    """A commit got no answer: the transaction is stored as a whole, or not at all, and nobody said which."""


class Poison(Exception):
    """One record can never be read or applied, however often it is tried: park it."""


class NoRoom(Exception):
    """Temporary files cannot be written; the text is one line that says where."""


class SetupError(Exception):
    """The process cannot start as things are set up; the text is one line that says what to do."""
