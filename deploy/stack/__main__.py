"""`python3 -m deploy.stack`: brings the real servers up and down, on loopback.

Settings lines go to stdout, everything else to stderr. Exit codes: 0 done, 1 it failed (one line
says why), 2 wrong usage. Commands that change something wait for one another.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from deploy.stack.docker import DockerStack, docker_answers, state_file
from deploy.stack.errors import StackError, UsageError
from deploy.stack.local import LocalStack
from deploy.stack.progress import say
from deploy.stack.settings import Settings, read_settings, require_space

SERVERS = ("kafka", "elasticsearch", "postgres")
LOG_LINES = 40

Stack = LocalStack | DockerStack


def main(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code."""
    try:
        options = _parser().parse_args(arguments)
        settings = read_settings(os.environ)
        command: Callable[[Settings, argparse.Namespace], int] = options.command
        return command(settings, options)
    except UsageError as error:
        say(str(error))
        return 2
    except StackError as error:
        say(str(error))
        return 1
    except OSError as error:
        say(f"{error.strerror or error}: {error.filename or 'the operating system refused'}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; `up` or `down` repairs what is half done")
        return 130


def up(settings: Settings, options: argparse.Namespace) -> int:
    """Installs and starts what is missing, then prints the settings."""
    require_space(settings.root, 1)
    with _alone(settings):
        stack = _stack(settings)
        failures = stack.up(options.brokers)
    return _report(failures) or env(settings, options)


def down(settings: Settings, _options: argparse.Namespace) -> int:
    """Stops everything, keeps the data."""
    if not settings.root.exists():
        return 0
    with _alone(settings):
        return _report(_stack(settings).down())


def wipe(settings: Settings, options: argparse.Namespace) -> int:
    """Stops the named servers (all by default) and drops their data; the programs stay."""
    unknown = set(options.servers) - set(SERVERS)
    if unknown:
        raise UsageError(f"there is no server {unknown.pop()}: name {', '.join(SERVERS)} or none")
    if not settings.root.exists():
        return 0
    with _alone(settings):
        return _report(_stack(settings).wipe(options.servers or SERVERS))


def status(settings: Settings, _options: argparse.Namespace) -> int:
    """One line a server; exit code 1 unless all run."""
    lines, complete = _stack(settings).status()
    print("\n".join(lines))
    return 0 if complete else 1


def env(settings: Settings, _options: argparse.Namespace) -> int:
    """The settings lines, whether the servers run or not."""
    print("\n".join(settings.lines(_stack(settings).brokers)))
    return 0


def logs(settings: Settings, options: argparse.Namespace) -> int:
    """The end of each server's log."""
    print("\n".join(_stack(settings).logs(options.lines)))
    return 0


def kafka(settings: Settings, options: argparse.Namespace) -> int:
    """Kills or starts one broker."""
    if not settings.root.exists():
        raise StackError("no stack is here: `python3 -m deploy.stack up` makes one")
    with _alone(settings):
        stack = _stack(settings)
        act = stack.kill_broker if options.action == "kill" else stack.start_broker
        act(options.broker)
    return 0


def _stack(settings: Settings) -> Stack:
    """What is there already; for a new one Docker, if its engine answers."""
    if state_file(settings).exists():
        return DockerStack(settings)
    fresh = not (settings.root / "kafka").exists()
    if fresh and settings.docker_allowed and docker_answers():
        return DockerStack(settings)
    return LocalStack(settings)


def _report(failures: Sequence[str]) -> int:
    for failure in failures:
        say(failure)
    return 1 if failures else 0


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Holds the stack's lock until this process and the installers it started have ended."""
    with (settings.root / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another command on this stack")
            fcntl.flock(lock, fcntl.LOCK_EX)
        os.set_inheritable(lock.fileno(), True)  # see process.run_tool
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m deploy.stack",
        description="Kafka, PostgreSQL and Elasticsearch on loopback, for development and tests.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, summary in (
        ("up", up, "install and start what is missing, print the settings"),
        ("down", down, "stop everything, keep the data"),
        ("wipe", wipe, "stop, and drop the data"),
        ("status", status, "one line a server; exit code 1 unless all run"),
        ("env", env, "print the settings as NAME=value"),
        ("logs", logs, "print the end of each server's log"),
        ("kafka", kafka, "kill or start one broker"),
    ):
        added = commands.add_parser(name, help=summary, description=summary)
        added.set_defaults(command=command)
        if name == "up":
            added.add_argument("--brokers", type=int, choices=(1, 3), help="default 1")
        elif name == "wipe":
            added.add_argument("servers", nargs="*", metavar="SERVER", help=", ".join(SERVERS))
        elif name == "logs":
            added.add_argument("--lines", type=int, default=LOG_LINES, help="default 40")
        elif name == "kafka":
            added.add_argument("action", choices=("kill", "start"))
            added.add_argument("broker", type=int, metavar="ID")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
