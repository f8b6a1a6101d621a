"""What a rebuild, an export or a verification refuses to do: one line that says why, and exit code 1."""


class Refusal(Exception):
    """The answer is no, and nothing was changed; the text is one line that says why and what to do."""


class NothingBegun(Refusal):
    """There is nothing that `--resume` could go on with."""
