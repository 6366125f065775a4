"""What every extractor must keep to, as checks: for the tests of one's own, `swapstream extractors check`, and our own suite.

    from swapstream.operators.extractors.contract import check

    def test_it_keeps_the_contract():
        check(Spectrum(periods=(4, 16)), fields=("x", "y"))

They run over records that a seed gives, among them values that are huge, tiny, and times that go back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from swapstream.models.errors import InvalidPlan
from swapstream.models.finding import Check, Finding, found, refuse
from swapstream.operators.device_store import BASE
from swapstream.operators.extractors.base import Extractor
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.extractors.rounds import rounds_of
from swapstream.operators.extractors.trials import Ran, Record, examples, frame_of, lives, run, series
from swapstream.operators.retention import DEFAULT_RETENTION, Retention

FIELDS = ("a", "b", "c")
SEEDS = 20
LONG = 5_000
"""Readings of a device after which the first is no longer warming."""
RETENTIONS = (DEFAULT_RETENTION, Retention(max=2), Retention(evict_after=4), Retention(max=3, evict_after=6))


def check(extractor: Extractor, fields: tuple[str, ...] = FIELDS, before: Extractor | None = None) -> None:
    """Run every check of an extractor over a schema's fields. `before`: an older version of it, whose state it takes over.

    Raises Rejected, naming the check and what was found.
    """
    refuse(f"extractor {extractor.NAME!r}", findings(extractor, fields, before))


def findings(extractor: Extractor, fields: tuple[str, ...] = FIELDS, before: Extractor | None = None) -> Iterator[Finding]:
    """What each check finds, up to the first that is not kept."""
    for one in checks(extractor, fields, before):
        finding = found(f"extractor {extractor.NAME!r}", one)
        yield finding
        if not finding.ok:
            return


def checks(extractor: Extractor, fields: tuple[str, ...], before: Extractor | None) -> Iterator[Check]:
    """Of one extractor. Each finds something to say, or raises."""
    composite = Composite([extractor], fields)
    bounded = [Composite([extractor], fields, retention) for retention in RETENTIONS]

    def over_all(one: Callable[[Composite, list[Record], int], None], among: Iterable[Composite]) -> str:
        for kind in among:
            for seed in range(SEEDS):
                one(kind, examples(seed, len(fields)), seed)
        return f"kept over {SEEDS} series of records"

    yield Check("features", "named, one column each, finite", lambda: features(composite))
    yield Check("warming", f"ends within {LONG} readings, and does not come back", lambda: warming(composite))
    yield Check("frames", "equal bits however records are cut into frames", lambda: over_all(_cut_anywhere, bounded))
    yield Check("run", "what step gives reading by reading", lambda: over_all(_stepped, [composite]))
    yield Check("devices", "each as if it were alone", lambda: over_all(_alone, [composite]))
    yield Check("state", "goes on after a restore as if there had been none", lambda: over_all(_restored, bounded))
    yield Check("forgotten", "a device that was forgotten begins anew", lambda: over_all(_forgotten, bounded))
    yield Check("absurd", "readings as large as a float can be are forgotten", lambda: absurd(composite))
    if before is not None:
        yield Check("migrate", "the older version's state goes on", lambda: migrated(Composite([before], fields), composite))


# -- each check, for composites of any extractors


def features(composite: Composite) -> str:
    """Names and shapes, over ordinary readings."""
    ran = _ordinary(composite, 300)
    if composite.shape and math.prod(composite.shape) != len(composite.features):
        raise InvalidPlan(f"shape {list(composite.shape)}; of {len(composite.features)} features")
    if not np.isfinite(ran.features).all():
        row, column = np.argwhere(~np.isfinite(ran.features))[0].tolist()
        raise InvalidPlan(f"{composite.features[column]} is {ran.features[row, column]} at reading {row}; finite for ordinary values")
    empty = composite.extract(frame_of([], len(composite.fields)), composite.table())
    if (empty[0].shape, empty[1].shape) != ((0, len(composite.features)), (0,)):
        raise InvalidPlan("a frame without records; no features")
    return f"{len(composite.features)} of {len(composite.fields)} fields"


def warming(composite: Composite) -> str:
    """One device's readings."""
    cold = _ordinary(composite, 300).warming
    if cold[-1]:
        cold = _ordinary(composite, LONG).warming
    count = int(cold.sum())
    if cold[-1] or not cold[:count].all():
        raise InvalidPlan(f"{count} of {len(cold)} readings, the last one{'' if cold[-1] else ' not'} among them")
    return f"{count} readings"


