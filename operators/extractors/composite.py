"""Composite: a plan's list of extractors as one, from a frame to a row of features per record."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress

import msgspec
import numpy as np

from swapstream.models.errors import InvalidDefinition, InvalidPlan
from swapstream.operators.carrying import all_there, carry, goes_on
from swapstream.operators.code_loading import origin
from swapstream.operators.device_store import read_table
from swapstream.operators.devices import DeviceTable
from swapstream.operators.extractors import readings
from swapstream.operators.extractors.base import Extractor, State
from swapstream.operators.extractors.past import Past
from swapstream.operators.extractors.rounds import Rounds, rounds_of
from swapstream.operators.extractors.spec import Spec, canonical, parse_spec, settings_of
from swapstream.operators.frame import Bool, Float64, Frame, Int64
from swapstream.operators.layout import Layout, Part
from swapstream.operators.retention import DEFAULT_RETENTION, Retention

TRIED = 64
"""Devices that a migration is tried on."""


class Member(msgspec.Struct, frozen=True):
    """One extractor of a composite: the places of its fields among the schema's, its part of the device table, how many features it
    gives, and the places of its fields among the readings kept (if it looks back)."""

    extractor: Extractor
    places: list[int] | slice
    part: Part
    width: int
    kept: list[int] | slice | None = None

    def columns(self, state: State) -> State:
        """Its columns of a table's or a frame's, under the names that it knows."""
        return {column: state[f"{self.part.key}.{column}"] for column in self.part.columns}

    def alone(self, values: Float64, times: Int64) -> tuple[Float64, Bool]:
        """Features and warming of the readings of a frame, where no extractor of the composite has state. Raises InvalidPlan."""
        return self._given(lambda: self.extractor.step(values[:, self.places], times, {})[:2], len(values))

    def run(self, values: Float64, times: Int64, rounds: Rounds, state: State, past: Past | None) -> tuple[Float64, Bool]:
        """The same in the order of `rounds`; changes its part of `state`. Raises InvalidPlan."""
        if past is not None and self.kept is not None:
            looked_at = past.of(self.kept)
            return self._given(lambda: self.extractor.over(looked_at), len(values))
        columns = self.columns(state)
        return self._given(lambda: self.extractor.run(values[:, self.places], times, rounds, columns), len(values))

    def _given(self, extract: Callable[[], tuple[Float64, Bool]], n: int) -> tuple[Float64, Bool]:
        """Of n readings, as many features as it names and one flag each; whatever its code raises becomes one line."""
        name = self.extractor.NAME
        try:
            features, warming = extract()
            shapes, kinds = (features.shape, warming.shape), (features.dtype, warming.dtype)
        except Exception as error:
            raise InvalidPlan(f"extractor {name!r} fails: {type(error).__name__}: {' '.join(str(error).split())}") from error
        if shapes != ((n, self.width), (n,)) or kinds != (np.dtype(np.float64), np.dtype(np.bool_)):
            raise InvalidPlan(
                f"extractor {name!r} gave {kinds[0]}{list(shapes[0])} as features and {kinds[1]}{list(shapes[1])} as warming; "
                f"float64[{n}, {self.width}] and bool[{n}] are wanted"
            )
        return features, warming


class Composite:
    """Extractors side by side: their features in order, a record warming when any of them is.

    - spec: canonical and JSON-able, the same for every way to write the same thing; `parse(spec, fields)` gives it
      back.
    - name, version: "identity+ewm", and the versions of the members' code, "1.1".
    - digest: sha256 over code versions, settings and fields, and of users' code its own digest: what has the same digest computes
      the same features.
    - code: digests of the archives that its users' code came out of.
    - features: K names. shape: (n, F) when that is what a row of features is, () when it is just K numbers.
    - fields: the schema's F. layout: what its device table holds. retention: of how many devices, and how long.
    """

    def __init__(
        self, extractors: Iterable[Extractor], fields: tuple[str, ...], retention: Retention = DEFAULT_RETENTION
    ) -> None:
        extractors = tuple(extractors)
        keys = _keys(extractors)
        self.fields, self.retention = fields, retention
        members = [_member(extractor, key, fields) for extractor, key in zip(extractors, keys, strict=True)]
        self.readings = readings.part_of((member.extractor for member in members), fields)
        kept = readings.fields_of(self.readings) if self.readings else ()
        self.members = tuple(_looking(member, kept) for member in members)
        self._kept = readings.places_in(kept, fields)
        self.spec = tuple(canonical(extractor) for extractor in extractors)
        self.name = "+".join(extractor.NAME for extractor in extractors)
        self.version = ".".join(str(extractor.VERSION) for extractor in extractors)
        self.features = tuple(name for member in self.members for name in member.extractor.features())
        self.shape = self.members[0].extractor.shape() if len(self.members) == 1 else ()
        parts = [member.part for member in self.members if member.part.columns]
        self.layout = Layout((*parts, self.readings) if self.readings else tuple(parts))
        self.code = tuple(ref.digest for ref in map(origin, map(type, extractors)) if ref)
        identity = [fields, [member.part for member in self.members], *([self.code] if self.code else [])]
        self.digest = hashlib.sha256(msgspec.msgpack.encode(identity)).hexdigest()
        if twice := [name for name, count in Counter(self.features).items() if count > 1]:
            raise InvalidPlan(
                f"extractor {self.name!r} yields feature {twice[0]!r} twice: give one of the two another 'label'"
            )

    @classmethod
    def parse(cls, spec: Spec, fields: tuple[str, ...], retention: Retention = DEFAULT_RETENTION) -> Composite:
        """From a plan's list, for a schema's fields. Raises InvalidPlan."""
        return cls(parse_spec(spec), fields, retention)

    @property
    def ref(self) -> str:
        """name:version:digest, as models are named in provenance."""
        return f"{self.name}:{self.version}:{self.digest[:12]}"

    @property
    def stateless(self) -> bool:
        """Whether features follow from the record alone; the device table then stays empty."""
        return not self.layout.parts

    def table(self) -> DeviceTable:
        """An empty device table."""
        return DeviceTable(self.layout, self.retention)

    def restore(self, entries: Mapping[str, bytes]) -> DeviceTable:
        """The table that was written (see `read_table`), an older SCHEMA_VERSION migrated. Raises InvalidDefinition for
        other extractors' bytes."""
        table = read_table(entries, self.retention)
        table.retain(self.retention)
        return self._adapt(table, strict=True)

    def unfit(self, table: DeviceTable) -> str:
        """Why `carry` would fail, as a few devices of the table show, "" where it would not. Changes nothing."""
        try:
            for member in self.members:
                _migrated(member, table, TRIED)
        except InvalidDefinition as error:
            return str(error)
        return ""

    def lacks(self, table: DeviceTable) -> str:
        """Why devices of a table would have to warm up under this composite, "" where `carry` finds all that it remembers: in use, be
        it of an older SCHEMA_VERSION, and not only kept from before. Changes nothing."""
        found = table.layout
        if all(all_there(part, found) or _older(part, found.parts) for part in self.layout.parts):
            return self.unfit(table)
        return str(_foreign(self.layout, found))

    def carry(self, table: DeviceTable, lose: bool = False) -> DeviceTable:
        """For a swap: a table with the devices of another composite's, which is used up.

        State of extractors whose settings and fields are the same goes on, and so do the last readings of fields that both look back
        at. State that this composite has no use for is kept as it is until the next swap that changes extractors, and goes on from
        there if that one wants it. What is in neither starts anew, so its devices are warming; with `lose` also what `migrate` fails on,
        which else raises InvalidDefinition.
        """
        table.retain(self.retention)
        return self._adapt(table, strict=False, lose=lose)

    def open_to(self, private: Collection[str]) -> list[int]:
        """The places of the features into which none of these fields has gone."""
        origins = [fields for member in self.members for fields in member.extractor.origins()]
        return [place for place, fields in enumerate(origins) if not set(private) & set(fields)]

    def extract(self, frame: Frame, table: DeviceTable) -> tuple[Float64, Bool]:
        """Features [n, K] and warming [n] of a frame's records, whose state `table` then holds.

        Equal bits however the records of a shard are cut into frames, as long as they come in order.
        """
        if len(frame) == 0:
            return np.empty((0, len(self.features))), np.zeros(0, bool)
        if self.stateless:
            parts = [member.alone(frame.values, frame.times) for member in self.members]
            return parts[0] if len(parts) == 1 else self._join(parts, slice(None), len(frame))
        rounds = rounds_of(table.slots(frame.devices, frame.timestamps))
        state = table.state(rounds.slots)
        values, times = frame.values[rounds.order], frame.times[rounds.order]
        past = readings.past_of(table, values[:, self._kept], rounds, state) if self.readings else None
        parts = [member.run(values, times, rounds, state, past) for member in self.members]
        if past:
            past.keep()
        table.keep(rounds.slots, state)
        return self._join(parts, slice(None) if rounds.single else rounds.order, len(frame))

    def _join(self, parts: list[tuple[Float64, Bool]], order: Int64 | slice, n: int) -> tuple[Float64, Bool]:
        """The members' features side by side, and warming, from the order of rounds back to the frame's."""
        features, warming, first = np.empty((n, len(self.features))), np.zeros(n, bool), 0
        for found, cold in parts:
            features[order, first : first + found.shape[1]] = found
            warming[order] |= cold
            first += found.shape[1]
        return features, warming

    def _adapt(self, table: DeviceTable, strict: bool, lose: bool = False) -> DeviceTable:
        if table.layout.parts == self.layout.parts:
            return table
        if strict and len(table.layout.parts) != len(self.layout.parts):
            raise _foreign(self.layout, table.layout)
        migrated = {}
        for member in self.members:
            with suppress(InvalidDefinition) if lose else nullcontext():
                state = _migrated(member, table)
                if state is not None:
                    migrated[member.part.key] = state
        for part in self.layout.parts if strict else ():
            if part.key not in migrated and not goes_on(part, table.layout):
                raise _foreign(self.layout, table.layout)
        adapted = carry(table, self.layout.parts, keep=not strict)
        for key, state in migrated.items():
            for column, array in state.items():
                adapted.columns[f"{key}.{column}"][: len(array)] = array
            adapted.needs_rebase = True  # what is stored is read without the code that did this
        return adapted


