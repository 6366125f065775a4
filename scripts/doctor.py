"""`swapstream doctor`: looks for what would go wrong, one line and a fix each."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata

import click
import msgspec

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import SwapstreamError
from swapstream.scripts.code import lacking
from swapstream.scripts.console import json_option, show
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.findings import Finding, ok, wrong
from swapstream.scripts.flink_cli import connector_version
from swapstream.scripts.flink_rest import FlinkRest
from swapstream.scripts.rendering import java

PYTHON, JAVA, FLINK = (3, 11), "17", "2.3"
"""What Swapstream is tested with. The connector is of Flink 2.2, the newest there is, and runs with 2.3."""


@click.command("doctor")
@json_option
@click.pass_context
def doctor_command(ctx: click.Context, as_json: bool) -> None:
    """Check this machine, Flink and the broker against what the environment asks for.

    Each line is one thing: ok, advice, wrong (with a fix), or unknown where it could not be asked. Exits with 1 if anything is wrong.
    """
    found = list(examine(load_environment(ctx.obj)))
    rows = [msgspec.structs.asdict(each) for each in found]
    show(rows, ["check", "state", "says", "fix"], as_json)
    ctx.exit(1 if any(each.state == "wrong" for each in found) else 0)


def examine(environment: Environment) -> Iterator[Finding]:
    """Everything that can be checked, in the order in which it would fail."""
    from swapstream.scripts.doctor_broker import broker_findings  # imports Kafka's client

    yield check_python()
    yield from guarded("java", check_java)
    yield check_packages(metadata.requires("swapstream") or ())
    yield from guarded("connector", check_connector)
    yield from guarded("code", lambda: code_findings(environment))
    yield from guarded("flink", lambda: list(flink_findings(environment)))
    yield from guarded("broker", lambda: list(broker_findings(environment)))


def guarded(name: str, check: Callable[[], Finding | list[Finding]]) -> list[Finding]:
    """What a check finds; an error of ours is a finding as well."""
    try:
        found = check()
    except SwapstreamError as error:
        what, _, fix = str(error).partition("; ")
        return [wrong(name, what, fix)]
    return found if isinstance(found, list) else [found]


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    said = f"Python {version[0]}.{version[1]}"
    if version == PYTHON:
        return ok("python", said)
    return wrong("python", f"{said}; PyFlink {FLINK} is used with 3.11", "install Python 3.11 and run ./scripts/setup again")


def check_java() -> Finding:
    try:
        done = subprocess.run([java(), "-version"], capture_output=True, text=True, check=False)
    except OSError as error:
        return wrong("java", f"{java()} does not run: {error}", "install Java 17, or set JAVA_HOME")
    return java_finding(done.stderr + done.stdout)


def java_finding(printed: str) -> Finding:
    """What `java -version` prints."""
    found = re.search(r'version "(\d+)[^"]*"', printed)
    version = found[1] if found else "unknown"
    if version == JAVA:
        return ok("java", f"Java {version}")
    return wrong("java", f"Java {version}; Flink {FLINK} is used with {JAVA}", f"install Java {JAVA}, or set JAVA_HOME")


def check_packages(requirements: Iterable[str]) -> Finding:
    """Whether each installed package is as `requirements` ask."""
    from packaging.requirements import Requirement

    asked = [each for each in map(Requirement, requirements) if not each.marker or each.marker.evaluate({"extra": ""})]
    bad = [f"{each.name} is {_version(each.name)}, not {each.specifier}" for each in asked
           if not each.specifier.contains(_version(each.name), prereleases=True)]
    if bad:
        return wrong("packages", "; ".join(bad), "run ./scripts/setup, which installs what conf/requirements.lock says")
    return ok("packages", f"{len(asked)} packages are as they should be, apache-flink {_version('apache-flink')}")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "0"


def check_connector() -> Finding:
    version = connector_version()
    if version.rpartition("-")[2] in ("2.2", FLINK):
        return ok("connector", f"Kafka connector {version}")
    return wrong("connector", f"Kafka connector {version} is not made for Flink {FLINK}", "run ./scripts/setup")


def code_findings(environment: Environment) -> list[Finding]:
    """Of the users' code that jobs here were sent with: it is needed when one is brought back, and when its output is verified."""
    deployments = Deployments(environment)
    specs = ((found.full_name, deployments.spec(found.name)) for found in deployments)
    told = [(name, JobSpec.read(spec).code) for name, spec in specs if spec.is_file()]
    gone = [wrong("code", f"{name}: {lack}", "`swapstream submit` or `swapstream upgrade` puts it there again")
            for name, code in told for lack in lacking(environment, code)]
    sent = {digest for _, code in told for digest in code}
    return gone or ([ok("code", f"{len(sent)} archives of users' code are where they should be")] if sent else [])


def flink_findings(environment: Environment) -> Iterator[Finding]:
    """Raises ClusterError when Flink does not answer."""
    rest = FlinkRest(environment.flink.url)
    if environment.flink.operator == "kubernetes" and not rest.jobs():
        yield ok("flink", f"kubectl answers; no job of Swapstream is at {rest.url}")
        return
    version = rest.version()
    if version.startswith(f"{FLINK}."):
        yield ok("flink", f"Flink {version} at {rest.url}, {rest.overview()['slots-total']} slots")
    else:
        yield wrong("flink", f"Flink {version} at {rest.url}; jobs are built with {FLINK}", f"use a cluster of Flink {FLINK}")
    yield checkpoint_finding(environment, rest.configuration())


def checkpoint_finding(environment: Environment, configuration: dict[str, str]) -> Finding:
    """Checkpoints that only the JobManager holds die with it."""
    directory = environment.flink.checkpoints or configuration.get("execution.checkpointing.dir")
    if directory:
        return ok("checkpoints", f"checkpoints go to {directory}")
    return wrong("checkpoints", "Flink has no directory for checkpoints: state would die with the JobManager",
                 "set flink.checkpoints in the environment to a URI that all its hosts reach")