def same_bits(composite: Composite, records: Sequence[Record], cuts: Sequence[int]) -> None:
    """Of features, warming and state, in one frame, in frames that end at `cuts`, and one by one."""
    whole = run(composite, records, [])
    for how, other in ((f"cut at {list(cuts)}", run(composite, records, cuts)), ("one by one", run(composite, records))):
        _same(composite, records, f"{how} and in one frame", other, whole)


def run_is_step_after_step(composite: Composite, records: Sequence[Record]) -> None:
    """Where an extractor has a `run` of its own."""
    frame = frame_of(records, len(composite.fields))
    names = list(dict.fromkeys(frame.devices))
    rounds = rounds_of(np.array([names.index(device) for device in frame.devices]))
    for member in composite.members:
        if member.extractor.depth():
            continue
        values, times = frame.values[rounds.order][:, member.places], frame.times[rounds.order]
        states = [{c: np.zeros((len(rounds.slots), w)) for c, w in member.part.columns.items()} for _ in range(2)]
        fast = member.extractor.run(values, times, rounds, states[0])
        slow = Extractor.run(member.extractor, values, times, rounds, states[1])
        if [array.tobytes() for array in (*fast, *states[0].values())] != [array.tobytes() for array in (*slow, *states[1].values())]:
            raise InvalidPlan(f"other bits for {len(records)} records of {len(names)} devices; what step gives reading by reading")


def devices_are_apart(composite: Composite, records: Sequence[Record]) -> None:
    """Each device's features are those that it has alone."""
    together = run(composite, records, [])
    for device in dict.fromkeys(record.device for record in records):
        _as_alone(composite, records, together, [place for place, record in enumerate(records) if record.device == device])


def state_survives(composite: Composite, records: Sequence[Record], rest: Sequence[Record]) -> None:
    """Snapshots, and the changes that are stored frame by frame, both go on with the bits that there would have been."""
    table, width = composite.table(), len(composite.fields)
    stored = stored_after({}, table.rebase())
    for first in range(0, len(records), 7):
        composite.extract(frame_of(records[first : first + 7], width, first), table)
        stored = stored_after(stored, table.changes())
    others = [composite.restore({BASE: table.snapshot()}), composite.restore(stored)]
    wanted = run(composite, rest, [], table)
    for other in others:
        _same(composite, rest, "after a restore and without one", run(composite, rest, [], other), wanted)
        if composite.restore(stored_after({}, other.rebase())).snapshot() != table.snapshot():
            raise InvalidPlan("state that is written and read again has other bits; the same")


def forgotten_is_new(composite: Composite, records: Sequence[Record]) -> None:
    """Each life of a device has the features that it would have alone in a table without bounds."""
    if composite.stateless:
        return
    unbounded = Composite([member.extractor for member in composite.members], composite.fields, Retention(evict_after=10**9))
    together = run(composite, records, [])
    for places in lives(records, composite.retention):
        _as_alone(unbounded, records, together, places)


def absurd(composite: Composite) -> str:
    """Three calm readings, two as large as a float can be, three calm ones."""
    largest, width = float(np.finfo(np.float64).max), len(composite.fields)
    calm = [tuple(float(place + 1) for place in range(width))] * 3
    wild = [tuple(sign * largest * (-1) ** place for place in range(width)) for sign in (1, -1)]
    with np.errstate(all="ignore"):
        ran = run(composite, series([*calm, *wild, *calm]), [])
    after = ran.features[[0, 1, 2, 6, 7]]
    if not np.isfinite(after).all():
        column = int(np.argwhere(~np.isfinite(after))[0, 1])
        raise InvalidPlan(f"{composite.features[column]} is not finite after readings of ±{largest:.2g}; finite again, as where values "
                          "are clipped to ±LIMIT of extractors/base.py")
    return "features are finite again"


