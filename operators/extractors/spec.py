"""Specs: how extractors are written, in a plan's YAML or on the command line, and how they become settings.

In YAML a list of names or of `name: {settings}`; as text the same, joined by +:

>>> parse_text("identity + ewm(halflife=20, fields=[temperature])")
['identity', {'ewm': {'halflife': 20, 'fields': ['temperature']}}]
>>> parse_text("vibration:Spectrum(periods=[4, 16]) + identity")
[{'vibration:Spectrum': {'periods': [4, 16]}}, 'identity']
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from swapstream.models.errors import InvalidPlan
from swapstream.operators.code import ref_of
from swapstream.operators.code_loading import load, reference
from swapstream.operators.extractors import extractors
from swapstream.operators.extractors.base import Extractor

Spec = Sequence[str | Mapping[str, Any]]

_OWN = re.compile(r"((?:^|\+)\s*[A-Za-z_][\w.]*):(?=[A-Za-z_])")
_COLON = "__colon__"
"""Stands for the colon of module:Class while Python's parser reads the text."""


def parse_spec(spec: Spec) -> tuple[Extractor, ...]:
    """The extractors of a spec, settings checked for type but not yet against a schema's fields. Raises
    InvalidPlan."""
    if isinstance(spec, str | Mapping):
        spec = [spec]
    if not isinstance(spec, Sequence) or not spec:
        names = ", ".join(extractors())
        raise InvalidPlan(f"extractor is {spec!r}, allowed is a list of names or 'name: {{settings}}' of {names}")
    return tuple(_parse_entry(entry) for entry in spec)


def canonical(extractor: Extractor) -> str | dict[str, dict[str, Any]]:
    """The one way to write an extractor: settings sorted, those at their default left out, JSON's types only."""
    settings = settings_of(extractor)
    name = reference(type(extractor))
    return {name: settings} if settings else name


def settings_of(extractor: Extractor) -> dict[str, Any]:
    """Settings that differ from their default, sorted. (msgspec's omit_defaults goes by identity: it keeps a given 20.0.)"""
    fields = msgspec.structs.fields(extractor)
    changed = {f.name: getattr(extractor, f.name) for f in fields if getattr(extractor, f.name) != f.default}
    settings: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(changed, order="sorted"))
    return settings


def parse_text(text: str) -> list[str | dict[str, Any]]:
    """A spec from `name + name(setting=value, …)`; values are numbers, words, quoted texts, [lists] and
    {mappings}."""
    try:
        return _entries(ast.parse(_OWN.sub(rf"\1{_COLON}", text).strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidPlan(f"extractor {text!r} is not of the form 'name + name(setting=value, …)'") from error


def _parse_entry(entry: Any) -> Extractor:
    if isinstance(entry, Mapping) and len(entry) == 1:
        name, settings = next(iter(entry.items()))
    else:
        name, settings = entry, {}
    return _settings(_kind(name), {} if settings is None else settings)


def _kind(name: Any) -> type[Extractor]:
    ref, known = ref_of(name), extractors()
    if ref and ref.digest:
        return load(ref)
    if ref:
        raise InvalidPlan(f"extractor {name!r}: no code is given; name its file in the plan's `code`, or with --code")
    if not isinstance(name, str) or name not in known:
        raise InvalidPlan(f"extractor {name!r} is unknown, there are {', '.join(known)}")
    return known[name]


def _settings(kind: type[Extractor], settings: Any) -> Extractor:
    if not isinstance(settings, Mapping):
        raise InvalidPlan(f"extractor {kind.NAME!r}: settings are {settings!r}, allowed is a mapping of {_names(kind)}")
    for setting in settings:
        if setting not in kind.__struct_fields__:
            raise InvalidPlan(f"extractor {kind.NAME!r} has no setting {setting!r}, allowed are {_names(kind)}")
    try:
        return msgspec.convert(settings, kind)
    except msgspec.ValidationError as error:
        raise _explain(kind, settings, str(error)) from error


def _explain(kind: type[Extractor], settings: Mapping[str, Any], message: str) -> InvalidPlan:
    problem, _, path = message.partition(" - at `$.")
    setting = re.split(r"\W", path)[0]
    words = _words(get_type_hints(kind, include_extras=True).get(setting))
    allowed = "one of " + ", ".join(words) if words else problem.removeprefix("Expected ").partition(", got")[0]
    return InvalidPlan(
        f"extractor {kind.NAME!r}: setting {setting!r} is {settings.get(setting)!r}, allowed is {allowed}"
    )


def _words(hint: Any) -> list[str]:
    """The words of a Literal somewhere in a type."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [word for inner in get_args(hint) for word in _words(inner)]


def _names(kind: type[Extractor]) -> str:
    return ", ".join(kind.__struct_fields__)


def _entries(node: ast.expr) -> list[str | dict[str, Any]]:
    match node:
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _entries(left) + _entries(right)
        case ast.Call(func=func, args=[], keywords=keywords) if all(k.arg for k in keywords):
            return [{_name(func): {str(keyword.arg): _value(keyword.value) for keyword in keywords}}]
    return [_name(node)]


def _name(node: ast.expr) -> str:
    """A name; module:Class was made to look like one."""
    name = ast.unparse(node).replace(_COLON, ":")
    if isinstance(node, ast.Name) or ref_of(name):
        return name
    raise ValueError(name)


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Name(id=word):
            return word
        case ast.List(elts=entries) | ast.Tuple(elts=entries):
            return [_value(entry) for entry in entries]
        case ast.Dict(keys=keys, values=values):
            return {_value(key): _value(value) for key, value in zip(keys, values, strict=True) if key is not None}
    return ast.literal_eval(node)
