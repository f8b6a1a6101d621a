"""The configuration files of a Kafka broker on a small development machine."""

from __future__ import annotations

from pathlib import Path

from deploy.stack.settings import HOST, Settings

LOGGING = """\
status = warn
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %m (%c{1})%n%ex
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = out
logger.kafka.name = kafka
logger.kafka.level = INFO
logger.server.name = org.apache.kafka.server
logger.server.level = INFO
"""

SMALL_MACHINE = """\
num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=1
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.backoff.ms=1000
log.segment.bytes=134217728
log.retention.check.interval.ms=60000
telemetry.max.bytes=65536
"""

# Tests kill brokers and consumers: notice it in seconds, and let clients ask for even less.
QUICK_FAILOVER = """\
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
controlled.shutdown.max.retries=1
request.timeout.ms=5000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=2000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=500
group.consumer.min.session.timeout.ms=5000
group.consumer.session.timeout.ms=10000
"""


def properties(settings: Settings, node: Path, broker: int, brokers: int) -> str:
    """The server.properties of one broker; topics survive the loss of one of three."""
    voters = ",".join(f"{i}@{HOST}:{settings.controller_port(i)}" for i in range(1, brokers + 1))
    client = f"PLAINTEXT://{HOST}:{settings.broker_port(broker)}"
    listeners, advertised = client, client
    if settings.proxied:
        listeners += f",PROXIED://{HOST}:{settings.proxied_port(broker)}"
        advertised += f",PROXIED://{HOST}:{settings.proxy_port(broker)}"
    replicas, in_sync = brokers, max(1, brokers - 1)
    return f"""\
process.roles=broker,controller
node.id={broker}
controller.quorum.voters={voters}
listeners={listeners},CONTROLLER://{HOST}:{settings.controller_port(broker)}
advertised.listeners={advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={node / "data"}
auto.create.topics.enable=false
message.max.bytes=1048588
num.partitions=1
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.num.partitions=4
offsets.topic.replication.factor={replicas}
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
{SMALL_MACHINE}{QUICK_FAILOVER}"""