def _member(extractor: Extractor, key: str, fields: tuple[str, ...]) -> Member:
    if unknown := [field for field in extractor.fields if field not in fields]:
        raise extractor.refuse("fields", unknown[0], f"a field of the schema: {', '.join(fields)}")
    if len(set(extractor.fields)) < len(extractor.fields):
        raise extractor.refuse("fields", list(extractor.fields), "each field at most once")
    places = [fields.index(field) for field in extractor.fields] if extractor.fields else slice(None)
    resolved = msgspec.structs.replace(extractor, fields=extractor.fields or fields)
    resolved.check()
    settings = msgspec.json.encode(settings_of(resolved)).decode()
    part = Part(key, extractor.NAME, extractor.VERSION, extractor.SCHEMA_VERSION, settings, resolved.state())
    return Member(resolved, places, part, len(resolved.features()))


def _looking(member: Member, kept: Sequence[str]) -> Member:
    if not member.extractor.depth():
        return member
    return msgspec.structs.replace(member, kept=readings.places_in(member.extractor.fields, kept))


def _keys(extractors: tuple[Extractor, ...]) -> list[str]:
    """A name for each, numbered where an extractor stands more than once."""
    seen: Counter[str] = Counter()
    keys = []
    for extractor in extractors:
        seen[extractor.NAME] += 1
        keys.append(extractor.NAME if seen[extractor.NAME] == 1 else f"{extractor.NAME}#{seen[extractor.NAME]}")
    return keys


