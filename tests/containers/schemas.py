"""Schemas that manifests are checked against: of FlinkDeployment, as its operator publishes it, and of Compose files."""

from __future__ import annotations

import json
import subprocess
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

POM = Path(__file__).with_name("pom.xml")
CACHE = Path(__file__).parents[2] / ".jars" / "schemas"
CRD = "META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml"
NEWER = ("v2_0", "v2_1", "v2_2")
"""What the operator takes as `flinkVersion` since 1.13; its API was last published as a jar with 1.10."""


def flink_deployment(crd: Path | None = None) -> dict[str, Any]:
    """Of a file (`kubectl get crd flinkdeployments.flink.apache.org -o yaml`), else of the published jar, in which later Flinks are
    added. Stricter than the original, which would pass over a field that it does not know."""
    found = yaml.safe_load(crd.read_text() if crd else _published())
    [version] = [each for each in found["spec"]["versions"] if each["name"] == "v1beta1"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    if crd is None:
        schema["properties"]["spec"]["properties"]["flinkVersion"]["enum"] += NEWER
    schema["properties"] |= {"apiVersion": {"const": "flink.apache.org/v1beta1"}, "kind": {"const": "FlinkDeployment"},
                             "metadata": {"type": "object", "required": ["name"]}}  # fmt: skip
    return strict(schema)


def compose() -> dict[str, Any]:
    """As the package check-jsonschema has it."""
    path = metadata.distribution("check-jsonschema").locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json")
    found: dict[str, Any] = json.loads(Path(str(path)).read_text())
    return found


def strict(schema: Any) -> Any:
    """An object that lists its properties has no others."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    listed = isinstance(made.get("properties"), dict) and "type" in made
    if listed and not {"additionalProperties", "x-kubernetes-preserve-unknown-fields"} & set(made):
        made["additionalProperties"] = False
    return made


def _published() -> str:
    """Fetched once."""
    if not list(CACHE.glob("*.jar")):
        subprocess.run(["mvn", "-q", "-B", "-f", POM, "dependency:copy-dependencies", f"-DoutputDirectory={CACHE}"],
                       check=True, capture_output=True)  # fmt: skip
    [jar] = CACHE.glob("*.jar")
    return zipfile.ZipFile(jar).read(CRD).decode()
