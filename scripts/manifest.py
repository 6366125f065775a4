"""A job as manifests for the Flink Kubernetes Operator: a FlinkDeployment, and a ConfigMap with the job's specification.

A FlinkDeployment is an application of its own: JobManager, TaskManagers and one job. What does not follow from the job is the
site's, and stands in a file that the environment names (conf/container/flinkdeployment.yaml).
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import msgspec

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import InvalidSettings
from swapstream.models.yaml_file import read_mapping
from swapstream.scripts.flink_deployment import JOB, NAME, PART_OF, RESOURCE
from swapstream.scripts.image import flink_settings

TAKEN = re.compile(r"[a-z]([-a-z0-9]{0,43}[a-z0-9])?")
"""What the operator takes as a name."""
PROJECT = "/opt/swapstream"
PYTHON = f"{PROJECT}/.venv/bin/python"
"""In the image."""
SPECIFICATION = "specification"
"""The volume with the job's specification and users' code, in the template, which mounts it at TOLD."""
TOLD = "/etc/swapstream"
MOST = 700_000
"""Bytes of code: a ConfigMap may have 1 MiB, code stands in it in base64, and the specification beside it."""


class Start(msgspec.Struct, frozen=True):
    """How a job begins. `restore`: the URI of what it begins from. `leave_sinks`: state that no operator claims is left behind.

    `checkpoints`: where state goes, if not where the template says. `code`: archives of users' code.
    """

    job_id: str
    restore: str | None = None
    leave_sinks: bool = False
    checkpoints: str | None = None
    code: tuple[Path, ...] = ()


def resource_name(spec: JobSpec) -> str:
    """What its FlinkDeployment is called: both jobs of a handover have one of their own. Raises InvalidSettings."""
    name = f"{spec.namespace}-{spec.deployment}" + (f"-{spec.line}" if spec.line else "")
    if not TAKEN.fullmatch(name):
        raise InvalidSettings(f"deployment {spec.name}: Kubernetes would have to call it {name!r}; it takes small letters, digits and -, "
                              "a letter first, 45 at most: choose another --deployment")
    return name


def manifests(template: dict[str, Any], spec: JobSpec, start: Start) -> list[dict[str, Any]]:
    """ConfigMap and FlinkDeployment, to be applied in this order. Raises InvalidSettings naming what the template lacks."""
    name = resource_name(spec)
    told = f"{name}-{start.job_id[:8]}"  # a new one each time, so that going back finds the old one
    labels = PART_OF | {RESOURCE: name, NAME: spec.name, JOB: start.job_id}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": told, "labels": labels}, "immutable": True,
         "data": {"spec.json": msgspec.json.format(msgspec.json.encode(spec)).decode()}, "binaryData": _archives(start.code)},
        _deployment(template, spec, start, {"name": name, "labels": labels}, told),
    ]  # fmt: skip


def load_template(path: Path) -> dict[str, Any]:
    """Raises InvalidSettings."""
    found = read_mapping(path, "manifest", InvalidSettings)
    if found.get("kind") != "FlinkDeployment":
        raise InvalidSettings(f"manifest {path}: `kind` is {found.get('kind')!r}; it must be FlinkDeployment")
    return found


def as_yaml(documents: list[dict[str, Any]]) -> str:
    """What `kubectl apply -f -` takes."""
    return "---\n".join(msgspec.yaml.encode(each).decode() for each in documents)


def _deployment(template: dict[str, Any], spec: JobSpec, start: Start, metadata: dict[str, Any], told: str) -> dict[str, Any]:
    try:
        site, job = template["spec"], template["spec"]["job"]
        volumes = [_volume(each, told) for each in site["podTemplate"]["spec"]["volumes"]]
        if not any(each["name"] == SPECIFICATION for each in volumes):
            raise InvalidSettings(f"the manifest's podTemplate has no volume {SPECIFICATION!r} for the job's specification")
        pods = site["podTemplate"] | {"spec": site["podTemplate"]["spec"] | {"volumes": volumes}}
        return template | {
            "metadata": template.get("metadata", {}) | metadata,
            "spec": site | {
                "flinkConfiguration": _configuration(site.get("flinkConfiguration", {}), start),
                "podTemplate": pods,
                "job": job | {"args": _arguments(spec), "parallelism": spec.parallelism, "state": "running",
                              "allowNonRestoredState": start.leave_sinks} | _state(start),
            },
        }  # fmt: skip
    except (KeyError, TypeError) as error:
        raise InvalidSettings(f"the manifest has no {error}, or something else there; conf/container/flinkdeployment.yaml is one "
                              "to start from") from error


def _volume(volume: dict[str, Any], told: str) -> dict[str, Any]:
    return volume | {"configMap": {"name": told}} if volume["name"] == SPECIFICATION else volume


def _configuration(site: dict[str, Any], start: Start) -> dict[str, str]:
    """Ours, what the site says instead, and what belongs to this job alone. All of it as text."""
    own = {"$internal.pipeline.job-id": start.job_id} | ({"execution.checkpointing.dir": start.checkpoints} if start.checkpoints else {})
    files = {"python.files": ",".join(f"{TOLD}/{path.name}" for path in start.code)} if start.code else {}
    return flink_settings(PYTHON) | {key: str(value) for key, value in site.items()} | own | files


def _arguments(spec: JobSpec) -> list[str]:
    """Of the class that runs a Python job."""
    return ["-pyclientexec", PYTHON, "-py", f"{PROJECT}/jobs/{spec.job}.py", "--spec", f"{TOLD}/spec.json"]


def _archives(code: tuple[Path, ...]) -> dict[str, str]:
    """Users' code, which pods find beside the specification. Raises InvalidSettings where it is too large for that."""
    found = {path.name: path.read_bytes() for path in code}
    size = sum(map(len, found.values()))
    if size > MOST:
        raise InvalidSettings(f"code of {size:,} bytes is sent along; a ConfigMap takes {MOST:,}: make an image with it, or a smaller "
                              "package")  # fmt: skip
    return {name: base64.b64encode(content).decode() for name, content in found.items()}


def _state(start: Start) -> dict[str, Any]:
    """A state to begin with counts where there is a new nonce, whatever the operator has seen of an earlier job."""
    if start.restore is None:
        return {}
    return {"initialSavepointPath": start.restore, "savepointRedeployNonce": int(start.job_id[:12], 16)}
