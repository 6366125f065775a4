"""How good alarms are, where labels are: by record as scikit-learn counts, and by event as people do."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from swapstream.operators.frame import Bool, Float64, Int64


class Quality(msgspec.Struct, frozen=True):
    """Numbers from 0 to 1; None where there is nothing to divide by.

    precision, recall: over records. average_precision: over all thresholds, by scikit-learn. An event is a run of labelled
    records of one device; event_recall is the share in which at least one record raised an alarm.
    """

    precision: float | None
    recall: float | None
    average_precision: float | None
    events: int
    event_recall: float | None


def quality(devices: Sequence[str], labels: Bool, alarms: Bool, scores: Float64, ranked: Bool) -> Quality:
    """All arrays are [n], records in the order of each device's time. `ranked`: whose scores count for average_precision."""
    hits = int((labels & alarms).sum())
    runs = events(devices, labels)
    met = len(np.unique(runs[alarms & labels]))
    total = int(runs.max(initial=-1)) + 1
    return Quality(
        _share(hits, int(alarms.sum())),
        _share(hits, int(labels.sum())),
        _average_precision(labels[ranked], scores[ranked]),
        total,
        _share(met, total),
    )


def events(devices: Sequence[str], labels: Bool) -> Int64:
    """The number of each record's event, -1 outside of one; numbered by device, then by time."""
    numbers = np.full(len(labels), -1)
    if not len(labels):
        return numbers
    _, device = np.unique(np.asarray(devices, dtype=object).astype(str), return_inverse=True)
    order = np.argsort(device, kind="stable")
    marked, owner = labels[order], device[order]
    starts = marked & np.concatenate(([True], ~marked[:-1] | (owner[1:] != owner[:-1])))
    numbers[order] = np.where(marked, np.cumsum(starts) - 1, -1)
    return numbers


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _average_precision(labels: Bool, scores: Float64) -> float | None:
    if not labels.any():
        return None
    from sklearn.metrics import average_precision_score  # takes a second to import, and not every file has labels

    return float(average_precision_score(labels, scores))
