"""A FlinkDeployment's job without Kubernetes: what a JobManager and a TaskManager of its own make of the manifest, in the image.

The operator's part is done by hand: the ConfigMap's files and the configuration are folders that are mounted where the manifest and Flink
expect them, and the job's class, jar and arguments are given to Flink's application mode.
"""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from . import schemas
from .compose import Compose
from .root import end

HOST, PORT = "application", 8091
PATIENCE = 120.0
ENVIRONMENT = {
    "directory": "/var/lib/swapstream", "broker": {"bootstrap": "broker:9092"},
    "flink": {"operator": "kubernetes", "rest": "kubernetes://flink", "checkpoints": "file:///var/lib/swapstream/checkpoints"},
    "models": {"store": "file:///var/lib/swapstream/store"},
}  # fmt: skip
ADDRESSES = {"jobmanager.rpc.address": HOST, "jobmanager.rpc.port": "6223", "rest.address": HOST, "rest.port": str(PORT),
             "rest.bind-port": str(PORT), "jobmanager.memory.process.size": "1024m", "taskmanager.memory.process.size": "2048m",
             "high-availability.type": "NONE"}  # fmt: skip
"""What the operator puts in, and, since there is no Kubernetes to ask, no high availability."""
RUNNING = f"import urllib.request; print(urllib.request.urlopen('http://{HOST}:{PORT}/jobs/%s').read().decode())"

SCORED = """
from swapstream.operators.scores import decode_scores
from swapstream.scripts import kafka
from swapstream.scripts.environment import load_environment
environment = load_environment()
found = [decode_scores(record.value) for record in kafka.read_to_end(environment, environment.topics.scores.name)]
print(sum(len(frame) for frame in found if frame.provenance.deployment == "pods"))
"""


def run_application(services: Compose, directory: Path, say: Callable[[str], None]) -> None:
    """Submit the demo's plan as a manifest, run that, and have records scored. Raises RuntimeError, AssertionError."""
    commands, plan = services.container("swapstream"), "/opt/swapstream/conf/plans/demo.yaml"
    (directory / "work").mkdir(parents=True)
    (directory / "work" / "pods.yaml").write_text(yaml.safe_dump(ENVIRONMENT))
    commands = replace(commands, mounts=(*commands.mounts, (directory / "work", "/mnt")))
    printed = commands.run(["swapstream", "--env", "/mnt/pods.yaml", "submit", "detect", "--plan", plan, "--deployment", "pods",
                            "--start", "latest", "--manifest"])  # fmt: skip
    told, made = yaml.safe_load_all(printed)
    jsonschema.validate(made, schemas.flink_deployment())
    folders = lay_out(told, made, directory)
    image = replace(services.container("taskmanager"), hostname=HOST)
    image = replace(image, mounts=(*image.mounts, *folders))
    job, job_id = made["spec"]["job"], made["spec"]["flinkConfiguration"]["$internal.pipeline.job-id"]
    with ExitStack() as stack:
        for name, words in {
            "application": ["standalone-job.sh", "start-foreground", "--jars", job["jarURI"].removeprefix("local://"),
                            "--job-classname", job["entryClass"], *job["args"]],
            "pod": ["taskmanager.sh", "start-foreground"],
        }.items():  # fmt: skip
            log = stack.enter_context(services.log(name).open("wb"))
            process = subprocess.Popen(image.arguments([*image.entrypoint, *words]), stdout=log, stderr=subprocess.STDOUT)
            stack.callback(end, process)
        began = time.monotonic()
        while not runs(image, job_id):
            assert time.monotonic() < began + PATIENCE, services.log("application").read_text()[-6000:]
            time.sleep(1.0)
        say(f"the FlinkDeployment's job runs after {time.monotonic() - began:.1f} s, as {job_id}")
        commands.run(["swapstream", "simulate", "--count", "2000", "--rate", "0", "--faults", "none"])
        until = time.monotonic() + PATIENCE
        while (found := scored(commands)) < 2000:
            assert time.monotonic() < until, f"{found} scores; {services.log('pod').read_text()[-6000:]}"
        say("and scores what is sent")


def lay_out(told: dict[str, Any], made: dict[str, Any], directory: Path) -> list[tuple[Path, str]]:
    """The ConfigMap's files and Flink's configuration as folders, and where they are mounted."""
    pod = made["spec"]["podTemplate"]["spec"]
    [place] = [each["mountPath"] for each in pod["containers"][0]["volumeMounts"] if each["name"] == "specification"]
    specification, configuration = directory / "specification", directory / "configuration"
    for folder in (specification, configuration):
        folder.mkdir()
    for name, text in told["data"].items():
        (specification / name).write_text(text)
    for name, text in told["binaryData"].items():
        (specification / name).write_bytes(base64.b64decode(text))
    settings = made["spec"]["flinkConfiguration"] | ADDRESSES
    (configuration / "config.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
    for name in ("log4j-console.properties", "log4j-cli.properties"):
        (configuration / name).write_text((Path(__file__).parents[2] / "conf" / "flink" / name).read_text())
    return [(specification, place), (configuration, "/opt/flink/conf")]


def runs(image: Any, job_id: str) -> bool:
    """Whether every task of the job runs."""
    try:
        job = json.loads(image.run(["python", "-c", RUNNING % job_id]))
    except RuntimeError:  # it is not up yet
        return False
    return bool(job["state"] == "RUNNING" and all(vertex["status"] == "RUNNING" for vertex in job["vertices"]))


def scored(commands: Any) -> int:
    """Rows of scores of the deployment so far."""
    return int(commands.run(["python", "-c", SCORED]).split()[-1])