def _migrated(member: Member, table: DeviceTable, most: int | None = None) -> State | None:
    """A member's columns [slots, width] out of those of an older schema version in a table; None where that has none, or those it
    wants. `most`: of so many slots only."""
    ours, known = member.part, (*table.layout.parts, *table.layout.kept)
    older = _older(ours, known)
    if any(ours.means(part) for part in known):
        return None
    _refuse_changed(ours, table)
    if older is None:
        return None
    arrays = table.arrays()
    slots = len(table.names) if most is None else min(most, len(table.names))
    columns = {column: arrays[f"{older.key}.{column}"][:slots].copy() for column in older.columns}
    return _migrate(member, older.schema_version, columns)


def _older(ours: Part, known: Iterable[Part]) -> Part | None:
    """The same extractor's state of an older schema version."""
    return next((part for part in known if (part.name, part.settings) == (ours.name, ours.settings)
                 and part.schema_version < ours.schema_version), None)


def _refuse_changed(ours: Part, table: DeviceTable) -> None:
    """Raises InvalidDefinition for state that its author has changed without saying so: it would be lost, and nobody would know."""
    for part in table.layout.parts:
        if (part.name, part.settings, part.schema_version) == (ours.name, ours.settings, ours.schema_version):
            raise InvalidDefinition(
                f"extractor {ours.name!r}: state of schema version {part.schema_version} has the columns {part.columns}, and its version "
                f"{ours.version} names {ours.columns}; a state that changes needs a higher SCHEMA_VERSION, and a migrate"
            )


def _migrate(member: Member, version: int, columns: State) -> State:
    """What the extractor makes of an older version's columns. Raises InvalidDefinition, whatever its code raises."""
    what = f"extractor {member.extractor.NAME!r}: migrate from schema version {version} to {member.part.schema_version}"
    try:
        state = {column: np.asarray(array, np.float64) for column, array in member.extractor.migrate(version, columns).items()}
    except InvalidDefinition:
        raise
    except Exception as error:
        raise InvalidDefinition(f"{what}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    devices = len(next(iter(columns.values())))
    shapes, wanted = {column: array.shape for column, array in state.items()}, member.part.columns
    if shapes != {column: (devices, width) for column, width in wanted.items()}:
        raise InvalidDefinition(f"{what}: gave {shapes} for {devices} devices; allowed are columns of width {wanted}")
    return state


def _foreign(wanted: Layout, found: Layout) -> InvalidDefinition:
    return InvalidDefinition(f"state is of other extractors: found {_text(found)}, allowed is {_text(wanted)}")


def _text(layout: Layout) -> str:
    return " + ".join(f"{p.name} {p.settings} schema {p.schema_version}" for p in layout.parts) or "none"