def migrated(before: Composite, after: Composite) -> str:
    """State of an older version, through `migrate` where its schema version is lower, goes on in this one."""
    for seed in range(SEEDS):
        records = examples(seed, len(after.fields))
        state = {BASE: run(before, records, []).state}
        table, known = after.restore(state), before.restore(state).devices
        if table.devices != known:
            raise InvalidPlan(f"devices {table.devices} are left; {known}")
        for name, column in table.columns.items():
            if not np.isfinite(column).all():
                raise InvalidPlan(f"column {name!r} is not finite; finite")
        again = after.restore({BASE: table.snapshot()})
        rest = examples(seed + SEEDS, len(after.fields))
        _same(after, rest, "after the next restore and without one", run(after, rest, [], again), run(after, rest, [], table))
    return f"from schema version {_schemas(before)} to {_schemas(after)}"


# -- parts of them


def _cut_anywhere(composite: Composite, records: list[Record], seed: int) -> None:
    draw = np.random.default_rng(seed)
    cuts = sorted(set(draw.integers(1, len(records) + 1, int(draw.integers(0, 6))).tolist()))
    same_bits(composite, records, cuts)


def _stepped(composite: Composite, records: list[Record], seed: int) -> None:
    run_is_step_after_step(composite, records)


def _alone(composite: Composite, records: list[Record], seed: int) -> None:
    devices_are_apart(composite, records)


def _restored(composite: Composite, records: list[Record], seed: int) -> None:
    state_survives(composite, records, examples(seed + SEEDS, len(composite.fields)))


def _forgotten(composite: Composite, records: list[Record], seed: int) -> None:
    forgotten_is_new(composite, records)


def _ordinary(composite: Composite, count: int) -> Ran:
    return run(composite, series(map(tuple, np.random.default_rng(0).normal(size=(count, len(composite.fields))).tolist())), [])


def _as_alone(composite: Composite, records: Sequence[Record], together: Ran, places: list[int]) -> None:
    mine = [records[place] for place in places]
    alone = run(composite, mine, [])
    _same(composite, mine, "among others and alone", Ran(together.features[places], together.warming[places], alone.state), alone)


def _same(composite: Composite, records: Sequence[Record], how: str, found: Ran, wanted: Ran) -> None:
    """Raises InvalidPlan that names the first difference."""
    cells = found.features.view(np.int64) != wanted.features.view(np.int64)
    if cells.any():
        row, column = np.argwhere(cells)[0].tolist()
        raise InvalidPlan(f"{composite.features[column]} of record {row} (device {records[row].device!r}) is "
                          f"{found.features[row, column]!r} and {wanted.features[row, column]!r}; equal bits {how}")
    if (cold := found.warming != wanted.warming).any():
        raise InvalidPlan(f"warming of record {int(np.flatnonzero(cold)[0])} differs; the same {how}")
    if found.state != wanted.state:
        raise InvalidPlan(f"the state behind {len(records)} records differs; equal bits {how}")


def _schemas(composite: Composite) -> str:
    return ".".join(str(member.extractor.SCHEMA_VERSION) for member in composite.members)


def stored_after(stored: dict[str, bytes], changes: dict[str, bytes | None]) -> dict[str, bytes]:
    """Entries of a device table's state after changes."""
    return {key: entry for key, entry in (stored | changes).items() if entry is not None}


def trial(composite: Composite) -> None:
    """The least that must be true before a user's code may run: it takes records, and gives as many features as it names. Raises
    InvalidPlan."""
    with np.errstate(all="ignore"):
        for seed in range(4):
            run(composite, examples(seed, len(composite.fields)), [])
