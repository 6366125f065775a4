"""What scores must be, computed once more: record by record in plain Python, models by scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler


class Averages:
    """The exponentially weighted mean and deviation of one device before each reading (T. Finch, 2009, section 9)."""

    def __init__(self, halflife: float) -> None:
        self.alpha = 1 - 2 ** (-1 / halflife)
        self.means: list[float] = []
        self.variances: list[float] = []

    def row(self, values: Sequence[float]) -> list[float]:
        """The features of the next reading, which then counts for those after it."""
        self.means = self.means or list(values)
        self.variances = self.variances or [0.0] * len(values)
        row = [*self.means, *map(math.sqrt, self.variances)]
        for field, value in enumerate(values):
            difference = value - self.means[field]
            self.means[field] += self.alpha * difference
            grown = self.variances[field] + self.alpha * difference * difference
            self.variances[field] = (1 - self.alpha) * grown
        return row


def features(readings: Iterable[tuple[str, Sequence[float]]], halflife: float) -> tuple[np.ndarray, np.ndarray]:
    """The features of (device, values) readings in order, as `[identity, {ewm: {halflife: …}}]` has them, and which readings
    are warming: a device's first two halflives."""
    devices: dict[str, Averages] = {}
    seen: dict[str, int] = {}
    rows, warming = [], []
    for device, values in readings:
        rows.append([*values, *devices.setdefault(device, Averages(halflife)).row(values)])
        warming.append(seen.get(device, 0) < math.ceil(2 * halflife))
        seen[device] = seen.get(device, 0) + 1
    return np.array(rows), np.array(warming)


def zscore(train: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The largest distance from the mean in standard deviations."""
    return np.abs(StandardScaler().fit(train).transform(rows)).max(axis=1)


def pca(train: np.ndarray, rows: np.ndarray, components: int | float) -> np.ndarray:
    """The mean squared error of a standardised row rebuilt from so many components (or this share of the variance, but fewer
    than the directions in which the training rows vary: with all of them, nothing but rounding is left of a row)."""
    scaler = StandardScaler().fit(train)
    standard = scaler.transform(train)
    directions = int(np.linalg.matrix_rank(standard))
    model = PCA(components, svd_solver="full").fit(standard)
    if model.n_components_ >= directions:
        model = PCA(directions - 1, svd_solver="full").fit(standard)
    scaled = scaler.transform(rows)
    return np.square(scaled - model.inverse_transform(model.transform(scaled))).mean(axis=1)
