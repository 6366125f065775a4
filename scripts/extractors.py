"""`swapstream extractors`: which there are, and whether one's own keep the contract."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from swapstream.models.errors import InvalidSettings, UnknownName
from swapstream.models.finding import Finding, refuse
from swapstream.operators.code import pinned, read, register
from swapstream.operators.code_loading import kinds_in, origin
from swapstream.operators.extractors import extractors
from swapstream.operators.extractors.base import Extractor
from swapstream.operators.extractors.contract import FIELDS, findings
from swapstream.operators.extractors.spec import parse_spec, parse_text, settings_of
from swapstream.scripts.catalogue import read_plan
from swapstream.scripts.code import archives, code_option
from swapstream.scripts.console import json_option, show
from swapstream.scripts.environment import load_environment

COLUMNS = ("extractor", "name", "version", "state", "code", "settings")
COMMON = ("fields", "label")
"""Settings that every extractor has."""


@click.group("extractors")
def extractors_command() -> None:
    """Show extractors, and put your own to the test."""


@extractors_command.command("list")
@click.option("--plan", type=click.Path(), help="Those of this plan, with its settings.")
@code_option
@json_option
@click.pass_obj
def list_command(environment: str, plan: str | None, code: Sequence[str], as_json: bool) -> None:
    """Every extractor that is built in, or those of a plan, or of files of your own: its version, that of its state, the digest of
    its code, and its settings."""
    if plan is not None and code:
        raise InvalidSettings("--plan names its code; leave out --code")
    if plan is not None:
        _, resolved = read_plan(load_environment(environment), plan)
        members = [member for one in resolved.inputs for member in parse_spec(list(one.extractor))]
        rows = [row_of(type(member), settings_of(member), as_json) for member in members]
    else:
        kinds = [kind for archive in archives(code) for kind in kinds_in(archive)] if code else list(extractors().values())
        rows = [row_of(kind, defaults(kind), as_json) for kind in kinds]
    show(rows, COLUMNS, as_json)


@extractors_command.command("check")
@click.argument("file", type=click.Path())
@click.option("--extractor", "text", help='One, with settings, as in "vibration:Spectrum(periods=[4])".  [default: all]')
@click.option("--fields", default=",".join(FIELDS), show_default=True, help="Names of the fields to run it over, with commas.")
@click.option("--before", type=click.Path(), metavar="FILE", help="The file or package of an older version, whose state it must take over.")
@json_option
def check_command(file: str, text: str | None, fields: str, before: str | None, as_json: bool) -> None:
    """Check that the extractors in FILE, a Python file or package, keep the contract: over records with a seed, cut into frames anywhere,
    restored, evicted, with values as large as they can be. Shows what each check found, up to the first that fails."""
    older = {kind.NAME: kind for kind in kinds_in(register(read(Path(before))))} if before else {}
    failed: list[tuple[str, list[Finding]]] = []
    for extractor in chosen(file, text):
        found = list(_checked(extractor, tuple(fields.split(",")), older, before))
        ref = f"{extractor.NAME}:{extractor.VERSION}"
        show(({"extractor": ref, **msgspec.structs.asdict(one)} for one in found), ("check", "value", "limit", "ok"), as_json, ref)
        failed.append((f"extractor {extractor.NAME!r}", found))
    for what, found in failed:
        refuse(what, found)


def chosen(file: str, text: str | None) -> list[Extractor]:
    """The extractors that are meant. Raises InvalidPlan, UnknownName."""
    archive = register(read(Path(file)))
    if text is not None:
        return list(parse_spec(pinned(parse_text(text), [archive])))
    found = [kind() for kind in kinds_in(archive)]
    if not found:
        raise UnknownName(f"code {file!r} has no extractor: a class at the top of a module that is a subclass of Extractor")
    return found


def _checked(extractor: Extractor, fields: tuple[str, ...], older: dict[str, type[Extractor]], before: str | None) -> Iterator[Finding]:
    if before is None:
        return findings(extractor, fields)
    if extractor.NAME not in older:
        raise UnknownName(f"code {before!r} has no extractor {extractor.NAME!r}; there are {', '.join(older) or 'none'}")
    return findings(extractor, fields, msgspec.convert(settings_of(extractor), older[extractor.NAME]))


def row_of(kind: type[Extractor], settings: dict[str, Any], as_json: bool) -> dict[str, Any]:
    """A line of the table."""
    ref = origin(kind)
    code = ref.digest if ref else None
    return {"extractor": ref.source if ref else kind.NAME, "name": kind.NAME, "version": kind.VERSION, "state": kind.SCHEMA_VERSION,
            "code": code if as_json or not code else code[:12],
            "settings": settings if as_json else ", ".join(f"{name}={value}" for name, value in settings.items())}


def defaults(kind: type[Extractor]) -> dict[str, Any]:
    """Its settings as they are when nobody says otherwise."""
    return {name: value for name, value in msgspec.to_builtins(kind()).items() if name not in COMMON}
