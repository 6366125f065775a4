"""Users' code on this machine: read from files, sent along with jobs, and kept in the store, where whoever computes again finds it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import click

from swapstream.models.errors import InvalidSettings, Unavailable
from swapstream.models.folders import LocalFolder, folder
from swapstream.operators.code import Archive, find, look_in, read, register
from swapstream.operators.definitions import Definitions
from swapstream.operators.extractors.definition import ExtractorDefinition
from swapstream.operators.plan import Plan
from swapstream.scripts.environment import Environment

code_option = click.option("--code", "code", multiple=True, type=click.Path(), metavar="FILE",
                           help="Python file or package with extractors of your own, as in vibration:Spectrum; may be repeated.")


def archives(paths: Sequence[str | Path]) -> list[Archive]:
    """Of files and packages, known to this process from now on. Raises UnknownName, InvalidPlan."""
    return [register(read(Path(path))) for path in paths]


def archives_of(plan: Plan) -> list[Archive]:
    """What a plan needs. Raises Unavailable where one is neither read from a file nor in the store."""
    return [find(digest) for digest in plan.code]


def ship(environment: Environment, digests: Iterable[str]) -> None:
    """Put archives where `flink run` takes them from, and into the store. Raises Unavailable."""
    for archive in map(find, digests):
        keep(environment, archive)
        LocalFolder(environment.jobs / "code").put(archive.name, archive.encode())


def shipped(environment: Environment, digests: Iterable[str]) -> list[str]:
    """The files that `flink run` sends to workers, as URIs. Raises InvalidSettings."""
    found = [(environment.jobs / "code" / f"code-{digest}.zip").as_uri() for digest in digests]
    if any("," in uri for uri in found):
        raise InvalidSettings(f"directory {environment.path}: Flink takes no comma in the path of what is sent along")
    return found


def lacking(environment: Environment, digests: Iterable[str]) -> list[str]:
    """What of these archives is not where `ship` puts it, in words. Raises Unavailable."""
    found = []
    for digest in digests:
        name = f"code-{digest}.zip"
        if not (environment.jobs / "code" / name).is_file():
            found.append(f"{environment.jobs / 'code' / name} is gone, which flink run sends along")
        if _stored(environment.store, digest) is None:
            found.append(f"store {environment.store} has no {place(name)}, which verify needs")
    return found


def keep(environment: Environment, archive: Archive) -> None:
    """Put it into the store, once. Raises Unavailable."""
    folder(environment.store).put(place(archive.name), archive.encode())


def look_into(environment: Environment) -> None:
    """Have this process look for archives in the environment's store."""
    look_in(str(environment.store), partial(_stored, environment.store))


def without_code(definitions: Definitions, namespace: str) -> Iterator[str]:
    """The users' extractors that are defined, and whose code is not to be found, in words."""
    for statement in definitions.names(namespace, "extractor"):
        said = ExtractorDefinition.decode(statement.body)
        try:
            find(said.code)
        except Unavailable as error:
            yield f"extractor {said.ref}: {error}"


def place(name: str) -> str:
    """The path of an archive's file below a store."""
    return f"code/{name}"


def _stored(store: str | Path, digest: str) -> bytes | None:
    try:
        return folder(store).read(place(f"code-{digest}.zip"))
    except FileNotFoundError:
        return None
