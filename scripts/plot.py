"""Pictures: scores against the threshold over time, labelled spans, anomalies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swapstream.operators.frame import Bool, Int64
from swapstream.scripts.figure import blank, save
from swapstream.scripts.metrics import events
from swapstream.scripts.trial import RoleTrial, Trial

if TYPE_CHECKING:
    import pandas as pd

DEVICES = 8


def draw(trial: Trial, path: Path) -> None:
    """Write a picture, its format by the file's suffix: one panel a role, at most the 8 devices with most anomalies in
    colour. Raises InvalidSettings without matplotlib, or for a format that it doesn't know."""
    with picture(path, len(trial.roles)) as panels:
        for panel, role in zip(panels, trial.roles, strict=True):
            _panel(panel, trial, role)


def draw_replay(table: pd.DataFrame, path: Path) -> None:
    """The same of what was replayed (see Retelling), without labels: a panel for each role that answered."""
    roles = [name.removesuffix(".score") for name in table.columns if name.endswith(".score")]
    with picture(path, max(1, len(roles))) as panels:
        for panel, role in zip(panels, roles, strict=False):
            asked = table[table[f"{role}.model"] != ""]
            for device in _busiest(asked["device"].tolist(), asked["anomalous"].to_numpy(bool)):
                mine = asked[asked["device"] == device]
                panel.plot(mine["time"], mine[f"{role}.score"], linewidth=0.7, label=device)
            panel.step(asked["time"], asked[f"{role}.threshold"], color="black", linestyle="--", linewidth=0.8, label="threshold")
            panel.set_title(role, loc="left")
            panel.set_ylabel("score")
            panel.legend(loc="upper left", fontsize="small", ncols=4)


@contextmanager
def picture(path: Path, panels: int) -> Iterator[Any]:
    """Panels below each other over event time, to be drawn into; written at the end, its format by the file's suffix. Raises
    InvalidSettings without matplotlib, or for a format that it doesn't know."""
    figure = blank(panels, width=12)
    found = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    yield found
    found[-1].set_xlabel("event time (UTC)")
    save(figure, path)


def _panel(panel: Any, trial: Trial, role: RoleTrial) -> None:
    moments = trial.frame.times.astype("datetime64[us]")
    devices = np.array(trial.frame.devices, dtype=object)
    chosen = _busiest(trial.frame.devices, role.alarms)
    for device in chosen:
        mine = (devices == device) & role.scored
        panel.plot(moments[mine], role.scores[mine], linewidth=0.7, label=device)
    if trial.labels is not None:
        _spans(panel, trial.frame.devices, moments, trial.labels)
    shown = role.alarms & np.isin(devices, chosen)
    panel.plot(moments[shown], role.scores[shown], "r.", markersize=4, label="anomaly")
    panel.axhline(role.threshold, color="black", linestyle="--", linewidth=0.8, label="threshold")
    panel.set_title(f"{role.role}: {role.model}", loc="left")
    panel.set_ylabel("score")
    panel.legend(loc="upper left", fontsize="small", ncols=4)
    _scale(panel, role)


def _busiest(devices: Sequence[str], alarms: Bool) -> list[str]:
    """Those with most anomalies; among equals, in the file's order."""
    count = Counter(dict.fromkeys(devices, 0))
    count.update(device for device, alarm in zip(devices, alarms, strict=True) if alarm)
    return [device for device, _ in count.most_common(DEVICES)]


def _spans(panel: Any, devices: Sequence[str], moments: Any, labels: Bool) -> None:
    numbers: Int64 = events(devices, labels)
    for event in range(int(numbers.max(initial=-1)) + 1):
        inside = moments[numbers == event]
        panel.axvspan(inside[0], inside[-1], color="orange", alpha=0.3, label="labelled" if event == 0 else None)


def _scale(panel: Any, role: RoleTrial) -> None:
    """A logarithmic axis where one spike would flatten everything else."""
    scores = role.scores[role.scored]
    if len(scores) and scores.min() > 0 and role.threshold > 0 and scores.max() > 50 * role.threshold:
        panel.set_yscale("log")
