"""What can go wrong in a way that the user can repair; the message is one line that says how."""


class StackError(Exception):
    """The work failed: exit code 1."""


class UsageError(StackError):
    """A command or a setting makes no sense, told before anything is touched: exit code 2."""
