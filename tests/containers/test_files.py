"""The files in conf/container against the schemas of who reads them."""

from __future__ import annotations

import copy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from jsonschema.validators import validator_for

from swapstream.scripts.environment import CONF, load_environment

from . import dockerfile, schemas

CONTAINER = CONF / "container"
COMPOSE = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
TEMPLATE = yaml.safe_load((CONTAINER / "flinkdeployment.yaml").read_text())


def complaints(validator: jsonschema.protocols.Validator, manifest: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]


def test_the_flink_deployment_is_what_the_operator_takes(crd):
    assert complaints(crd, TEMPLATE) == []


@pytest.mark.parametrize(("path", "value"), [
    (("spec", "flinkVersion"), "v2_9"), (("spec", "job", "upgradeMode"), "stop"), (("spec", "job", "parallelism"), "two"),
    (("spec", "taskManager", "resorce"), {}), (("spec", "podTemplate", "spec", "containers"), {}), (("kind",), "Deployment"),
])
def test_the_schema_can_tell(crd, path, value):
    spoiled = copy.deepcopy(TEMPLATE)
    inner = spoiled
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    assert complaints(crd, spoiled) != []


@pytest.mark.skipif(find_spec("check_jsonschema") is None, reason="check-jsonschema has the schema")
def test_the_compose_file_is_what_compose_takes():
    schema = schemas.compose()
    check = validator_for(schema)(schema)
    assert complaints(check, COMPOSE) == []
    spoiled = copy.deepcopy(COMPOSE)
    spoiled["services"]["broker"]["comand"] = ["broker"]
    assert complaints(check, spoiled) != []


def test_services_need_what_there_is_and_wait_for_what_can_come():
    services = COMPOSE["services"]
    for name, service in services.items():
        for needed, given in service.get("depends_on", {}).items():
            assert needed in services, name
            assert given["condition"] != "service_healthy" or "healthcheck" in services[needed], name
        volumes = [each.partition(":")[0] for each in service.get("volumes", [])]
        assert set(volumes) <= set(COMPOSE["volumes"]), name


def test_private_keys_are_for_commands_alone():
    homes = {name for name, service in COMPOSE["services"].items() if any("home:" in each for each in service.get("volumes", []))}
    assert homes == {"prepare", "keeper", "demo", "swapstream"}


def test_nothing_that_has_no_password_is_published_beyond_this_host():
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_environment_of_the_image_names_the_services_of_the_compose_file():
    environment = load_environment("container")
    services = COMPOSE["services"]
    assert environment.broker.servers.partition(":")[0] in services
    assert (environment.flink.rest or "").removeprefix("http://").partition(":")[0] in services
    assert not environment.starts_anything
    kept = {each.partition(":")[2] for each in services["taskmanager"]["volumes"]}
    assert {str(environment.store), str(environment.checkpoints)} <= kept
    assert environment.flink.checkpoints == environment.checkpoints.as_uri()


def test_one_version_everywhere():
    version = msgspec.toml.decode((CONF.parent / "pyproject.toml").read_bytes())["project"]["version"]
    image = f"swapstream:{version}"
    assert {service["image"] for service in COMPOSE["services"].values()} == {image}
    assert TEMPLATE["spec"]["image"] == image
    assert f"-t {image} ." in (CONTAINER / "Dockerfile").read_text()


def test_the_dockerfile_can_be_read_ends_as_nobody_and_copies_what_there_is():
    stages = dockerfile.read(CONTAINER / "Dockerfile")
    users = [step.rest for step in stages[-1].steps if step.word == "USER"]
    assert users == ["swapstream"]
    for step in (each for stage in stages for each in stage.steps if each.word == "COPY" and "from" not in each.flags):
        for source in step.words[:-1]:
            assert (CONF.parent / source).exists(), source


def test_an_instruction_that_is_not_known_is_refused(tmp_path: Path):
    (tmp_path / "Dockerfile").write_text("FROM a AS b\nADD http://x /y\n")
    with pytest.raises(ValueError, match="'ADD' is not known here"):
        dockerfile.read(tmp_path / "Dockerfile")


def test_continued_lines_comments_and_flags(tmp_path: Path):
    text = "# one\nFROM a AS b\nRUN x \\\n # said\n && y\nCOPY --from=b --chown=c:d /e /f /g/\nCMD [\"h\", \"i\"]\n"
    (tmp_path / "Dockerfile").write_text(text)
    [stage] = dockerfile.read(tmp_path / "Dockerfile")
    run, copied, command = stage.steps
    assert " ".join(run.rest.split()) == "x && y"
    assert copied.flags == {"from": "b", "chown": "c:d"}
    assert copied.words == ["/e", "/f", "/g/"]
    assert command.words == ["h", "i"]
