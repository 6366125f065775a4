"""Autoencoder: how badly a small dense network, trained to rebuild rows from fewer numbers, rebuilds this one."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import msgspec
import numpy as np

from swapstream.models.arrays import Float64
from swapstream.models.artifact import Artifact
from swapstream.models.blocks import in_blocks
from swapstream.models.errors import InvalidArtifact, InvalidSettings
from swapstream.models.kinds.base import Fitted, Kind, Settings, Training, no_graph, parameter, vector, word
from swapstream.models.kinds.settings import check_settings, choice, integer, number
from swapstream.models.statistics import moments

MAX_LAYERS = 16
MAX_UNITS = 4096


class Autoencoder(Kind):
    """score(x) = mean_j (z_j - r_j)^2, z the standardised row and r what the network makes of it.

    The network is scikit-learn's MLPRegressor fitted to z -> z: r = a(... a(z W_0 + b_0) ...) W_k + b_k, a the activation.
    Where the features are a window (T, F), it sees the whole window at once.
    """

    NAME = "autoencoder"
    SETTINGS = {  # noqa: RUF012 (declared as ClassVar in Kind)
        "hidden": "units of the inner layers, as in 16-4-16: the fewest are the bottleneck [a third of the features]",
        "activation": "relu, tanh, logistic or identity [relu]",
        "epochs": "passes over the training rows, at most [50]",
        "alpha": "strength of the penalty on large weights [0.0001]",
    }

    def fit(self, training: Training) -> Fitted:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPRegressor

        check_settings(self, training.settings)
        settings, (mean, scale) = training.settings, moments(training.rows)
        activation = choice(self, settings, "activation", tuple(ACTIVATIONS))
        network = MLPRegressor(
            hidden_layer_sizes=_hidden(settings, len(training.features)),
            activation=activation,
            max_iter=integer(self, settings, "epochs", 50, 1, 100_000),
            alpha=number(self, settings, "alpha", 1e-4, 0.0, 1e6),
            random_state=training.seed,
        )
        scaled = (training.rows - mean) / scale
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # `epochs` says when to stop
            network.fit(scaled, scaled if scaled.shape[1] > 1 else scaled[:, 0])
        layers = enumerate(zip(network.coefs_, network.intercepts_, strict=True))
        numbers = {key: array for i, (w, b) in layers for key, array in ((f"weights.{i}", w), (f"bias.{i}", b))}
        exact = {key: np.ascontiguousarray(array, dtype=np.float64) for key, array in numbers.items()}
        return Fitted({"mean": mean, "scale": scale, **exact}, {"activation": activation})

    def scorer(self, artifact: Artifact) -> AutoencoderScorer:
        count = sum(name.startswith("weights.") for name in artifact.parameters)
        if not 1 <= count <= MAX_LAYERS:
            raise InvalidArtifact(f"{artifact.ref}: {count} layers of weights; allowed: 1 to {MAX_LAYERS}")
        names = [f"{part}.{layer}" for layer in range(count) for part in ("weights", "bias")]
        no_graph(artifact, "mean", "scale", *names)
        activation = word(artifact, "activation")
        if activation not in ACTIVATIONS:
            raise InvalidArtifact(f"{artifact.ref}: activation {activation!r}; allowed: {', '.join(ACTIVATIONS)}")
        mean, scale = vector(artifact, "mean"), vector(artifact, "scale", positive=True)
        return AutoencoderScorer(mean, scale, _layers(artifact, count), ACTIVATIONS[activation])


class AutoencoderScorer(msgspec.Struct, frozen=True):
    """Matrix products in blocks of 64 rows: see models/blocks.py."""

    mean: Float64
    scale: Float64
    layers: tuple[tuple[Float64, Float64], ...]
    activation: Callable[[Float64], Float64]

    def score(self, rows: Float64) -> Float64:
        return in_blocks(rows, self._blocks)

    def _blocks(self, rows: Float64) -> Float64:
        scaled = values = (rows - self.mean) / self.scale
        for layer, (weights, bias) in enumerate(self.layers):
            values = (self.activation(values) if layer else values) @ weights + bias
        scores: Float64 = np.square(values - scaled).mean(axis=2)
        return scores


def _relu(values: Float64) -> Float64:
    return np.maximum(values, 0.0)


def _logistic(values: Float64) -> Float64:
    return np.asarray(1.0 / (1.0 + np.exp(-values)))


def _identity(values: Float64) -> Float64:
    return values


ACTIVATIONS: dict[str, Callable[[Float64], Float64]] = {
    "relu": _relu,
    "tanh": np.tanh,
    "logistic": _logistic,
    "identity": _identity,
}


def _layers(artifact: Artifact, count: int) -> tuple[tuple[Float64, Float64], ...]:
    """Weights [in, out] and bias [out] of each layer, from all features back to all features."""
    width: int | None = len(artifact.manifest.features)
    layers = []
    for layer in range(count):
        out = len(artifact.manifest.features) if layer == count - 1 else None
        weights = np.ascontiguousarray(parameter(artifact, f"weights.{layer}", (width, out)))
        width = weights.shape[1]
        layers.append((weights, parameter(artifact, f"bias.{layer}", (width,))))
    return tuple(layers)


def _hidden(settings: Settings, width: int) -> tuple[int, ...]:
    """Units of each inner layer."""
    given = settings.get("hidden", max(1, width // 3))
    parts = str(given).split("-")
    if len(parts) >= MAX_LAYERS or not all(part.isdecimal() and 1 <= int(part) <= MAX_UNITS for part in parts):
        raise InvalidSettings(
            f"autoencoder: hidden is {given!r:.100}; allowed: units as in 16-4-16, each 1 to {MAX_UNITS},"
            f" fewer than {MAX_LAYERS} layers"
        )
    return tuple(map(int, parts))


KIND = Autoencoder()
