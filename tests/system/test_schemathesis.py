"""schemathesis against running backends: what it makes up out of the description is answered as described.

All of its checks are on: no 5xx, and statuses, content types, headers and bodies as described; valid
requests are taken and wrong ones refused; other methods get 405 with `Allow`; authentication is not ignored.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backbone.settings import Settings
from tests.conftest import ADAPTERS
from tests.support.tokens import SECRET, token_for
from tests.system.platform import own_stores, system
from tests.system.processes import Surroundings

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).parent / "schemathesis"
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
HOOKS = "tests.system.schemathesis_hooks"
# That nothing hides behind 429; the limit has tests of its own.
NO_LIMIT = {"WRITE_RATE": "1000000", "WRITE_BURST": "1000000"}
# The same requests in every run, as far as the ids that the server gives out allow.
SEED = "20260131"


@pytest.fixture(params=ADAPTERS)
async def surroundings(
    request: pytest.FixtureRequest, tmp_path: Path, unique: str
) -> AsyncIterator[Surroundings]:
    """Give settings for stores of the test's own, and clean them up."""
    if request.param == "embedded":
        yield Surroundings(tmp_path, NO_LIMIT)
        return
    real: Settings = request.getfixturevalue("real_settings")
    async with own_stores(real, unique) as stores:
        yield Surroundings(tmp_path, NO_LIMIT | stores)


async def asked(surroundings: Surroundings, *options: str) -> str:
    """Run schemathesis to its end; return what it says. It must find nothing."""
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        f"--config-file={CONFIGURATION}",
        "run",
        f"http://127.0.0.1:{surroundings.ports.api}/schema/openapi.json",
        "--checks=all",
        "--continue-on-failure",
        "--no-color",
        f"--seed={SEED}",
        *options,
        # It keeps what it found in the working directory.
        cwd=surroundings.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": HOOKS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    said = output.decode()
    assert process.returncode == 0, said
    return said


@pytest.mark.timeout(240)
async def test_answers_are_as_described(surroundings: Surroundings) -> None:
    """Every operation, by its examples, at its limits, with made-up data, and one after the other."""
    async with system(surroundings):
        said = await asked(surroundings, "--max-examples=25")
    assert "Selected: 26/26" in said, said
    assert "Stateful (in" in said, said


@pytest.mark.timeout(120)
async def test_answers_to_tokens_are_as_described(tmp_path: Path) -> None:
    """The same with MAEARI_AUTH=jwt, briefly: and nothing is answered without a token."""
    surroundings = Surroundings(tmp_path, {**NO_LIMIT, "AUTH": "jwt", "JWT_SECRET": SECRET})
    token = token_for("minsu", scope="impersonate")
    async with system(surroundings):
        said = await asked(
            surroundings, f"--header=Authorization: Bearer {token}", "--phases=examples,coverage"
        )
    assert "Selected: 26/26" in said, said
