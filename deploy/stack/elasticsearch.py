"""Elastic's own server, one node, with the stand-in plugin for the analysis that our index uses.

Guarantees: the server and the plugin are whole or absent, never half there; `start` returns when
the cluster answers and all its indices have their primaries.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import signal
import time
import zipfile
from pathlib import Path
from typing import NoReturn

from deploy.stack.account import Account, unprivileged
from deploy.stack.errors import StackError
from deploy.stack.java import COMPILE_LITTLE, POM, Java, find_java, resolve
from deploy.stack.process import (
    ServerProcess,
    reason,
    require_free_port,
    resident_mebibytes,
    run_tool,
    wait_until,
)
from deploy.stack.progress import say
from deploy.stack.settings import (
    ELASTICSEARCH_VERSION,
    HOST,
    INTERNAL_PORT_OFFSET,
    Settings,
    server_environment,
)

OLDEST_JAVA = 21
START_TIMEOUT_S = 240.0
SOURCES = Path(__file__).with_name("plugin")
PLUGIN = "maeari-standin"
# Parts of a whole JDK that small runtimes, the one from PyPI among them, leave out.
JAVA_MODULES = frozenset({"jdk.jdi", "jdk.jlink", "jdk.incubator.vector"})
NO_JAVA = (
    f"Elasticsearch needs a whole JDK {OLDEST_JAVA} or newer and none was found: install one "
    "(apt-get install openjdk-21-jdk-headless, brew install openjdk), set JAVA_HOME to one, "
    "or start a Docker engine"
)
DESCRIPTOR = f"""\
description=Stand-in for the parts of analysis-common, analysis-nori and rest-root that maeari uses
version=1
name={PLUGIN}
classname=maeari.standin.StandIn
java.version={OLDEST_JAVA}
elasticsearch.version={ELASTICSEARCH_VERSION}
"""


class Elasticsearch:
    """The search server of one stack."""

    name = "Elasticsearch"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._port = settings.elasticsearch_port
        self._short_lived = settings.short_lived
        self._home = settings.root / "elasticsearch"
        self._programs = settings.programs / "elasticsearch"
        self._program = self._programs / f"elasticsearch-{ELASTICSEARCH_VERSION}"
        self._log = settings.root / "logs" / "elasticsearch.log"
        # The launcher leaves once the server, its child, has detached itself; both name a file in here.
        marker = f"{self._home}/run/"
        self._process = ServerProcess(self.name, self._home / "run" / "pid", marker)
        self._launcher = ServerProcess(self.name, self._home / "run" / "launcher.pid", marker)

    def start(self) -> None:
        """Installs what is missing, starts the server unless it runs, waits until it answers."""
        started = time.monotonic()
        if self._process.pid() is not None and not self._installed():
            say("Elasticsearch runs with an older plugin: it is started anew")
            self.stop()
        if self._process.pid() is None and self._launcher.pid() is None:
            java = find_java(OLDEST_JAVA, JAVA_MODULES)
            if java is None:
                raise StackError(NO_JAVA)
            self._install(java)
            account = unprivileged()
            self._require_ports()
            self._configure(account)
            self._launch(java, account)
        else:
            self._require_same_port()
        if not wait_until(self._ready, START_TIMEOUT_S):
            self._fail(f"was not ready after {START_TIMEOUT_S:.0f} s")
        say(f"Elasticsearch is ready ({time.monotonic() - started:.1f} s)")

    def stop(self) -> bool:
        """Ends the server, and the launcher when it is still there."""
        launching = self._launcher.stop()
        return self._process.stop() or launching

    def kill(self) -> None:
        """Ends the server as a crash would."""
        if not self._process.stop(signal.SIGKILL):
            raise StackError("Elasticsearch does not run")

    def wipe(self) -> None:
        """Drops the data, keeps the program."""
        self.stop()
        shutil.rmtree(self._home / "run", ignore_errors=True)

    def status(self) -> list[str]:
        """One line."""
        pid = self._process.pid()
        state = f"up, process {pid}, {resident_mebibytes(pid)} MiB" if pid else "down"
        return [f"Elasticsearch   port {self._port}  {state}"]

    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._process.pid() is not None

    def logs(self) -> list[Path]:
        """The log files, whether they exist or not."""
        return [self._log, self._home / "run" / "logs" / "server.log"]

    def _require_ports(self) -> None:
        setting = "MAEARI_STACK_ELASTICSEARCH_PORT"
        require_free_port(self._port, self.name, setting)
        require_free_port(self._port + INTERNAL_PORT_OFFSET, "Elasticsearch's transport", setting)

    def _require_same_port(self) -> None:
        if f"http.port: {self._port}\n" not in (self._configuration / "elasticsearch.yml").read_text():
            raise StackError(
                f"Elasticsearch runs on another port than {self._port}: "
                "`python3 -m deploy.stack down` first, or unset MAEARI_STACK_ELASTICSEARCH_PORT"
            )

    @property
    def _configuration(self) -> Path:
        return self._home / "run" / "config"

    @property
    def _stamp(self) -> Path:
        return self._program / "plugins" / PLUGIN / "built-from"

    def _installed(self) -> bool:
        return self._stamp.exists() and self._stamp.read_text() == _digest()

    def _install(self, java: Java) -> None:
        if self._installed():
            return
        self._programs.mkdir(parents=True, exist_ok=True)
        if not self._program.exists():
            fetched = self._programs / "fetched"
            what = f"Elasticsearch {ELASTICSEARCH_VERSION}"
            resolve(self._settings, java, "elasticsearch", fetched, what)
            _unpack(fetched / f"elasticsearch-{ELASTICSEARCH_VERSION}.zip", self._program)
            shutil.rmtree(fetched)
        parts = self._programs / "plugin-parts"
        shutil.rmtree(parts, ignore_errors=True)
        resolve(self._settings, java, "plugin", parts, "Lucene's Korean analyser and a compiler")
        self._build_plugin(java, parts, self._stamp.parent)
        self._stamp.write_text(_digest())
        shutil.rmtree(parts)

    def _build_plugin(self, java: Java, parts: Path, target: Path) -> None:
        """Compiles with Eclipse's compiler, which a Java without one can run as well."""
        log = self._settings.root / "logs" / "plugin.log"
        classes = self._programs / "classes"
        shutil.rmtree(classes, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        (nori,) = parts.glob("lucene-analysis-nori-*.jar")
        (compiler,) = parts.glob("ecj-*.jar")
        shutil.copy(nori, target)
        libraries = ":".join(str(jar) for jar in (*self._program.glob("lib/*.jar"), nori))
        command = [java.program, "-jar", str(compiler), f"-{OLDEST_JAVA}", "-nowarn"]
        command += ["-proc:none", "-encoding", "UTF-8", "-d", str(classes), "-cp", libraries]
        command += [str(source) for source in sorted(SOURCES.glob("*.java"))]
        log.unlink(missing_ok=True)
        if not run_tool(command, log):
            raise StackError(f"Elasticsearch's stand-in plugin does not compile (see {log})")
        with zipfile.ZipFile(target / f"{PLUGIN}.jar", "w") as jar:
            for path in sorted(classes.rglob("*.class")):
                jar.write(path, path.relative_to(classes))
        shutil.rmtree(classes)
        (target / "plugin-descriptor.properties").write_text(DESCRIPTOR)

    def _configure(self, account: Account) -> None:
        run, config = self._home / "run", self._configuration
        for folder in (config / "jvm.options.d", run / "data", run / "logs", run / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(self._program / "config" / "jvm.options", config)
        (config / "log4j2.properties").write_text(LOGGING.replace("{run}", str(run)))
        (config / "elasticsearch.yml").write_text(
            CONFIGURATION.format(
                run=run, host=HOST, port=self._port, transport=self._port + INTERNAL_PORT_OFFSET
            )
        )
        options = ["-Xms1g", "-Xmx1g", "-XX:-AlwaysPreTouch"]
        if self._short_lived:
            options.append(COMPILE_LITTLE)
        (config / "jvm.options.d" / "small.options").write_text("\n".join(options) + "\n")
        self._process.pid_file.unlink(missing_ok=True)
        account.give(run)

    def _launch(self, java: Java, account: Account) -> None:
        run = self._home / "run"
        environ = server_environment() | {
            "ES_JAVA_HOME": str(java.home),
            "ES_PATH_CONF": str(self._configuration),
            "ES_TMPDIR": str(run / "tmp"),
            "HOME": str(run),
        }
        command = [str(self._program / "bin" / "elasticsearch"), "-d"]
        command += ["-p", str(self._process.pid_file)]
        self._launcher.spawn(command, self._log, environ, account)

    def _ready(self) -> bool:
        if self._process.pid() is None and self._launcher.pid() is None:
            self._fail("ended while it started")
        connection = http.client.HTTPConnection(HOST, self._port, timeout=10)
        try:
            connection.request("GET", "/_cluster/health?wait_for_status=yellow&timeout=5s")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _fail(self, what: str) -> NoReturn:
        raise StackError(f"Elasticsearch {what}{reason(self._log)} (see {self._log})")


CONFIGURATION = """\
cluster.name: maeari-stack
node.name: maeari-1
path.data: {run}/data
path.logs: {run}/logs
network.host: {host}
http.port: {port}
transport.port: {transport}
discovery.type: single-node
xpack.security.enabled: false
cluster.routing.allocation.disk.threshold_enabled: false
"""

# The console is the launcher's, and silent once the server has detached itself from it.
LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1.} %m%n
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {run}/logs/server.log
appender.file.filePattern = {run}/logs/server.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{ISO8601} %p %c{1.} %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 5MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 1
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
rootLogger.appenderRef.file.ref = file
"""


def _digest() -> str:
    """A name for what the plugin is built from."""
    parts = [path.read_bytes() for path in sorted(SOURCES.glob("*.java"))]
    return hashlib.sha256(b"\0".join([*parts, POM.read_bytes(), DESCRIPTOR.encode()])).hexdigest()


def _unpack(archive: Path, target: Path) -> None:
    """Unpacks the server beside its place and moves it there when complete."""
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with zipfile.ZipFile(archive) as files:
        wanted = [name for name in files.namelist() if not name.endswith((".bat", ".exe"))]
        files.extractall(partial, wanted)
    for program in (partial / target.name / "bin").iterdir():
        program.chmod(0o755)
    (partial / target.name).replace(target)
    partial.rmdir()
