"""The reasons for which the domain says no; one file of the API maps them to HTTP."""


class Rejected(Exception):
    """A command or query is refused; the text tells the client why. Nothing was stored."""


class NotFound(Rejected):
    """The thing does not exist, or the asker may not know that it does."""


class Gone(Rejected):
    """The message was deleted."""


class Unauthenticated(Rejected):
    """Nobody is named as the one who acts."""


class Forbidden(Rejected):
    """The one who acts may not do this."""


class Conflict(Rejected):
    """What is there already, or what must stay, stands against it."""


class Stale(Rejected):
    """`If-Match` names another version than the present one."""


class KeyReused(Rejected):
    """The Idempotency-Key was used before, with another body."""


class TooLarge(Rejected):
    """The message's event would not fit into the log."""


class Invalid(Rejected):
    """A field is wrong in a way that its type does not tell."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class Overloaded(Rejected):
    """No more can be taken on for now; try again after `retry_after_s` seconds."""

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class RateLimited(Rejected):
    """The user changes things too often; the next change is let through after `retry_after_s` seconds."""

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
