"""Environments: what a file may say, and how what `up` chose is merged in."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from swapstream.models.errors import InvalidSettings, UnknownName
from swapstream.scripts.environment import ROOT, Recorded, load_environment, record_file


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_the_local_environment_is_what_the_defaults_say():
    assert load_environment("local") == msgspec.convert({}, type(load_environment("local")))


def test_an_unknown_environment_is_named():
    with pytest.raises(UnknownName, match=r"'nowhere'.*nowhere\.yaml does not exist"):
        load_environment("nowhere")


@pytest.mark.parametrize(("text", "message"), [
    ("brokr: {port: 1}", "brokr"),
    ("broker: {port: 70000}", r"broker\.port"),
    ("flink: {taskmanager_memory: 2 GB}", r"flink\.taskmanager_memory"),
    ("job: {parallelism: 0}", r"job\.parallelism"),
    ("job: {hold_max_bytes: 1000}", r"1048576.*job\.hold_max_bytes"),
    ("job: {hold_max_bytes: 2000000000}", r"1073741824.*job\.hold_max_bytes"),
    ("topics: {scores: {name: 'a b'}}", r"topics\.scores\.name"),
    ("a: [", "is not YAML: line 2"),
])
def test_a_wrong_setting_is_named_with_its_file(tmp_path, text, message):
    file = write(tmp_path / "wrong.yaml", text)
    with pytest.raises(InvalidSettings, match=message) as caught:
        load_environment(file)
    assert file in str(caught.value)


def test_open_ports_are_those_recorded_and_fixed_ones_are_kept(tmp_path):
    file = write(tmp_path / "e.yaml", f"directory: {tmp_path}/state\nbroker: {{port: 0, controller_port: 7}}\n")
    assert load_environment(file).broker.servers == "127.0.0.1:0"
    environment = load_environment(file)
    environment.path.mkdir()
    record_file(environment).write_bytes(msgspec.json.encode(Recorded(broker=5, controller=6, rest=8, rpc=9)))
    merged = load_environment(file)
    assert merged.broker.servers == "127.0.0.1:5"
    assert (merged.broker.controller_port, merged.flink.rest_port, merged.flink.rpc_port) == (7, 8081, 9)


def test_a_broken_record_says_what_to_do(tmp_path):
    file = write(tmp_path / "e.yaml", f"directory: {tmp_path}")
    (tmp_path / "cluster.json").write_text('{"broker": "x"}')
    with pytest.raises(InvalidSettings, match=r"cluster\.json.*delete it"):
        load_environment(file)


def test_a_relative_directory_is_the_projects_wherever_the_command_is_run(tmp_path, monkeypatch):
    file = write(tmp_path / "e.yaml", "directory: .state")
    monkeypatch.chdir(tmp_path)
    assert load_environment("e.yaml").path == load_environment(file).path == ROOT / ".state"


def test_every_role_has_a_topic_of_its_own():
    topics = load_environment("local").topics.by_role()
    assert len({topic.name for topic in topics.values()}) == len(topics) == 9
    assert [role for role, topic in topics.items() if topic.compacted] == ["parameters"]
