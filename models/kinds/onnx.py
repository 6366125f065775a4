"""ONNX: any graph with one input of all features and an output that is a score or a reconstruction."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.artifact import Artifact
from swapstream.models.blocks import BLOCK, in_blocks, padded
from swapstream.models.errors import InvalidArtifact, InvalidSettings
from swapstream.models.graph import parse
from swapstream.models.kinds.base import Fitted, Kind, Training
from swapstream.models.signature import signature

TRIAL_SECONDS = 30.0
"""For the first block: far above any budget, and an end to what would never answer."""


class Onnx(Kind):
    """The score is a column of the graph's output, its negative, or, of an autoencoder, mean_j (output_j - input_j)^2.

    The input is the row as the graph reads it (rounded to float32 where the graph takes float; a window as [T, F], row by
    row); the difference, square and mean are computed in float64. ONNX Runtime runs on one thread, in zero-padded blocks of
    64 rows, or of the graph's own batch size; row by row where a graph can't take 64.
    """

    NAME = "onnx"

    def fit(self, training: Training) -> Fitted:
        raise InvalidSettings(
            "onnx models are trained elsewhere: use `swapstream pack`, or `pack` in swapstream.models"
        )

    def scorer(self, artifact: Artifact) -> OnnxScorer:
        if artifact.graph is None or artifact.parameters:
            raise InvalidArtifact(f"{artifact.ref}: kind {self.NAME} has a graph and no parameters")
        said = artifact.manifest
        return OnnxScorer(artifact.graph, len(said.features), said.output, said.score, said.shape, said.column)


class OnnxScorer:
    """A session. Raises InvalidArtifact when the graph breaks a rule, doesn't load, or has no score in its output."""

    def __init__(
        self,
        graph: bytes,
        width: int,
        output: str | None,
        score: str,
        window: tuple[int, ...] = (),
        column: int | None = None,
    ) -> None:
        model = parse(graph)
        self._signature = signature(model, width, output, BLOCK, window)
        self._session = _session(graph)
        self._width = width
        self._score = score
        self._column = column
        try:
            self._trial()
        except InvalidArtifact as error:
            # Exporters of recurrent networks write the traced batch of 1 into the initial state, and call the batch free.
            self._signature = signature(model, width, output, 1, window)
            if not self._works():
                raise error

    @property
    def output(self) -> str:
        """The output that is read."""
        return self._signature.output

    @property
    def window(self) -> tuple[int, ...]:
        """(T, F) where a row is a window, else ()."""
        return self._signature.window

    def score(self, rows: Float64) -> Float64:
        return in_blocks(rows, lambda blocks: self._block(blocks[0]), self._signature.block, 1)

    def failure(self, row: Float64) -> str:
        """What ONNX Runtime says of a row alone, "" when it has an answer."""
        try:
            self._run(padded(row[None], self._signature.block))
        except Exception as error:
            return _line(error)
        return ""

    def _block(self, block: Float64) -> Float64:
        """A graph that fails on a block is asked row by row: a bad row must not spoil whoever is beside it."""
        try:
            return self._run(block)
        except Exception:
            return np.array([self._alone(row) for row in block])

    def _alone(self, row: Float64) -> float:
        try:
            return float(self._run(padded(row[None], self._signature.block))[0])
        except Exception:
            return np.nan

    def _run(self, block: Float64) -> Float64:
        given = block.astype(self._signature.dtype)
        out = self._session.run(
            [self._signature.output], {self._signature.input: given.reshape(self._signature.shape)}
        )[0]
        flat: Float64 = np.asarray(out).reshape(len(block), -1).astype(np.float64)
        if self._score == "reconstruction_error":
            return np.asarray(np.square(flat - given).mean(axis=1))
        scores: Float64 = flat[:, self._column or 0]
        return -scores if self._score == "-output" else scores

    def _works(self) -> bool:
        try:
            self._trial()
        except InvalidArtifact:
            return False
        return True

    def _trial(self) -> None:
        """One block of zeros, as padding will be: loads and output are as promised."""
        name, shape = self._signature.output, self._signature.shape
        given = {self._signature.input: np.zeros(shape, self._signature.dtype)}
        try:
            with _deadline(TRIAL_SECONDS) as options:
                out = self._session.run([name], given, options)[0]
        except Exception as error:
            raise InvalidArtifact(
                f"graph fails on a block of zeros: {_line(error)}; allowed: a score a row within {TRIAL_SECONDS} s", "output"
            ) from error
        found = np.shape(out)
        if not found or found[0] != shape[0]:
            raise InvalidArtifact(f"graph output {name!r} is {list(found)} for {shape[0]} rows; allowed: a row each", "output")
        self._check_columns(list(found), math.prod(found[1:]))

    def _check_columns(self, found: list[int], columns: int) -> None:
        said = f"graph output {self.output!r} is {found} for {found[0]} rows"
        if self._score == "reconstruction_error":
            if self._column is not None or columns != self._width:
                chosen = "" if self._column is None else f", column {self._column}"
                raise InvalidArtifact(
                    f"{said}{chosen}; allowed: [n, {self._width}] for a reconstruction, and no column", "output"
                )
        elif self._column is None and columns != 1:
            raise InvalidArtifact(
                f"{said}; allowed: [n] or [n, 1] for a score, or say which column it is: 0 to {columns - 1}", "output"
            )
        elif self._column is not None and self._column >= columns:
            raise InvalidArtifact(f"{said}: column {self._column} is not there; allowed: 0 to {columns - 1}", "output")


@contextmanager
def _deadline(seconds: float) -> Iterator[Any]:
    """Options of a run that ends in an error after so many seconds: a loop without end must not keep a worker's loader."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    watchdog = threading.Timer(seconds, setattr, (options, "terminate", True))
    watchdog.daemon = True
    watchdog.start()
    try:
        yield options
    finally:
        watchdog.cancel()


def _session(graph: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    # The extended optimisations round: one merged a double MatMul and Div into a product with a float32 factor (2e-8 off).
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InvalidArtifact(f"graph does not load: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


KIND = Onnx()
