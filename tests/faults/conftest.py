"""One platform for all fault tests: started with the first, repaired after each, gone with the last."""

import re
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from tests.faults.arena import A_ROUND_WITHIN_S, ROUNDS, Arena, Book, arena_of, table
from tests.faults.platform import Platform
from tests.faults.servers import running_servers

_BOOK = pytest.StashKey[Book]()
_PLATFORM = pytest.StashKey[Platform]()
_LOG_LINES = 15


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each test has a time of its own, in which what the first one has to start does not count."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(A_ROUND_WITHIN_S * ROUNDS, func_only=True))


@pytest.fixture(scope="package")
def book(request: pytest.FixtureRequest) -> Book:
    """What the tests have to tell, shown at the end of the run."""
    return request.config.stash.setdefault(_BOOK, Book())


@pytest.fixture(scope="package")
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Two backends, three indexers and three notifiers on three brokers, all ready."""
    with running_servers() as servers:
        platform = Platform(servers, tmp_path_factory.mktemp("platform"))
        request.config.stash[_PLATFORM] = platform
        platform.set_up()
        try:
            platform.start()
            yield platform
            platform.end()
        finally:
            platform.kill()


@pytest.fixture
async def arena(request: pytest.FixtureRequest, platform: Platform, book: Book) -> AsyncIterator[Arena]:
    """The platform for one test."""
    name = re.sub(r"\W+", "-", request.node.name.removeprefix("test_")).strip("-")
    async with arena_of(name, platform, book) as opened:
        yield opened


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed shows where the logs are, and how they end."""
    report = yield
    platform = item.config.stash.get(_PLATFORM, None)
    if report.failed and platform is not None and item.path.parent == Path(__file__).parent:
        report.sections.append(("logs of the servers", platform.servers.logs(_LOG_LINES)))
        report.sections.append(("logs of the platform", platform.logs(_LOG_LINES)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Whatever passed: what the faults did, and what it cost."""
    book = config.stash.get(_BOOK, None)
    if book is not None:
        terminalreporter.section("faults")
        for line in table(book):
            terminalreporter.write_line(line)
