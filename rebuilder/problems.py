"""What is wrong with a record of the log, and where it lies."""

import msgspec

UNREADABLE = "cannot be read"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A record that cannot be read or applied, and where it lies."""

    topic: str
    partition: int
    offset: int
    reason: str

    @property
    def unreadable(self) -> bool:
        """Whether the record itself is what is wrong."""
        return self.reason.startswith(UNREADABLE)

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}: {self.reason}"
