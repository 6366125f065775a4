"""Deployment files."""

from __future__ import annotations

import pytest

from swapstream.models.errors import Conflict, InvalidSettings, UnknownName
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


def test_a_new_submission_has_jobs_of_its_own_and_those_before_are_remembered():
    before = Deployment("prod", "a", "detect", 2).submitted("1").with_job("2")
    after = before.submitted("3", "file:///s")
    assert (before.job_ids, before.earlier, before.origin) == (("1", "2"), (), None)
    assert (after.job_ids, after.earlier, after.origin, after.job_id) == (("3",), ("1", "2"), "file:///s", "3")


def test_generations_are_given_out_once(deployments):
    deployments.save(Deployment("prod", "a", "detect", 2, generation=3))
    assert [deployments.next_generation("a") for _ in range(2)] == [4, 5]
    assert deployments.require("a").generation == 3


def test_a_namespace_whose_name_goes_on_after_a_dot_is_another(deployments, tmp_path):
    deployments.save(Deployment("prod", "a", "detect", 2))
    other = Deployments(Environment(directory=str(tmp_path), job=JobDefaults(namespace="prod.x")))
    other.save(Deployment("prod.x", "b", "detect", 2))
    assert [found.name for found in deployments] == ["a"]
    assert [found.name for found in other] == ["b"]


def with_green(deployments) -> tuple[Deployment, Deployment]:
    main = Deployment("prod", "a", "detect", 2, generations=7).submitted("1")
    green = Deployment("prod", "a", "detect", 3, generation=6, line=6, green=True).submitted("2", "file:///s").stopped()
    for one in (main, green):
        deployments.save(one)
        deployments.spec("a", one.green).write_text(str(one.generation))
    return main, green


def test_a_green_job_stands_beside_and_takes_the_place_of_the_one_before(deployments):
    main, green = with_green(deployments)
    assert (list(deployments), list(deployments.every())) == ([main], [green, main])
    deployments.promote("a")
    deployments.promote("a")
    [now] = deployments.every()
    assert (now.green, now.parallelism, now.generation, now.generations, now.line) == (False, 3, 6, 7, 6)
    assert (now.job_ids, now.earlier, now.origin, now.desired) == (("2",), ("1",), "file:///s", "running")
    assert deployments.spec("a").read_text() == "6"


def test_a_promotion_that_was_interrupted_is_finished(deployments):
    _, green = with_green(deployments)
    deployments.promote("a")
    deployments.save(green)  # as before its last step
    deployments.promote("a")
    [now] = deployments.every()
    assert (now.job_ids, now.earlier) == (("2",), ("1",))
    assert deployments.spec("a").read_text() == "6"


def test_a_green_job_that_is_dropped_leaves_the_one_before_as_it_is(deployments):
    main, _ = with_green(deployments)
    deployments.drop_green("a")
    deployments.drop_green("a")
    assert list(deployments.every()) == [main]
    assert not deployments.spec("a", green=True).exists()


def test_of_two_upgrades_at_once_the_second_is_refused_in_one_line(deployments):
    with deployments.upgrading("a"):
        with pytest.raises(Conflict, match=r"an upgrade of prod\.a is under way already"), deployments.upgrading("a"):
            pass
        with deployments.upgrading("b"), deployments.lock("a"):
            pass
    with deployments.upgrading("a"):
        pass
