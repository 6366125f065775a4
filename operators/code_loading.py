"""Importing users' code: each archive's modules are a world of their own, so that versions of one module live side by side.

The module `vibration` of an archive is imported as `swapstream_code.<digest>.vibration`, from the bytes that the digest was taken of.
Where its code says `import vibration`, early or late, that is what it gets; everything else is imported as ever.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.abc import Loader, MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any

from swapstream.models.errors import InvalidPlan, Unavailable
from swapstream.operators.code import PREFIX, Archive, Ref, find, known, ref_of
from swapstream.operators.extractors import extractors
from swapstream.operators.extractors.base import Extractor
from swapstream.operators.statement import NAME, NAME_RULE


@cache
def load(ref: Ref) -> type[Extractor]:
    """The extractor that a reference with a digest names.

    Raises Unavailable where its archive, or a module that it imports, is not here; InvalidPlan where it can't be imported, or is no
    extractor of this archive.
    """
    archive = find(ref.digest)
    module, _, name = ref.source.partition(":")
    thing = getattr(_import(ref, archive, module), name, None)
    if not isinstance(thing, type) or not issubclass(thing, Extractor):
        found = "there is none" if thing is None else f"{name} is a {type(thing).__name__}"
        raise InvalidPlan(f"extractor {ref.source!r}: {found}; allowed is a subclass of Extractor")
    _check(ref, thing)
    return thing


def kinds_in(archive: Archive) -> list[type[Extractor]]:
    """Every extractor that an archive's modules define, in the order of their names. Raises as `load` does."""
    found = []
    for name in archive.files:
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        if not name.endswith(".py") or ref_of(f"{module}:X") is None:
            continue
        imported = _import(Ref(module, archive.digest), archive, module)
        for thing in vars(imported).values():
            if isinstance(thing, type) and issubclass(thing, Extractor) and thing.__module__ == imported.__name__:
                found.append(load(Ref(f"{module}:{thing.__qualname__}", archive.digest)))
    return found


def origin(kind: type[Extractor]) -> Ref | None:
    """Where a class was defined, None for one that came out of no archive."""
    prefix, _, rest = kind.__module__.partition(".")
    digest, _, module = rest.partition(".")
    return Ref(f"{module}:{kind.__qualname__}", digest) if prefix == PREFIX else None


def reference(kind: type[Extractor]) -> str:
    """An extractor's name in a canonical spec."""
    return str(origin(kind) or kind.NAME)


def _check(ref: Ref, kind: type[Extractor]) -> None:
    defined = origin(kind)
    if defined is None or defined.digest != ref.digest or "." in kind.__qualname__:
        raise InvalidPlan(f"extractor {ref.source!r} is defined as {kind.__module__}.{kind.__qualname__}; allowed are classes at the top "
                          "of a module of the same code, whose digest stands for what they do")
    if not NAME.fullmatch(kind.NAME) or kind.NAME in extractors():
        raise InvalidPlan(f"extractor {ref.source!r}: NAME is {kind.NAME!r:.110}; allowed are {NAME_RULE}, and no name of a built-in one")
    for what in ("VERSION", "SCHEMA_VERSION"):
        value = getattr(kind, what)
        if type(value) is not int or not 1 <= value < 2**31:
            raise InvalidPlan(f"extractor {ref.source!r}: {what} is {value!r:.110}; allowed is a number from 1 on")


def _import(ref: Ref, archive: Archive, module: str) -> ModuleType:
    within = f"{PREFIX}.{archive.digest}."
    try:
        return importlib.import_module(within + module)
    except ModuleNotFoundError as error:
        absent = str(error.name).removeprefix(within)
        if str(error.name).startswith(within):
            raise InvalidPlan(f"extractor {ref.source!r}: its code has no module {absent!r}; there are {', '.join(sorted(archive.modules))}"
                              ) from error
        raise Unavailable(f"extractor {ref.source!r}: needs module {absent!r}, which is not installed here") from error
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).replace(within, "").split())
        raise InvalidPlan(f"extractor {ref.source!r} can't be imported: {type(error).__name__}: {reason}") from error


class Finder(MetaPathFinder):
    """Finds the modules of known archives, and the two packages around each."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        prefix, _, rest = fullname.partition(".")
        digest, _, module = rest.partition(".")
        if prefix != PREFIX:
            return None
        if not module:
            return ModuleSpec(fullname, Empty(), is_package=True)
        archive = known(digest)
        return _spec(fullname, archive, module.replace(".", "/")) if archive else None


def _spec(fullname: str, archive: Archive, place: str) -> ModuleSpec | None:
    for file in (f"{place}/__init__.py", f"{place}.py"):
        if file in archive.files:
            return spec_from_loader(fullname, Code(archive, file))
    if any(name.startswith(f"{place}/") for name in archive.files):
        return ModuleSpec(fullname, Empty(), is_package=True)
    return None


class Empty(Loader):
    """Loads a package without code."""

    def exec_module(self, module: ModuleType) -> None:
        """Nothing."""


class Code(SourceLoader):
    """Loads a file of an archive. `pkgutil.get_data` reads others that are in it."""

    def __init__(self, archive: Archive, file: str) -> None:
        self._archive, self._file = archive, file

    def get_filename(self, fullname: str) -> str:
        return f"{self._archive.name}/{self._file}"

    def get_data(self, path: bytes | str) -> bytes:
        try:
            return self._archive.files[str(path).removeprefix(f"{self._archive.name}/")]
        except KeyError as error:
            raise FileNotFoundError(path) from error

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = vars(builtins) | {"__import__": _importing(self._archive)}
        super().exec_module(module)


def _importing(archive: Archive) -> Callable[..., Any]:
    """What an import statement calls in an archive's modules."""
    within = f"{PREFIX}.{archive.digest}"

    def import_(name: str, globals: Mapping[str, object] | None = None, locals: Mapping[str, object] | None = None,
                fromlist: Sequence[str] | None = (), level: int = 0) -> Any:  # fmt: skip
        top = name.partition(".")[0]
        if level or top not in archive.modules:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        if fromlist:
            return builtins.__import__(f"{within}.{name}", globals, locals, fromlist)
        importlib.import_module(f"{within}.{name}")
        return sys.modules[f"{within}.{top}"]

    return import_


sys.meta_path.append(Finder())
