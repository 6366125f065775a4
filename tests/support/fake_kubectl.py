"""A kubectl that stands on PATH in the place of the real one, which the tests have no cluster for.

It keeps what it is given in a folder, answers from there as an API server would, and writes down each call. It believes that a
FlinkDeployment runs as soon as it is applied; `status` says otherwise.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

SCRIPT = """#!/bin/sh
exec "{python}" "{file}" "{directory}" "$@"
"""
KINDS = {"flinkdeployment": "FlinkDeployment", "configmap": "ConfigMap"}


class FakeKubectl:
    """Put on PATH for one test. `answers`: what services give, by path below the service."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        (directory / "bin").mkdir(parents=True)
        script = directory / "bin" / "kubectl"
        script.write_text(SCRIPT.format(python=sys.executable, file=__file__, directory=directory))
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{directory / 'bin'}:{os.environ['PATH']}")

    @property
    def calls(self) -> list[list[str]]:
        path = self.directory / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    def resources(self, kind: str) -> list[dict[str, Any]]:
        return _resources(self.directory, kind)

    def status(self, name: str, **status: Any) -> None:
        """What the operator says of a FlinkDeployment from now on."""
        path = self.directory / f"FlinkDeployment.{name}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"status": status}))

    def answer(self, path: str, body: Any) -> None:
        """What a service says at a path."""
        answers = self.directory / "answers.json"
        known = json.loads(answers.read_text()) if answers.is_file() else {}
        answers.write_text(json.dumps(known | {path: body}))

    def fail(self, line: str) -> None:
        """From now on it ends with this on stderr."""
        (self.directory / "failure").write_text(line)


def _resources(directory: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(directory.glob(f"{KINDS[kind]}.*.json"))]


def _labelled(resource: dict[str, Any], selector: str) -> bool:
    labels = resource["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, value in (each.split("=") for each in selector.split(",")))


def main(directory: Path, arguments: list[str]) -> None:
    with (directory / "calls").open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    if (directory / "failure").is_file():
        sys.exit((directory / "failure").read_text())
    assert arguments[0] == "--namespace", arguments
    _, _, verb, *rest = arguments
    if verb == "apply":
        for resource in yaml.safe_load_all(sys.stdin.read()):
            _apply(directory, resource)
    elif "--raw" in rest:
        below = rest[rest.index("--raw") + 1].partition("/proxy")[2]
        print(json.dumps(json.loads((directory / "answers.json").read_text())[below]))
    elif verb == "get":
        found = [each for each in _resources(directory, rest[0]) if _labelled(each, rest[rest.index("-l") + 1])]
        print(json.dumps({"items": found}))
    elif verb == "delete":
        for kind in rest[0].split(","):
            for each in _resources(directory, kind):
                if _labelled(each, rest[rest.index("-l") + 1]):
                    (directory / f"{each['kind']}.{each['metadata']['name']}.json").unlink()


def _apply(directory: Path, resource: dict[str, Any]) -> None:
    if resource["kind"] == "FlinkDeployment":
        job_id = resource["spec"]["flinkConfiguration"]["$internal.pipeline.job-id"]
        resource["status"] = {"lifecycleState": "STABLE", "jobStatus": {"jobId": job_id, "state": "RUNNING", "startTime": "1000"}}
    (directory / f"{resource['kind']}.{resource['metadata']['name']}.json").write_text(json.dumps(resource))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
