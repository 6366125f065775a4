"""An empty picture, and writing it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from swapstream.models.errors import InvalidSettings


def blank(panels: int, width: float = 10.0) -> Any:
    """Room for so many panels below each other, without a window system. Raises InvalidSettings without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidSettings("--plot needs matplotlib: install swapstream[plot]") from error
    figure = Figure(figsize=(width, 1 + 3 * panels), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: Path) -> None:
    """Its format by the file's suffix. Raises InvalidSettings for one that matplotlib doesn't know."""
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise InvalidSettings(f"--plot {path}: {error}") from error
