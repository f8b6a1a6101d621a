"""The account that servers run under: PostgreSQL and Elasticsearch refuse root.

An ordinary user runs them as itself. Root on Linux runs them in a user namespace in which it is
not root, so that every file stays root's and no folder has to be opened to others; where the kernel
forbids that, the account `postgres` or `nobody` is given the server's own folder and nothing else.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypedDict

from deploy.stack.errors import StackError

UNPRIVILEGED_ID = 1000


class Identity(TypedDict, total=False):
    """Arguments of subprocess that change the user."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """How a command is run: a prefix before it, or another user, or neither."""

    prefix: tuple[str, ...] = ()
    user: int | None = None
    group: int | None = None

    def options(self) -> Identity:
        """The arguments for subprocess."""
        if self.user is None or self.group is None:
            return {}
        return {"user": self.user, "group": self.group, "extra_groups": []}

    def closed(self, folders: Iterable[Path]) -> Path | None:
        """The first of the folders that does not let the account through."""
        if self.user is None:
            return None
        barred = (folder for folder in folders if folder.exists() and not folder.stat().st_mode & 0o001)
        return next(barred, None)

    def give(self, folder: Path) -> None:
        """Hands the folder and all in it to the account, which must be able to get there."""
        if self.user is None or self.group is None:
            return
        closed = self.closed(folder.parents)
        if closed is not None:
            raise StackError(
                f"this server refuses root, and the account that would run it may not enter {closed}: "
                "set MAEARI_STACK_DIR to a folder such as /var/lib/maeari-stack"
            )
        for path, _, names in os.walk(folder):
            for target in (path, *(os.path.join(path, name) for name in names)):
                os.chown(target, self.user, self.group, follow_symlinks=False)


OWN = Account()


@cache
def unprivileged() -> Account:
    """The account for servers that refuse root."""
    if os.geteuid() != 0:
        return OWN
    mapped = ("--user", f"--map-user={UNPRIVILEGED_ID}", f"--map-group={UNPRIVILEGED_ID}")
    program = shutil.which("unshare")
    if program is not None and not os.environ.get("MAEARI_STACK_NO_NAMESPACE"):
        tried = subprocess.run([program, *mapped, "true"], capture_output=True, check=False)
        if tried.returncode == 0:
            return Account(prefix=(program, *mapped))
    for name in ("postgres", "_postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        os.umask(0o022)  # the account has to read the programs
        return Account(user=entry.pw_uid, group=entry.pw_gid)
    raise StackError("root cannot run these servers and no account `nobody` exists: use a user")
