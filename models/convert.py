"""Models of one's own as ONNX graphs. Only `pack` imports this: scikit-learn and skl2onnx load with it, inside functions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.checks import close
from swapstream.models.errors import InvalidArtifact
from swapstream.models.graph import inlined, parse
from swapstream.models.kinds.onnx import OnnxScorer

OPSET = 18
OPSETS = {"": OPSET, "ai.onnx.ml": 3}
AGREEMENT = 1e-5  # relative, between the estimator's own scores and its graph's
COMPARED = 1000  # rows
SUPPORTED = (
    "supported are outlier detectors (IsolationForest, OneClassSVM, LocalOutlierFactor(novelty=True), EllipticEnvelope,"
    " SGDOneClassSVM), GaussianMixture, pipelines that end in one, and with score='reconstruction_error' regressors that"
    " rebuild their input; with column, classifiers; with score='output', regressors"
)


class Converted(msgspec.Struct, frozen=True):
    """A graph, how its output becomes a score, and the window (T, F) that a row is, or ()."""

    graph: bytes
    score: str
    output: str | None
    window: tuple[int, ...] = ()


class _Recipe(msgspec.Struct, frozen=True):
    """How an estimator is converted: which output is read and how, and what the estimator itself says for comparison."""

    score: str
    output: str
    own: Callable[[Float64], Any]
    options: dict[str, Any] = {}


def graph_of(
    model: Any,
    rows: Float64,
    score: str | None = None,
    output: str | None = None,
    window: tuple[int, ...] = (),
    column: int | None = None,
) -> Converted:
    """The graph of ONNX bytes, of a path, or of a fitted estimator (compared with its own scores of `rows`).

    Raises InvalidArtifact, in one line, for what can't be converted or differs by more than AGREEMENT.
    """
    if isinstance(model, str | Path):
        try:
            return _given(_read(Path(model)), rows.shape[1], score, output, window, column)
        except InvalidArtifact as error:
            raise InvalidArtifact(f"model {model}: {error}") from error
    if isinstance(model, bytes | bytearray):
        return _given(bytes(model), rows.shape[1], score, output, window, column)
    if hasattr(model, "SerializeToString"):
        return _given(model.SerializeToString(), rows.shape[1], score, output, window, column)
    return _estimator(model, rows, score, window, column)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidArtifact((error.strerror or str(error)).lower()) from error


def _given(
    graph: bytes, width: int, score: str | None, output: str | None, window: tuple[int, ...], column: int | None
) -> Converted:
    """A graph as it came, with its own functions inlined (torch exports some)."""
    graph = inlined(graph)
    model = parse(graph)
    if score is None:
        score = "-output" if _detector(model) and output in (None, "scores") else "output"
    loaded = OnnxScorer(graph, width, output, score, window, column)
    return Converted(graph, score, loaded.output, loaded.window)


def _detector(model: Any) -> bool:
    """skl2onnx's outlier detectors: `scores` is scikit-learn's decision_function, greater is more normal."""
    names = {value.name for value in model.graph.output}
    return model.producer_name == "skl2onnx" and names == {"label", "scores"}


def _estimator(model: Any, rows: Float64, score: str | None, window: tuple[int, ...], column: int | None) -> Converted:
    recipe = _recipe(model, score, column)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X does not have valid feature names")  # it was fitted to a data frame
            wanted = np.asarray(recipe.own(rows[:COMPARED]), dtype=np.float64).reshape(-1)
    except Exception as error:
        raise InvalidArtifact(f"{_name(model)} can't score the sample: {_line(error)}") from error
    failed = ""
    for double in (True, False):
        try:
            graph = _convert(model, rows.shape[1], recipe.options, double)
            found = OnnxScorer(graph, rows.shape[1], recipe.output, recipe.score, (), column).score(rows[:COMPARED])
        except Exception as error:
            failed = failed or _line(error)
            continue
        if close(found, wanted, AGREEMENT).all():
            return Converted(graph, recipe.score, recipe.output, window)
        row = int(np.argmax(~close(found, wanted, AGREEMENT)))
        failed = f"as a graph row {row} scores {found[row]:.9g}, the estimator says {wanted[row]:.9g}"
    raise InvalidArtifact(f"{_name(model)} can't become an ONNX graph: {failed}; {SUPPORTED}")


def _recipe(model: Any, score: str | None, column: int | None) -> _Recipe:
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    if column is not None:
        return _classifying(model, score, column)
    if score in ("output", "-output") and hasattr(model, "predict") and _is(last, "regressor"):
        sign = -1.0 if score == "-output" else 1.0
        return _Recipe(score, "variable", lambda rows: sign * model.predict(rows))
    if score == "reconstruction_error" and hasattr(model, "predict"):
        return _Recipe(
            score, "variable", lambda rows: np.square(model.predict(rows).reshape(rows.shape) - rows).mean(1)
        )
    if score == "reconstruction_error" or score not in (None, "-output"):
        raise InvalidArtifact(f"{_name(model)}: score is {score!r}; leave it out, the score of an estimator is known")
    if _is(last, "outlier_detector"):
        return _detecting(model, last)
    if type(last).__name__ in ("GaussianMixture", "BayesianGaussianMixture"):
        return _Recipe("-output", "score_samples", lambda rows: -model.score_samples(rows), {"score_samples": True})
    raise InvalidArtifact(f"{_name(model)} does not score anomalies; {SUPPORTED}")


def _detecting(model: Any, last: Any) -> _Recipe:
    if not hasattr(model, "decision_function"):
        hint = "; fit it with novelty=True" if hasattr(last, "novelty") else ""
        raise InvalidArtifact(f"{_name(model)} has no decision_function for new rows{hint}")
    return _Recipe("-output", "scores", lambda rows: -model.decision_function(rows))


def _classifying(model: Any, score: str | None, column: int) -> _Recipe:
    if not hasattr(model, "predict_proba") or score not in (None, "output"):
        raise InvalidArtifact(f"{_name(model)}: column is {column}; allowed for classifiers that tell probabilities")
    classes = len(model.classes_)
    if not 0 <= column < classes:
        raise InvalidArtifact(f"{_name(model)}: column is {column}; allowed: 0 to {classes - 1}")
    return _Recipe("output", "probabilities", lambda rows: model.predict_proba(rows)[:, column], {"zipmap": False})


def _is(model: Any, sort: str) -> bool:
    """Whether it is scikit-learn's estimator of this sort: regressor, classifier, outlier_detector."""
    try:
        from sklearn.utils import get_tags

        return bool(get_tags(model).estimator_type == sort)
    except Exception:  # not an estimator at all
        return False


def _convert(model: Any, width: int, options: dict[str, Any], double: bool) -> bytes:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    from swapstream.models import converters

    last = model.steps[-1][1] if hasattr(model, "steps") else model
    kind = DoubleTensorType if double else FloatTensorType
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = convert_sklearn(
            model,
            name="model",
            initial_types=[("input", kind([None, width]))],
            # The mixture's converter compares the opset with a number, the trees' needs the second domain.
            target_opset=OPSET if options else OPSETS,
            options={id(last): options} if options else None,
            custom_conversion_functions=converters.functions() if double else None,
            custom_shape_calculators=converters.shapes() if double else None,
        )
    graph: bytes = converted.SerializeToString()
    return graph


def _name(model: Any) -> str:
    last = f" of {type(model.steps[-1][1]).__name__}" if hasattr(model, "steps") else ""
    return f"{type(model).__name__}{last}"


def _line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
