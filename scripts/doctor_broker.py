"""What `swapstream doctor` asks the broker: topics, rights, keys, transactions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kafka.errors import KafkaError

from swapstream.models.errors import SwapstreamError
from swapstream.scripts import kafka
from swapstream.scripts.access import denied, rights
from swapstream.scripts.connecting import who
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.doctor_keys import key_findings
from swapstream.scripts.environment import Environment, JobDefaults
from swapstream.scripts.findings import Finding, advice, ok, unknown, wrong
from swapstream.scripts.publish import author_of, read_definitions, require_trusted
from swapstream.scripts.topics import admin, compare_topics
from swapstream.scripts.transactions import open_transactions

LARGE_TABLE = 64 * 1024 * 1024
"""Bytes of definitions from where on they are worth a word."""
MANY_IDS = 100_000
"""Transactional ids that a broker remembers, at some 300 bytes each, from where on it is worth a word."""


def broker_findings(environment: Environment) -> Iterator[Finding]:
    """Raises ClusterError when the broker does not answer or refuses the client altogether."""
    with admin(environment) as client:
        yield ok("broker", f"{environment.broker.servers} answers {who(environment)}")
        topics = list(topic_findings(environment, client))
        yield from topics
        yield right_finding(environment, client)
        settings = broker_settings(client)
        yield from transaction_findings(settings, environment.job)
        yield feature_finding(client.describe_features())
        telemetry, parameters = environment.topics.telemetry.name, environment.topics.parameters.name
        if any(each.check == f"topic {parameters}" and each.state != "wrong" for each in topics):
            yield signing_finding(environment)
            yield definition_finding(kafka.read_to_end(environment, parameters))
        if any(each.check == f"topic {telemetry}" and each.state != "wrong" for each in topics):
            yield open_transaction_finding(client, telemetry, environment.topics.telemetry.partitions)
            yield from key_findings(environment, telemetry)


def topic_findings(environment: Environment, client: Any) -> Iterator[Finding]:
    """One a topic: there, with the partitions and settings of its role."""
    for state in compare_topics(environment, client):
        check = f"topic {state.topic}"
        if state.state == "missing":
            yield wrong(check, f"{state.role}: it does not exist, or may not be seen", "create it with `swapstream topics`")
        elif state.differs:
            yield wrong(check, f"{state.role}: {state.differs}", "change the topic, or the environment")
        elif state.state == "unreadable":
            yield unknown(check, f"{state.role}: {state.partitions} partitions; its settings may not be read",
                          "allow DescribeConfigs on it")
        else:
            yield ok(check, f"{state.role}: {state.partitions} partitions")


def right_finding(environment: Environment, client: Any) -> Finding:
    """Whether the user may do what a deployment does, tried with the name of one that there is."""
    names = [deployment.name for deployment in Deployments(environment)] or ["doctor"]
    missing = denied(client, rights(environment), names[0])
    if missing:
        return wrong("rights", f"{who(environment)} may not {', '.join(missing)}",
                     "give these rights with kafka-acls.sh: the README has the lines")
    return ok("rights", f"{who(environment)} may read, write and commit what a deployment does")


def broker_settings(client: Any) -> dict[str, str]:
    """The first broker's configuration; empty when it may not be read."""
    from kafka.admin import ConfigFilterType, ConfigResource, ConfigResourceType

    broker = str(client.describe_cluster()["brokers"][0]["broker_id"])
    try:
        found = client.describe_configs([ConfigResource(ConfigResourceType.BROKER, broker)], config_filter=ConfigFilterType.ALL)
    except KafkaError:
        return {}
    return {key: entry["value"] for key, entry in found.get("broker", {}).get(broker, {}).items()}


def transaction_findings(settings: dict[str, str], job: JobDefaults) -> Iterator[Finding]:
    """The broker's limits against what an exactly-once job needs of them."""
    if "transaction.max.timeout.ms" not in settings:
        yield unknown("transactions", "the broker's configuration may not be read", "allow DescribeConfigs on the cluster")
        return
    timeout, most = job.transaction_timeout_ms, int(settings["transaction.max.timeout.ms"])
    if timeout > most:
        yield wrong("transaction timeout", f"job.transaction_timeout_ms is {timeout}, the broker allows {most}: sinks would not start",
                    "lower it, or raise the broker's transaction.max.timeout.ms")
    else:
        yield ok("transaction timeout", f"{timeout} ms of at most {most}: what an outage may last under exactly_once")
    for name in ("transactional.id.expiration.ms", "producer.id.expiration.ms"):
        kept = int(settings.get(name, 7 * 86_400_000))
        if kept <= timeout:
            yield wrong(name, f"{kept} is not above job.transaction_timeout_ms, {timeout}", "raise it: 3600000 is enough")
    yield id_finding(int(settings.get("transactional.id.expiration.ms", 7 * 86_400_000)), job)


def id_finding(kept_ms: int, job: JobDefaults) -> Finding:
    """Each checkpoint of each subtask has a transactional id of its own, which the broker remembers so long."""
    count = kept_ms // job.checkpoint_ms * job.parallelism
    said = f"a deployment leaves {count} ids at the broker (transactional.id.expiration.ms is {kept_ms})"
    if job.delivery == "exactly_once" and count > MANY_IDS:
        return advice("transactional ids", said, "lower transactional.id.expiration.ms on the broker: 3600000 is enough")
    return ok("transactional ids", said)


def feature_finding(features: dict[str, dict[str, Any]]) -> Finding:
    """transaction.version decides what a commit that is repeated at recovery is answered."""
    version = features.get("transaction.version", {}).get("finalized", (0, 0))[1]
    if version < 2:
        return ok("transaction.version", f"{version}: a commit that is repeated at recovery succeeds")
    return advice("transaction.version", f"{version}: a commit that is repeated at recovery is refused as fenced, and Flink logs "
                  "a failed commit though nothing is lost",
                  "`kafka-features.sh downgrade --feature transaction.version=1`, or believe `prev`, not the log")


def open_transaction_finding(client: Any, topic: str, partitions: int) -> Finding:
    """The oldest transaction that is open on telemetry: nobody reads past it."""
    try:
        old = open_transactions(client, topic, partitions)
    except KafkaError as error:
        return unknown("open transactions", f"they can't be asked for: {type(error).__name__}", f"allow Read on topic {topic}")
    if not old:
        return ok("open transactions", f"none holds back readers of {topic}")
    return wrong("open transactions", str(old[0]), old[0].remedy)


def signing_finding(environment: Environment) -> Finding:
    """Whether what is published from here would be believed."""
    namespace = environment.job.namespace
    try:
        author = author_of(environment)
        require_trusted(read_definitions(environment), namespace, author)
    except SwapstreamError as error:
        return advice("signing", str(error), "needed to publish and to swap: `swapstream keys list` shows the keys")
    assert author.signer is not None
    return ok("signing", f"namespace {namespace!r} trusts key {author.signer.id}, with which commands sign")


def definition_finding(records: Iterable[kafka.Record]) -> Finding:
    """How much every worker keeps of what was ever defined."""
    sizes = [len(record.value) for record in records if record.value]
    said = f"{len(sizes)} definitions, {sum(sizes) / 1e6:.1f} MB"
    if sum(sizes) < LARGE_TABLE:
        return ok("definitions", said)
    return advice("definitions", f"{said}: every worker keeps them, and every checkpoint holds them once for each subtask",
                  "numbers that need not stay go with `push --now`, large models through the store")
