"""Deployment files."""

from __future__ import annotations

import pytest

from swapstream.models.errors import InvalidSettings, UnknownName
from swapstream.scripts.deployments import Deployment, Deployments, check_name
from swapstream.scripts.environment import Environment, JobDefaults


@pytest.fixture
def deployments(tmp_path):
    return Deployments(Environment(directory=str(tmp_path)))


def test_what_is_saved_is_found_and_listed_without_specifications_and_other_namespaces(deployments, tmp_path):
    saved = [Deployment("prod", name, "detect", 2).with_job("1f") for name in ("a", "b")]
    for deployment in saved:
        deployments.save(deployment)
        deployments.spec(deployment.name).write_text("{}")
    alice = Deployments(Environment(directory=str(tmp_path), job=JobDefaults(namespace="alice")))
    alice.save(Deployment("alice", "a", "detect", 2))
    assert list(deployments) == saved
    assert deployments.find("a") == saved[0]
    assert deployments.find("c") is None


def test_an_unknown_one_is_named_with_those_that_are_known(deployments):
    deployments.save(Deployment("prod", "a", "detect", 2))
    with pytest.raises(UnknownName, match="'b' in namespace 'prod'; known: a"):
        deployments.require("b")


def test_a_new_job_is_the_last_and_wanted():
    before = Deployment("prod", "a", "detect", 2).with_job("1").stopped()
    assert before.desired == "stopped"
    assert before.with_job("2") == Deployment("prod", "a", "detect", 2, "running", ("1", "2"))


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "-a", "a b", "ä", "a" * 101])
def test_names_that_would_break_file_names_or_ids_are_refused(name):
    with pytest.raises(InvalidSettings, match="letters, digits"):
        check_name(name)


def test_a_broken_file_is_named(deployments):
    deployments.save(Deployment("prod", "a", "detect", 2))
    (deployments.directory / "prod.a.json").write_text('{"name": 1}')
    with pytest.raises(InvalidSettings, match=r"prod\.a\.json"):
        deployments.find("a")
