"""A fit of the user's own: `fit(frame) -> estimator`, named as module:function or file.py:function."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pandas

from swapstream.models.errors import InvalidSettings, UnknownName
from swapstream.scripts.exports import column_of
from swapstream.scripts.training import Rows

ALLOWED = "a fitted scikit-learn estimator, or an ONNX graph: a model, its bytes or the path of its file"


class OwnFit(msgspec.Struct, frozen=True):
    """A function, how it was named, and the file that it is in."""

    name: str
    function: Callable[[pandas.DataFrame], Any]
    file: Path

    @property
    def digest(self) -> str:
        """sha256 of the file."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()

    def __call__(self, frame: pandas.DataFrame) -> Any:
        """What it makes of a frame; what it prints goes to stderr. Raises InvalidSettings in one line for what it raises, and for what
        can be no model."""
        try:
            with redirect_stdout(sys.stderr):
                made = self.function(frame)
        except (Exception, SystemExit) as error:
            raise InvalidSettings(f"fit {self.name} raised {_told(error)}{self._where(error)}") from error
        if not _may_be_a_model(made):
            what = f"the class {made.__name__}" if isinstance(made, type) else type(made).__name__
            raise InvalidSettings(f"fit {self.name} returned {what}; allowed is {ALLOWED}")
        return made

    def _where(self, error: BaseException) -> str:
        """The last line of the user's file on the way to an error."""
        lines = [entry.lineno for entry in traceback.extract_tb(error.__traceback__) if Path(entry.filename) == self.file]
        return f" ({self.file.name}, line {lines[-1]})" if lines else ""


def _may_be_a_model(made: Any) -> bool:
    """An instance of an estimator, a graph, its bytes or its file."""
    if isinstance(made, type):
        return False
    return isinstance(made, bytes | str | Path) or hasattr(made, "get_params") or hasattr(made, "SerializeToString")


def load_fit(name: str) -> OwnFit:
    """Raises UnknownName where there is no such module or function, InvalidSettings where the module can't be imported."""
    place, colon, attribute = name.rpartition(":")
    if not colon or not place or not attribute:
        raise InvalidSettings(f"fit {name!r}: allowed is module:function or file.py:function")
    module = _file(name, Path(place)) if place.endswith(".py") else _module(name, place)
    function = getattr(module, attribute, None)
    if not callable(function):
        known = ", ".join(key for key, value in vars(module).items() if callable(value) and not key.startswith("_")) or "none"
        raise UnknownName(f"fit {name}: {place} has no function {attribute!r}; it has {known}")
    return OwnFit(name, function, Path(module.__file__ or "").resolve())


def _module(name: str, place: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # a console script's path begins with its own folder
    importlib.invalidate_caches()
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        raise UnknownName(f"fit {name}: there is no module {error.name!r} here or among the installed packages") from error
    except (Exception, SystemExit) as error:
        raise InvalidSettings(f"fit {name}: importing {place} raised {_told(error)}") from error


def _file(name: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise UnknownName(f"fit {name}: there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"fit_{path.stem}", path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # pickling and dataclasses look there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InvalidSettings(f"fit {name}: importing {path} raised {_told(error)}") from error
    return module


def _told(error: BaseException) -> str:
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}: {words[0]}" if words else type(error).__name__


def frame_of(rows: Rows, features: tuple[str, ...]) -> pandas.DataFrame:
    """A row a reading, by event time: `device`, `time` (UTC), `label` (boolean, missing where nobody said) and the features.

    `frame.attrs["features"]` are the names of the features' columns, in the order in which the model will see them.
    """
    columns = [column_of(name) for name in features]
    order = np.argsort(rows.times, kind="stable")
    label = pandas.array([pandas.NA] * len(rows), dtype="boolean")
    if rows.labels is not None and rows.labelled is not None:
        label = pandas.arrays.BooleanArray(rows.labels, ~rows.labelled)
    frame = pandas.DataFrame(rows.features, columns=columns)
    frame.insert(0, "device", np.array(rows.devices, object))
    frame.insert(1, "time", pandas.to_datetime(rows.times, unit="us", utc=True).as_unit("us"))
    frame.insert(2, "label", label)
    frame = frame.iloc[order].reset_index(drop=True)
    frame.attrs["features"] = columns
    return frame


def library_of(made: Any) -> dict[str, str]:
    """The package that an estimator is of, and its version."""
    top = type(made).__module__.partition(".")[0]
    found = importlib.metadata.packages_distributions().get(top, [])
    return {name: importlib.metadata.version(name) for name in found[:1]}
