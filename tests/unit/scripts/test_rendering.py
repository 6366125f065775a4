"""The generated configuration of a local cluster."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import msgspec
import pytest

from swapstream.scripts.environment import Broker, Environment, Flink
from swapstream.scripts.rendering import MARK, commands, job_settings, process_environment, render
from swapstream.scripts.security import Secret, Security

HERE = Environment(directory="/state/50%", broker=Broker(port=11, controller_port=12),
                   flink=Flink(rest_port=13, rpc_port=14, taskmanagers=2, slots=3, taskmanager_memory="4g"))


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return render(HERE, Path("/conf/here.yaml"), "/state/s.sock")


def properties(text: str) -> dict[str, str]:
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def test_every_placeholder_is_filled(files):
    for name in ("broker/server.properties", "broker/run.sh", "flink/config.yaml", "supervisord.conf"):
        assert "${" not in files[name], name


def test_the_broker_listens_on_loopback_alone(files):
    server = properties(files["broker/server.properties"])
    assert re.findall(r"//([^,]*)", server["listeners"]) == ["127.0.0.1:11", "127.0.0.1:12"]
    assert server["log.dirs"] == "/state/50%/kafka"


def test_a_swap_controllers_timeout_of_two_seconds_is_looked_at_often_enough(files):
    server = properties(files["broker/server.properties"])
    assert int(server["transaction.abort.timed.out.transaction.cleanup.interval.ms"]) <= 500
    assert int(server["transaction.max.timeout.ms"]) >= 900_000


def test_ids_of_transactions_are_forgotten_but_never_before_the_longest_transaction_can_end(files):
    server = properties(files["broker/server.properties"])
    for name in ("transactional.id.expiration.ms", "producer.id.expiration.ms"):
        assert 2 * int(server["transaction.max.timeout.ms"]) <= int(server[name]) <= 86_400_000


def test_flink_listens_on_loopback_alone_and_takes_no_uploads(files):
    config = msgspec.yaml.decode(files["flink/config.yaml"])
    hosts = {key: value for key, value in config.items() if key.endswith(("address", "host"))}
    assert set(hosts) == {"jobmanager.rpc.address", "jobmanager.bind-host", "rest.address", "rest.bind-address",
                          "taskmanager.host", "taskmanager.bind-host"}
    assert set(hosts.values()) == {"127.0.0.1"}
    assert config["web.submit.enable"] is False


def test_flink_has_the_environments_ports_and_sizes(files):
    config = msgspec.yaml.decode(files["flink/config.yaml"])
    assert (config["rest.port"], config["rest.bind-port"], config["jobmanager.rpc.port"]) == (13, "13", 14)
    assert (config["taskmanager.numberOfTaskSlots"], config["taskmanager.memory.process.size"]) == (3, "4g")


def test_flink_keeps_what_a_resumed_job_needs(files):
    config = msgspec.yaml.decode(files["flink/config.yaml"])
    assert config["execution.checkpointing.dir"] == "file:///state/50%/checkpoints"
    assert config["execution.checkpointing.externalized-checkpoint-retention"] == "RETAIN_ON_CANCELLATION"
    assert config["restart-strategy.type"] == "exponential-delay"
    assert "--add-opens=java.base/java.util=ALL-UNNAMED" in config["env.java.opts.all"]


def test_supervisord_reads_its_file_and_restarts_everything(files):
    parser = configparser.RawConfigParser()
    parser.read_string(files["supervisord.conf"])
    programs = [name for name in parser.sections() if name.startswith("program:")]
    assert programs == [f"program:{name}" for name in ("broker", "jobmanager", "taskmanager-1", "taskmanager-2", "keeper")]
    for program in programs:
        assert parser[program]["autorestart"] == "true"
        assert parser[program]["directory"] == "/state/50%%"  # supervisord expands %


def test_a_broker_of_somebody_else_is_not_started():
    elsewhere = msgspec.structs.replace(HERE, broker=Broker(bootstrap="kafka:9092"))
    assert "broker" not in commands(elsewhere, Path("/conf/here.yaml"))
    assert elsewhere.broker.servers == "kafka:9092"


def test_only_a_broker_is_started_where_flink_is_somebody_elses():
    elsewhere = msgspec.structs.replace(HERE, flink=Flink(rest="http://flink:8081"))
    assert list(commands(elsewhere, Path("/conf/here.yaml"))) == ["broker"]
    assert "FLINK_CONF_DIR" not in process_environment(elsewhere)


def test_what_the_cluster_says_of_jobs_is_said_to_others_clusters_too(files):
    config = msgspec.yaml.decode(files["flink/config.yaml"])
    assert job_settings().items() <= {key: str(value) for key, value in config.items()}.items()


def test_a_secret_reaches_flinks_processes_whatever_its_variable_is_called(monkeypatch):
    monkeypatch.setenv("KAFKA_PASSWORD", "s3cret")
    security = Security("SASL_SSL", "PLAIN", "me", Secret(env="KAFKA_PASSWORD"))
    found = process_environment(msgspec.structs.replace(HERE, broker=Broker(bootstrap="k:1", security=security)))
    assert found["KAFKA_PASSWORD"] == "s3cret"
    assert "KAFKA_PASSWORD" not in process_environment(HERE)


def test_processes_are_marked_and_another_flinks_settings_do_not_leak_in(monkeypatch):
    monkeypatch.setenv("FLINK_HOME", "/opt/other")
    monkeypatch.setenv("KAFKA_OPTS", "-Dother")
    found = process_environment(HERE)
    assert found[MARK] == "/state/50%"
    assert found["FLINK_CONF_DIR"] == "/state/50%/conf/flink"
    assert not {"FLINK_HOME", "KAFKA_OPTS"} & set(found)
    assert MARK not in process_environment(HERE, mark=False)
