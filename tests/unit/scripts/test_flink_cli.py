"""The `flink run` line."""

from __future__ import annotations

import shlex
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from swapstream.models.errors import InvalidSettings, UnknownName
from swapstream.scripts import flink_cli
from swapstream.scripts.bundled import Bundle, bundle_files
from swapstream.scripts.environment import ROOT, Environment, Flink
from swapstream.scripts.flink_cli import FlinkCommandLine, cause, new_job_id


@pytest.fixture
def flink(tmp_path, monkeypatch):
    jars = tmp_path / "jars"
    jars.mkdir()
    (jars / "flink-sql-connector-kafka-1.jar").touch()
    monkeypatch.setattr(flink_cli, "JARS", jars)
    return FlinkCommandLine(Environment(directory=str(tmp_path / "with space")))


def after(arguments: list[str], option: str) -> list[str]:
    return [following for given, following in pairwise(arguments) if given == option]


def test_the_line_names_the_job_its_specification_and_both_jars(flink):
    arguments = flink.arguments("detect", Path("/s.json"), 3, "ab12")
    assert arguments[1:3] == ["run", "-d"]
    assert after(arguments, "-p") == ["3"]
    assert after(arguments, "-py") == [str(ROOT / "jobs" / "detect.py")]
    assert after(arguments, "--spec") == ["/s.json"]
    assert [Path(uri).name.rstrip("0123456789.jar-") for uri in after(arguments, "-C")] == [
        "flink-sql-connector-kafk", "flink-python"]
    assert "-D$internal.pipeline.job-id=ab12" in arguments
    assert "-s" not in arguments


def test_state_is_restored_by_uri(flink):
    assert after(flink.arguments("detect", Path("/s.json"), 3, "ab12", "s3://c/chk-1"), "-s") == ["s3://c/chk-1"]


def test_the_job_comes_after_all_of_flinks_own_options(flink):
    arguments = flink.arguments("detect", Path("/s.json"), 3, "ab12", "file:///c/chk-1")
    assert arguments[-4] == "-py"


def test_the_shell_line_can_be_typed(flink):
    arguments = flink.arguments("detect", Path("/s.json"), 3, "ab12")
    words = shlex.split(flink.shell_line(arguments))
    assert words[0] == "env"
    assert words[1].startswith("FLINK_CONF_DIR=")
    assert words[2:] == arguments


@pytest.fixture
def bundle(tmp_path) -> Path:
    directory = tmp_path / "a bundle"
    directory.mkdir()
    for file in bundle_files(directory).values():
        file.touch()
    made = Bundle("0.1", "3.11.7", "2.3.0", "5.0.0-2.2", "linux-x86_64", {"numpy": "2"})
    bundle_files(directory)["manifest"].write_bytes(msgspec.json.encode(made))
    return directory


def test_a_bundle_brings_python_code_and_jar_and_nothing_of_this_machine_is_named(flink, bundle):
    arguments = flink.arguments("detect", Path("/s.json"), 3, "ab12", bundle=bundle)
    assert after(arguments, "-pyarch") == [f"{bundle.as_uri()}/environment.tar.gz#environment"]
    assert after(arguments, "-pyexec") == ["environment/bin/python3"]
    assert after(arguments, "-pyfs") == [f"{bundle.as_uri()}/swapstream.zip"]
    assert after(arguments, "-j") == [f"{bundle}/swapstream.jar"]
    assert after(arguments, "-pym") == ["swapstream.jobs.detect"]
    assert arguments[-2:] == ["--spec", "/s.json"]
    assert not {"-C", "-py"} & set(arguments)


def test_a_bundle_that_is_not_whole_names_what_it_lacks(flink, bundle):
    bundle_files(bundle)["jar"].unlink()
    with pytest.raises(InvalidSettings, match=r"a bundle is no bundle: it has no swapstream\.jar; make one with"):
        flink.arguments("detect", Path("/s.json"), 3, "ab12", bundle=bundle)


def test_another_cluster_is_named_and_told_what_ours_says_about_jobs(flink):
    there = Flink(rest="http://flink:8081", checkpoints="s3://bucket/checkpoints")
    elsewhere = FlinkCommandLine(msgspec.structs.replace(flink.environment, flink=there))
    arguments = elsewhere.arguments("detect", Path("/s.json"), 3, "ab12")
    assert after(arguments, "-m") == ["flink:8081"]
    assert "-Dexecution.checkpointing.dir=s3://bucket/checkpoints" in arguments
    assert "-Drestart-strategy.type=exponential-delay" in arguments
    assert shlex.split(elsewhere.shell_line(arguments)) == arguments


def test_an_unknown_job_is_named(flink):
    with pytest.raises(UnknownName, match="job 'guess'; known: detect"):
        flink.arguments("guess", Path("/s.json"), 1, "ab12")


def test_job_ids_are_flinks_kind_and_new_each_time():
    first, second = new_job_id(), new_job_id()
    assert first != second
    assert len(bytes.fromhex(first)) == 16


def test_the_cause_is_the_python_error_not_the_end_of_its_process():
    output = """
Traceback (most recent call last):
  File "/jobs/detect.py", line 4, in <module>
swapstream.models.errors.InvalidSettings: Error in job specification /s.json
org.apache.flink.client.program.ProgramAbortException: java.lang.RuntimeException: Python process exits with code: 1
\tat org.apache.flink.client.python.PythonDriver.main(PythonDriver.java:138)
Caused by: java.lang.RuntimeException: Python process exits with code: 1
\t... 14 more
"""
    assert cause(output) == "swapstream.models.errors.InvalidSettings: Error in job specification /s.json"
    assert cause("") == "it printed nothing"
