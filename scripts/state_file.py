"""What a savepoint or checkpoint consists of, as Flink's own code reads it: operators with their uids, files, transactions, offsets."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from py4j.protocol import Py4JJavaError

from swapstream.models.errors import ClusterError
from swapstream.scripts.flink_classes import flink_classes

SMALL = 1024 * 1024
"""Bytes of an operator's own state that are looked into: those of sources and sinks are far fewer."""
TRIES = 10
SINK, SOURCE = "output-sink", "telemetry-source"
COMMITTER = "Sink Committer: "
"""What Flink puts before a sink's uid, for the part of it that commits."""
TRANSACTION = re.compile(rb"swapstream\.[A-Za-z0-9._-]+\.output(?:\.\d+)?-\d+-\d+")
PREFIX = re.compile(rb"swapstream\.([A-Za-z0-9._-]+)\.output(?:\.\d+)?")


class Operator(msgspec.Struct, frozen=True):
    """An operator by its uid (what has none is known by Flink's id), how many key groups it has, and whether it has state."""

    uid: str
    max_parallelism: int
    stateful: bool


class StateFile(msgspec.Struct, frozen=True):
    """A savepoint or checkpoint.

    - writers: the full names of the deployments whose sinks have written it. transactions: the transactional ids that it leaves to be
      committed. positions: by partition, the next offset of telemetry to be read.
    """

    uri: str
    checkpoint_id: int
    operators: tuple[Operator, ...]
    writers: frozenset[str]
    transactions: frozenset[str]
    positions: dict[int, int]

    @property
    def uids(self) -> frozenset[str]:
        return frozenset(operator.uid for operator in self.operators)

    @property
    def line(self) -> int:
        """Of the sink that it has state of."""
        sinks = [uid for uid in self.uids if is_sink(uid) and not uid.startswith(COMMITTER)]
        return int(sinks[0].removeprefix(SINK).removeprefix("-") or 0) if sinks else 0


def is_sink(uid: str) -> bool:
    """Whether it is the output's sink, of whatever line, or the part of it that commits."""
    return re.fullmatch(rf"(?:{COMMITTER})?{SINK}(?:-\d+)?", uid) is not None


def read_state(uri: str, telemetry: str) -> StateFile:
    """Read what lies at a URI; `telemetry` is the name of that topic. Raises ClusterError for what is missing or truncated."""
    with flink_classes() as jvm:
        try:
            return _read(jvm, uri, telemetry)
        except Py4JJavaError as error:
            raise ClusterError(f"{uri} can't be read as a savepoint or checkpoint: {_words(error)}") from error


def read_newest(newest: Callable[[], str | None], telemetry: str) -> StateFile | None:
    """The state that `newest` names, None where it names none. Flink deletes checkpoints while it makes newer ones: for what is gone by
    now `newest` is asked again. Raises ClusterError."""
    with flink_classes() as jvm:
        for left in reversed(range(TRIES)):
            uri = newest()
            if uri is None:
                return None
            try:
                return _read(jvm, uri, telemetry)
            except (Py4JJavaError, ClusterError) as error:
                if not left:
                    words = _words(error) if isinstance(error, Py4JJavaError) else str(error)
                    raise ClusterError(f"{uri} can't be read as a checkpoint: {words}") from error
    return None


def _read(jvm: Any, uri: str, telemetry: str) -> StateFile:
    metadata = _metadata(jvm, uri)
    operators = list(_each(metadata.getOperatorStates()))
    for operator in operators:
        _check_files(operator, uri)
    own = {uid_of(operator): b"".join(_own_state(operator)) for operator in operators}
    sinks = b"".join(state for uid, state in own.items() if is_sink(uid))
    return StateFile(
        uri, int(metadata.getCheckpointId()),
        tuple(Operator(uid_of(one), int(one.getMaxParallelism()), int(one.getStateSize()) > 0) for one in operators),
        frozenset(found.decode() for found in PREFIX.findall(sinks)),
        frozenset(found.decode() for found in TRANSACTION.findall(sinks)),
        positions(own.get(SOURCE, b""), telemetry),
    )  # fmt: skip


def positions(state: bytes, topic: str) -> dict[int, int]:
    """Of what a Kafka source keeps, splits one after the other: topic, partition, the next offset, and where it stops."""
    name = topic.encode()
    mark, found = struct.pack(">H", len(name)) + name, {}
    for match in re.finditer(re.escape(mark), state):
        partition, offset = struct.unpack_from(">iq", state, match.end())
        found[partition] = offset
    return found


def uid_of(operator: Any) -> str:
    return str(operator.getOperatorUid().orElse(None) or operator.getOperatorID())


def _metadata(jvm: Any, uri: str) -> Any:
    runtime = jvm.org.apache.flink.runtime
    where = runtime.state.filesystem.AbstractFsCheckpointStorageAccess.resolveCheckpointPointer(uri)
    stream = jvm.java.io.DataInputStream(where.getMetadataHandle().openInputStream())
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    try:
        return runtime.checkpoint.Checkpoints.loadCheckpointMetadata(stream, loader, where.getExternalPointer())
    finally:
        stream.close()


def _each(collection: Any) -> Iterator[Any]:
    iterator = collection.iterator()
    while iterator.hasNext():
        yield iterator.next()


def _own_state(operator: Any) -> Iterator[bytes]:
    """What the subtasks of a source or of a sink keep beside keyed state."""
    if not (is_sink(uid_of(operator)) or uid_of(operator) == SOURCE):
        return
    for subtask in _each(operator.getStates()):
        for handle in _each(subtask.getManagedOperatorState()):
            found = handle.getDelegateStateHandle()
            if found.getStateSize() <= SMALL:
                stream = found.openInputStream()
                yield bytes(stream.readAllBytes())
                stream.close()


def _check_files(operator: Any, uri: str) -> None:
    """Raises ClusterError for a file on this machine that is missing or shorter than it was."""
    for subtask in _each(operator.getStates()):
        for state in (subtask.getManagedOperatorState(), subtask.getRawOperatorState(), subtask.getManagedKeyedState(),
                      subtask.getRawKeyedState()):  # fmt: skip
            for path, size in (found for handle in _each(state) for found in _files(handle)):
                there = path.stat().st_size if path.is_file() else -1
                if there < size:
                    raise ClusterError(f"{uri} is not whole: {path.name}, with the state of {uid_of(operator)}, "
                                       + ("is missing" if there < 0 else f"has {there} bytes, not {size}"))  # fmt: skip


def _files(handle: Any) -> Iterator[tuple[Path, int]]:
    """The files on this machine that a handle names, with their sizes."""
    kind = handle.getClass().getSimpleName()
    if kind.startswith("IncrementalRemoteKeyed"):
        parts = [*_each(handle.getSharedState()), *_each(handle.getPrivateState())]
        for part in (handle.getMetaDataStateHandle(), *(one.getHandle() for one in parts)):
            yield from _files(part)
    elif kind in ("FileStateHandle", "RelativeFileStateHandle"):
        uri = handle.getFilePath().toUri()
        if uri.getScheme() in (None, "file"):
            yield Path(uri.getPath()), int(handle.getStateSize())
    elif kind != "ByteStreamStateHandle" and hasattr(handle, "getDelegateStateHandle"):
        yield from _files(handle.getDelegateStateHandle())


def _words(error: Py4JJavaError) -> str:
    """The innermost cause, in a line."""
    cause = error.java_exception
    while cause.getCause() is not None:
        cause = cause.getCause()
    return f"{cause.getClass().getSimpleName()}: {cause.getMessage()}".splitlines()[0]
