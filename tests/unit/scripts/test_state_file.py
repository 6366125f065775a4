"""What is read of a savepoint: one that Flink's own code has written here, from handles made by hand."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, InvalidSettings
from swapstream.scripts.flink_classes import flink_classes
from swapstream.scripts.state_check import check_state
from swapstream.scripts.state_file import Operator, StateFile, is_sink, positions, read_state

UIDS = ("telemetry-source", "parameters-source", "telemetry-windowaggregate", "shard", "ledger-sink", "output-sink",
        "Sink Committer: output-sink")  # fmt: skip
SPEC = JobSpec("detect", "prod", "pumps", "p", 0, "b:1", {"telemetry": "telemetry"}, 4, dict.fromkeys(range(4), 0))


def split(topic: str, partition: int, offset: int) -> bytes:
    """As KafkaPartitionSplitSerializer writes it."""
    return struct.pack(">H", len(topic)) + topic.encode() + struct.pack(">iqq", partition, offset, -(2**63))


STATES = {
    "telemetry-source": split("telemetry", 0, 12) + split("telemetry", 3, 5_000_000_000),
    "output-sink": b"\x00\x1cswapstream.prod.pumps.output\x00\x00",
    "Sink Committer: output-sink": b"..\x00\x20swapstream.prod.pumps.output-1-17\x00.",
}


def write_state(directory: Path, uids: tuple[str, ...] = UIDS, parallelism: int = 128) -> str:
    """A `_metadata` whose operators have their state in it, but for the shard's, which lies in a file."""
    with flink_classes() as jvm:
        _write(jvm, directory, uids, parallelism)
    return directory.as_uri()


def _write(jvm: Any, directory: Path, uids: tuple[str, ...], parallelism: int) -> None:
    runtime, checkpoint = jvm.org.apache.flink.runtime, jvm.org.apache.flink.runtime.checkpoint
    operators = jvm.java.util.ArrayList()
    directory.mkdir(parents=True)
    (directory / "shards").write_bytes(b"x" * 100)
    for number, uid in enumerate(uids):
        state = checkpoint.OperatorState(f"name {uid}", uid, runtime.jobgraph.OperatorID(1, number), 2, parallelism)
        if uid == "shard":
            path = jvm.org.apache.flink.core.fs.Path((directory / "shards").as_uri())
            handle = runtime.state.filesystem.FileStateHandle(path, 100)
        else:
            handle = runtime.state.memory.ByteStreamStateHandle(uid, STATES.get(uid, b"-"))
        stream = runtime.state.OperatorStreamStateHandle(jvm.java.util.HashMap(), handle)
        state.putState(0, checkpoint.OperatorSubtaskState.builder().setManagedOperatorState(stream).build())
        operators.add(state)
    metadata = checkpoint.metadata.CheckpointMetadata(17, operators, jvm.java.util.ArrayList())
    out = jvm.java.io.FileOutputStream(str(directory / "_metadata"))
    checkpoint.Checkpoints.storeCheckpointMetadata(metadata, out)
    out.close()


def test_operators_positions_and_transactions_are_read(tmp_path):
    found = read_state(write_state(tmp_path / "s"), "telemetry")
    assert (found.checkpoint_id, found.uids, found.line) == (17, frozenset(UIDS), 0)
    assert found.positions == {0: 12, 3: 5_000_000_000}
    assert (found.writers, found.transactions) == ({"prod.pumps"}, {"swapstream.prod.pumps.output-1-17"})
    check_state(found, SPEC)


def test_what_is_missing_truncated_or_no_savepoint_is_one_line(tmp_path):
    whole = tmp_path / "whole"
    uri = write_state(whole)
    (whole / "shards").write_bytes(b"x" * 99)
    with pytest.raises(ClusterError, match=r"whole is not whole: shards, with the state of shard, has 99 bytes, not 100"):
        read_state(uri, "telemetry")
    (whole / "shards").unlink()
    with pytest.raises(ClusterError, match=r"shards, with the state of shard, is missing"):
        read_state(uri, "telemetry")
    (whole / "_metadata").write_bytes((whole / "_metadata").read_bytes()[:200])
    with pytest.raises(ClusterError, match=r"whole can't be read as a savepoint or checkpoint: EOFException"):
        read_state(uri, "telemetry")
    with pytest.raises(ClusterError, match=r"nowhere can't be read as a savepoint or checkpoint: FileNotFoundException"):
        read_state((tmp_path / "nowhere").as_uri(), "telemetry")


def test_positions_of_another_topic_are_passed_over():
    assert positions(split("telemetry-2", 0, 7) + split("telemetry", 1, 8), "telemetry") == {1: 8}


def test_sinks_of_every_line_are_known_by_their_uids():
    assert all(map(is_sink, ("output-sink", "output-sink-3", "Sink Committer: output-sink", "Sink Committer: output-sink-3")))
    assert not any(map(is_sink, ("ledger-sink", "Sink Committer: ledger-sink", "output-sink-x", "output-calc")))


def state(*uids: str, writers: tuple[str, ...] = ("prod.pumps",), largest: int = 128, places: tuple[int, ...] = (0, 3)) -> StateFile:
    return StateFile("file:///s", 1, tuple(Operator(uid, largest, True) for uid in uids), frozenset(writers), frozenset(),
                     dict.fromkeys(places, 0))  # fmt: skip


def lined(line: int) -> tuple[str, ...]:
    return tuple(uid.replace("output-sink", f"output-sink-{line}") for uid in UIDS)


@pytest.mark.parametrize(("found", "line", "leave", "reason"), [
    (state(*UIDS, writers=("prod.fans",)), 0, False, r"is of deployment prod\.fans, not of prod\.pumps"),
    (state("source", "map"), 0, False, "is of another job: it has state of 'map', 'source', and detect"),
    (state("shard", "telemetry-source"), 0, False, "is of another job: it has no state of 'parameters-source'"),
    (state(*UIDS), 3, False, "it has state of 'output-sink', and detect .prod.pumps, line 3. has no such operator"),
    (state(*UIDS, "gone"), 3, True, "it has state of 'gone'"),
    (state(*UIDS, places=(0, 4)), 0, False, r"positions in partitions \[4\] of telemetry, and the deployment was submitted with 4"),
    (state(*UIDS, largest=64), 0, False, "another maximum parallelism than 128"),
])  # fmt: skip
def test_state_of_another_job_is_refused_with_the_reason(found, line, leave, reason):
    with pytest.raises(InvalidSettings, match=reason):
        check_state(found, msgspec.structs.replace(SPEC, line=line), leave)


@pytest.mark.parametrize(("found", "line", "leave"), [
    (state(*UIDS), 3, True), (state(*lined(3)), 3, False), (state(*lined(2)), 0, True),
])  # fmt: skip
def test_only_sinks_may_be_left_behind(found, line, leave):
    check_state(found, msgspec.structs.replace(SPEC, line=line), leave)


def test_the_line_is_that_of_the_sink_that_has_written_it():
    assert [state(*lined(3)).line, state(*UIDS).line, state("shard").line] == [3, 0, 0]
