"""Reading the settings of a fit."""

from __future__ import annotations

from swapstream.models.arrays import Float64
from swapstream.models.errors import InvalidSettings
from swapstream.models.kinds.base import Kind, Settings, Training
from swapstream.models.statistics import moments

STANDARDISE = "1: features are standardised first; 0: taken in their own units, as scikit-learn alone does [1]"


def check_settings(kind: Kind, settings: Settings) -> None:
    """Raises InvalidSettings for a setting that the kind doesn't have."""
    for name in settings:
        if name not in kind.SETTINGS:
            allowed = ", ".join(kind.SETTINGS) or "none"
            raise InvalidSettings(f"{kind.NAME}: unknown setting {name!r}; allowed: {allowed}")


def number(kind: Kind, settings: Settings, name: str, default: float, low: float, high: float) -> float:
    """The setting as a number from `low` to `high`."""
    found = settings.get(name, default)
    if isinstance(found, str) or not low <= found <= high:
        raise InvalidSettings(f"{kind.NAME}: {name} is {found!r}; allowed: {low:g} to {high:g}")
    return float(found)


def integer(kind: Kind, settings: Settings, name: str, default: int, low: int, high: int) -> int:
    """The setting as a whole number from `low` to `high`."""
    found = settings.get(name, default)
    if not isinstance(found, int) or not low <= found <= high:
        raise InvalidSettings(f"{kind.NAME}: {name} is {found!r}; allowed: whole numbers from {low} to {high}")
    return found


def choice(kind: Kind, settings: Settings, name: str, allowed: tuple[str, ...]) -> str:
    """The setting as one of these words, the first by default."""
    found = settings.get(name, allowed[0])
    if found not in allowed:
        raise InvalidSettings(f"{kind.NAME}: {name} is {found!r:.100}; allowed: {', '.join(allowed)}")
    return str(found)


def scaling(kind: Kind, training: Training) -> tuple[Float64, Float64]:
    """Mean and scale of each feature; 0 and 1 where the setting `standardise` is 0."""
    mean, scale = moments(training.rows)
    if integer(kind, training.settings, "standardise", 1, 0, 1):
        return mean, scale
    return mean * 0.0, scale * 0.0 + 1.0
