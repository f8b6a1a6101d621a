"""What the routes that change something work with."""

from dataclasses import dataclass

from backbone.clock import Clock
from backend.commands.executor import CommandExecutor


@dataclass(frozen=True)
class WriteSide:
    """`posts_make_channels`: a post to a channel that does not exist makes it, public."""

    executor: CommandExecutor
    clock: Clock
    posts_make_channels: bool
