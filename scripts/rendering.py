"""The files that a local cluster runs with, made from conf/ and an environment whose ports are known."""

from __future__ import annotations

import base64
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from string import Template

import msgspec

from swapstream.models.errors import ClusterError
from swapstream.scripts.environment import CONF, JARS, Environment

MARK = "SWAPSTREAM_CLUSTER"
"""An environment variable that every process of a cluster carries: its directory. `down` sweeps by it."""

JOB_SETTINGS = "flink/job.yaml"
KAFKA_LOGGING = "broker/log4j2.properties"
CLUSTER_ID = base64.urlsafe_b64encode(b"swapstream-local").decode().rstrip("=")
"""Kafka wants 16 bytes in base64; there is never more than one broker to tell apart."""
FEATURES = "--feature transaction.version=1"
"""Version 2 counts a producer's epoch up at each commit. What Flink commits once more when it recovers, with the epoch of the
checkpoint, is then refused as fenced, whatever transactions are named like, and logged as a failed commit though nothing is lost (the
sink's own producer, committing twice, against Kafka 4.1). With version 1 a repeated commit succeeds: the log tells the truth."""
COPIED = (KAFKA_LOGGING, "flink/log4j-console.properties", "flink/log4j-cli.properties")


def flink_home() -> Path:
    """The Flink distribution inside the apache-flink package. Raises ClusterError."""
    spec = find_spec("pyflink")  # does not import it
    if spec is None or spec.origin is None:
        raise ClusterError(f"{sys.executable} has no apache-flink; ./scripts/setup makes an environment that does")
    return Path(spec.origin).parent


def java() -> str:
    """The java command: JAVA_HOME's, as Flink's own scripts choose it, or the one on PATH."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else "java"


def process_environment(environment: Environment, mark: bool = True) -> dict[str, str]:
    """What a process of the cluster, or a Flink client, is started with: nothing of another Flink or Hadoop leaks in."""
    foreign = ("FLINK_", "_FLINK_", "HADOOP_", "HBASE_", "YARN_", "KAFKA_", "PYFLINK_")
    ours = {"FLINK_LOG_DIR": str(environment.path / "logs"), "FLINK_PID_DIR": str(environment.path / "tmp"),
            "TMPDIR": str(environment.path / "tmp")}
    if not environment.flink.rest:
        ours["FLINK_CONF_DIR"] = str(environment.path / "conf" / "flink")
    if mark:
        ours[MARK] = str(environment.path)
    secrets = environment.broker.security.variables
    kept = {key: value for key, value in os.environ.items() if key in secrets or not key.startswith(foreign)}
    return kept | ours


def render(environment: Environment, environment_path: Path, socket: str) -> dict[str, str]:
    """Every generated file, by its path below <directory>/conf."""
    files = {name: (CONF / name).read_text() for name in COPIED}
    files["broker/server.properties"] = fill("broker/server.properties", environment)
    files["broker/run.sh"] = broker_script(environment)
    files["flink/config.yaml"] = fill("flink/config.yaml", environment) + (CONF / JOB_SETTINGS).read_text()
    files["supervisord.conf"] = supervisord_conf(environment, environment_path, socket)
    return files


def supervisord_conf(environment: Environment, environment_path: Path, socket: str) -> str:
    """supervisord's configuration: one section a process, all started and stopped together."""
    home = environment.path
    head = (f"[supervisord]\nlogfile={home}/logs/supervisord.log\nlogfile_maxbytes=0\npidfile={home}/supervisord.pid\n"
            f"identifier=swapstream\nchildlogdir={home}/logs\n\n"
            f"[unix_http_server]\nfile={socket}\nchmod=0700\n\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n")
    sections = [_program(name, command, home) for name, command in commands(environment, environment_path).items()]
    return "\n".join([head, *sections]).replace("%", "%%")


def commands(environment: Environment, environment_path: Path) -> dict[str, str]:
    """The command line of each process by its name."""
    scripts, home = flink_home() / "bin", environment.path
    found = {} if environment.broker.bootstrap else {"broker": f'/bin/sh "{home}/conf/broker/run.sh"'}
    if environment.flink.rest:
        return found
    found["jobmanager"] = f'"{scripts}/jobmanager.sh" start-foreground'
    for number in range(1, environment.flink.taskmanagers + 1):
        found[f"taskmanager-{number}"] = f'"{scripts}/taskmanager.sh" start-foreground'
    found["keeper"] = f'"{sys.executable}" -m swapstream.scripts.keeper "{environment_path}"'
    return found


def broker_script(environment: Environment) -> str:
    """A shell script that formats the broker's directory when it is new, and becomes the broker."""
    home, memory = environment.path, environment.broker.memory
    properties = f'"{home}/conf/broker/server.properties"'
    command = f'"{java()}" "-Dlog4j2.configurationFile={home}/conf/{KAFKA_LOGGING}" -cp "{JARS}/*"'
    return (f'[ -f "{home}/kafka/meta.properties" ] ||\n'
            f"  {command} kafka.tools.StorageTool format --ignore-formatted -t {CLUSTER_ID} -c {properties} {FEATURES} || exit 1\n"
            f"exec {command} -Xms{memory} -Xmx{memory} kafka.Kafka {properties}\n")


def _program(name: str, command: str, home: Path) -> str:
    """Restarted whenever it ends, for ever. Killed as a group: Python workers belong to their TaskManager's group."""
    return (f"[program:{name}]\ncommand={command}\ndirectory={home}\nautorestart=true\nstartsecs=1\n"
            f"startretries=1000000\nstopwaitsecs=15\nkillasgroup=true\nredirect_stderr=true\n"
            f"stdout_logfile={home}/logs/{name}.log\nstdout_logfile_maxbytes=50MB\nstdout_logfile_backups=3\n")


def fill(name: str, environment: Environment, broker_host: str = "127.0.0.1") -> str:
    """A template of conf/ with what an environment says; the broker listens on `broker_host`."""
    flink, broker = environment.flink, environment.broker
    return Template((CONF / name).read_text()).substitute(
        directory=environment.path, python=sys.executable, java_options=java_options(), broker_host=broker_host,
        broker_port=broker.port, controller_port=broker.controller_port,
        rest_port=flink.rest_port, rpc_port=flink.rpc_port, slots=flink.slots,
        jobmanager_memory=flink.jobmanager_memory, taskmanager_memory=flink.taskmanager_memory)


def job_settings() -> dict[str, str]:
    """What jobs run with on any cluster."""
    return {key: str(value) for key, value in msgspec.yaml.decode((CONF / JOB_SETTINGS).read_bytes()).items()}


def java_options() -> str:
    """The JVM options that the Flink distribution ships, without which Java 17 refuses it."""
    shipped = msgspec.yaml.decode((flink_home() / "conf" / "config.yaml").read_bytes())
    return str(shipped["env"]["java"]["opts"]["all"])
