"""The contract of every extractor, found by discovery, and what each one computes."""

from __future__ import annotations

import doctest
import importlib
import json
import math
import pkgutil
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapstream.models.errors import InvalidDefinition, InvalidPlan
from swapstream.operators import extractors as package
from swapstream.operators.device_store import BASE
from swapstream.operators.devices import DeviceTable
from swapstream.operators.extractors import contract, extractors, trials
from swapstream.operators.extractors.base import Extractor, State
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.extractors.contract import RETENTIONS, stored_after
from swapstream.operators.extractors.spec import parse_text
from swapstream.operators.extractors.trials import Ran, Record
from swapstream.operators.frame import Bool, Float64, Frame, Int64
from swapstream.operators.layout import Layout
from swapstream.operators.retention import Retention

FIELDS = ("temperature", "pressure", "flow")
SPECS: list[Any] = [
    *([name] for name in extractors()),
    [{"ewm": {"halflife": 2.5, "warmup": 3, "statistics": ["residual", "mean", "deviation"]}}],
    [{"differences": {"fields": ["flow", "temperature"]}}],
    [{"identity": {"offset": 1, "scale": {"flow": 1e3}}}, {"ewm": {"fields": ["flow"]}}, "differences"],
    [{"ewm": {"halflife": 2, "label": "fast"}}, {"ewm": {"halflife": 50, "label": "slow"}}],
    [{"rolling": {"n": 2}}],
    [{"rolling": {"n": 3, "before": True, "statistics": ["max", "deviation"], "fields": ["flow", "temperature"]}}],
    [{"rolling": {"n": 4, "statistics": ["min"]}}, {"rolling": {"n": 2, "label": "short"}}, "rate"],
    [{"lags": {"steps": [3, 1]}}],
    [{"window": {"n": 5, "fields": ["pressure"]}}],
    ["elapsed", {"lags": {"fields": ["flow"]}}, "ewm", {"window": {"n": 3, "fields": ["temperature", "pressure"]}}],
]

every_spec = pytest.mark.parametrize("spec", SPECS, ids=str)
some_examples = settings(max_examples=10)  # of each spec: 250 of each rule
values = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 5e-324, 1e-300, 1e150, -1e150])
jumps = st.sampled_from([0, 0, 1, 1, 1, 3, 9, -2])
records = st.lists(
    st.tuples(st.sampled_from("abcde"), st.tuples(values, values, values), jumps, jumps), min_size=1, max_size=40
).map(lambda found: clocked(found))
retentions = st.sampled_from(RETENTIONS)
Records = list[tuple[Any, ...]]


def clocked(jumping: Records) -> Records:
    """(device, values, event time in µs, log time in ms), from steps of both times."""
    time, log, found = 1_700_000_000_000_000, 0, []
    for device, row, step, jump in jumping:
        time, log = time + 700_001 * step, log + jump
        found.append((device, row, time, log))
    return found


def records_of(some: Records, first: int = 0) -> list[Record]:
    """Of (device, values) every second, or of these with times."""
    return [Record(*r) if len(r) > 2 else Record(*r, 1_000_000 * o, 1_000 + o) for o, r in enumerate(some, first)]


def frame_of(some: Records, first: int = 0) -> Frame:
    return trials.frame_of(records_of(some, first), len(FIELDS), first)


def run(composite: Composite, some: Records, cuts: list[int] | None = None) -> Ran:
    """In frames that end at `cuts`; none: one by one."""
    return trials.run(composite, records_of(some), cuts)


# -- the contract of every extractor


@every_spec
@some_examples
@given(some=records, retention=retentions, data=st.data())
def test_bits_do_not_depend_on_how_records_are_cut_into_frames(
    spec: Any, some: Records, retention: Retention, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(some)))))
    contract.same_bits(Composite.parse(spec, FIELDS, retention), records_of(some), cuts)


@every_spec
@some_examples
@given(some=records)
def test_run_is_step_after_step(spec: Any, some: Records) -> None:
    contract.run_is_step_after_step(Composite.parse(spec, FIELDS), records_of(some))


@every_spec
@some_examples
@given(some=records)
def test_devices_do_not_influence_each_other(spec: Any, some: Records) -> None:
    contract.devices_are_apart(Composite.parse(spec, FIELDS), records_of(some))


@every_spec
@some_examples
@given(some=records, rest=records, retention=retentions)
def test_state_survives_snapshots_and_changes(spec: Any, some: Records, rest: Records, retention: Retention) -> None:
    contract.state_survives(Composite.parse(spec, FIELDS, retention), records_of(some), records_of(rest))


@every_spec
@some_examples
@given(some=records, retention=retentions)
def test_what_is_forgotten_starts_as_new(spec: Any, some: Records, retention: Retention) -> None:
    contract.forgotten_is_new(Composite.parse(spec, FIELDS, retention), records_of(some))


@every_spec
def test_features_are_named_and_finite_and_warming_ends(spec: Any) -> None:
    composite = Composite.parse(spec, FIELDS)
    assert contract.features(composite) == f"{len(composite.features)} of 3 fields"
    assert contract.warming(composite).endswith(" readings")


@every_spec
def test_an_absurd_reading_is_forgotten(spec: Any) -> None:
    contract.absurd(Composite.parse(spec, FIELDS))


@every_spec
def test_specs_are_canonical(spec: Any) -> None:
    composite = Composite.parse(spec, FIELDS)
    again = Composite.parse(json.loads(json.dumps(composite.spec)), FIELDS)
    assert again.spec == composite.spec
    assert again.digest == composite.digest
    assert again.layout == composite.layout


def test_docstrings_tell_the_truth() -> None:
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        assert doctest.testmod(importlib.import_module(module.name)).failed == 0


# -- what each one computes


def test_identity_shifts_and_scales() -> None:
    composite = Composite.parse([{"identity": {"offset": {"flow": 10}, "scale": 2}}], FIELDS)
    features, warming, _ = run(composite, [("a", (1.0, -3.0, 14.0))])
    assert features.tolist() == [[0.5, -1.5, 2.0]]
    assert warming.tolist() == [False]
    assert composite.stateless


def test_differences_are_to_the_device_s_own_last_reading() -> None:
    some: Records = [("a", (1, 2, 3)), ("b", (10, 20, 30)), ("a", (2, 4, 6)), ("a", (0, 0, 0)), ("b", (11, 22, 33))]
    features, warming, _ = run(Composite.parse(["differences"], FIELDS), some, [])
    assert features.tolist() == [[0, 0, 0], [0, 0, 0], [1, 2, 3], [-2, -4, -6], [1, 2, 3]]
    assert warming.tolist() == [True, True, False, False, False]


@given(records)
def test_ewm_follows_finch(some: Records) -> None:
    """Against the formula written out for one number at a time."""
    setting = {"halflife": 3, "warmup": 2, "statistics": ["mean", "deviation", "residual"]}
    features, warming, _ = run(Composite.parse([{"ewm": setting}], FIELDS), some, [])
    alpha = 1 - 2 ** (-1 / 3)
    means: dict[tuple[str, int], float] = {}
    variances: dict[tuple[str, int], float] = defaultdict(float)
    readings: dict[str, int] = defaultdict(int)
    for place, (device, row, *_) in enumerate(some):
        assert warming[place] == (readings[device] < 2)
        readings[device] += 1
        for column, value in enumerate(row):
            key = device, column
            difference = value - means.setdefault(key, value)
            assert features[place, column::3].tolist() == [means[key], math.sqrt(variances[key]), difference]
            means[key] += alpha * difference
            variances[key] = (1 - alpha) * (variances[key] + difference * (alpha * difference))


def test_ewm_converges_to_mean_and_deviation() -> None:
    normal = np.random.default_rng(1).normal(50, 4, size=(5_000, 3)).tolist()
    features, _, _ = run(Composite.parse([{"ewm": {"halflife": 700}}], FIELDS), [("a", tuple(r)) for r in normal], [])
    assert features[-1] == pytest.approx([50, 50, 50, 4, 4, 4], rel=0.05)


def test_ewm_forgets_by_half_every_halflife() -> None:
    composite = Composite.parse([{"ewm": {"halflife": 4}}], FIELDS)
    features, _, _ = run(composite, [("a", (1.0, 1.0, 1.0))] + [("a", (0.0, 0.0, 0.0))] * 9, [])
    assert features[[1, 5, 9], 0] == pytest.approx([1, 0.5, 0.25])


def test_ewm_warms_up_for_two_halflives_unless_told_otherwise() -> None:
    some: Records = [("a", (0.0, 0.0, 0.0))] * 10
    assert run(Composite.parse([{"ewm": {"halflife": 2.2}}], FIELDS), some)[1].sum() == 5
    assert run(Composite.parse([{"ewm": {"halflife": 2.2, "warmup": 7}}], FIELDS), some)[1].sum() == 7


# -- specs


def test_a_composite_says_what_it_is() -> None:
    composite = Composite.parse(["identity", {"ewm": {"halflife": 5, "fields": ["flow"]}}], FIELDS)
    assert (composite.name, composite.version) == ("identity+ewm", "1.1")
    assert composite.features == (*FIELDS, "flow.ewm_mean", "flow.ewm_deviation")
    assert composite.spec == ("identity", {"ewm": {"fields": ["flow"], "halflife": 5.0}})
    assert composite.layout.columns == {"ewm.mean": 1, "ewm.variance": 1, "ewm.count": 1}
    assert composite.ref == f"identity+ewm:1.1:{composite.digest[:12]}"


def test_settings_at_their_default_make_no_difference() -> None:
    short, long = (
        Composite.parse(["ewm"], FIELDS),
        Composite.parse([{"ewm": {"halflife": 20.0, "fields": list(FIELDS)}}], FIELDS),
    )
    assert short.digest == long.digest
    assert Composite.parse([{"ewm": {"halflife": 21}}], FIELDS).digest != short.digest
    assert Composite.parse(["ewm"], FIELDS[::-1]).digest != short.digest


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([], "list of names"),
        ("emw", "'emw' is unknown, there are differences, elapsed, ewm, identity, lags, rate, rolling, window"),
        ([{"ewm": {}, "identity": {}}], "unknown"),
        ([7], "7 is unknown"),
        ([{"ewm": 20}], "settings are 20, allowed is a mapping of halflife, warmup, statistics, fields"),
        ([{"ewm": {"halfife": 20}}], "no setting 'halfife', allowed are halflife, warmup, statistics, fields, label"),
        ([{"ewm": {"halflife": 0}}], "'ewm': setting 'halflife' is 0, allowed is `float` > 0"),
        ([{"ewm": {"halflife": "20"}}], "setting 'halflife' is '20', allowed is `float`"),
        ([{"ewm": {"halflife": True}}], "setting 'halflife' is True, allowed is `float`"),
        ([{"ewm": {"halflife": math.inf}}], "setting 'halflife' is inf, allowed is a finite number"),
        ([{"ewm": {"warmup": 0}}], "setting 'warmup' is 0, allowed is `int` >= 1"),
        ([{"ewm": {"statistics": ["mode"]}}], r"'statistics' is \['mode'\], allowed is one of mean, deviation, resid"),
        ([{"ewm": {"statistics": []}}], "each at most once"),
        ([{"ewm": {"fields": ["flaw"]}}], "setting 'fields' is 'flaw', allowed is a field of the schema: temperature"),
        ([{"ewm": {"fields": ["flow", "flow"]}}], "each field at most once"),
        ([{"identity": {"scale": 0}}], "setting 'scale' is 0.0, allowed is a finite number other than 0"),
        ([{"identity": {"scale": {"flow": 0}}}], "other than 0"),
        ([{"identity": {"offset": {"flaw": 1}}}], "mapping from temperature, pressure, flow"),
        (["ewm", "ewm"], "feature 'temperature.ewm_mean' twice: give one of the two another 'label'"),
    ],
    ids=str,
)
def test_wrong_specs_are_refused_naming_setting_value_and_what_is_allowed(spec: Any, message: str) -> None:
    with pytest.raises(InvalidPlan, match=message):
        Composite.parse(spec, FIELDS)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("identity", ["identity"]),
        ("identity+ewm(halflife=20)", ["identity", {"ewm": {"halflife": 20}}]),
        (
            'identity(offset=-1.5, scale={flow: 2, "motor.rpm": 3}) + differences',
            [{"identity": {"offset": -1.5, "scale": {"flow": 2, "motor.rpm": 3}}}, "differences"],
        ),
        ("ewm(statistics=[mean], label=slow)", [{"ewm": {"statistics": ["mean"], "label": "slow"}}]),
    ],
)
def test_specs_as_text(text: str, spec: list[Any]) -> None:
    assert parse_text(text) == spec


@pytest.mark.parametrize(
    "text", ["", "ewm(20)", "ewm - ewm", "ewm(a=__import__('os'))", "ewm(**{})", "x(", "a.b()", "\0", "(" * 500]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidPlan, match="not of the form"):
        parse_text(text)


# -- state of other extractors


class Count(Extractor, frozen=True):
    """Readings so far, as the first version kept them."""

    NAME: ClassVar[str] = "count"

    def features(self) -> tuple[str, ...]:
        return ("count",)

    def state(self) -> dict[str, int]:
        return {"count": 1}

    def step(self, values: Float64, times: Int64, state: State) -> tuple[Float64, Bool, State]:
        after = state["count"] + 1
        return after, np.zeros(len(values), bool), {"count": after}


class CountInTens(Count, frozen=True):
    """The second version, which reads the first one's state."""

    VERSION: ClassVar[int] = 2
    SCHEMA_VERSION: ClassVar[int] = 2

    def state(self) -> dict[str, int]:
        return {"tens": 1, "ones": 1}

    def step(self, values: Float64, times: Int64, state: State) -> tuple[Float64, Bool, State]:
        after = state["tens"] * 10 + state["ones"] + 1
        return after, np.zeros(len(values), bool), {"tens": after // 10, "ones": after % 10}

    def migrate(self, version: int, columns: Mapping[str, Float64]) -> State:
        return {"tens": columns["count"] // 10, "ones": columns["count"] % 10}


def test_state_of_an_older_schema_version_is_migrated_and_wants_a_new_base() -> None:
    old, new = Composite([Count()], FIELDS), Composite([CountInTens()], FIELDS)
    table = new.restore({BASE: run(old, [("a", (0, 0, 0))] * 12 + [("b", (0, 0, 0))])[2]})
    assert table.needs_rebase
    features, _ = new.extract(frame_of([("a", (0, 0, 0)), ("b", (0, 0, 0)), ("c", (0, 0, 0))]), table)
    assert features[:, 0].tolist() == [13, 2, 1]
    again = new.restore(stored_after({}, table.rebase()))
    assert again.snapshot() == table.snapshot()
    assert not table.needs_rebase
    assert not again.needs_rebase


def test_state_of_a_newer_schema_version_is_refused() -> None:
    old, new = Composite([Count()], FIELDS), Composite([CountInTens()], FIELDS)
    with pytest.raises(InvalidDefinition, match=r"found count .* schema 2, allowed is count .* schema 1"):
        old.restore({BASE: run(new, [("a", (0, 0, 0))])[2]})


def test_an_extractor_that_cannot_migrate_says_so() -> None:
    class Stubborn(CountInTens, frozen=True):
        migrate = Extractor.migrate

    with pytest.raises(InvalidDefinition, match="schema version 1 can't be read, only 2"):
        Composite([Stubborn()], FIELDS).restore({BASE: run(Composite([Count()], FIELDS), [("a", (0, 0, 0))])[2]})


@pytest.mark.parametrize("other", [["identity"], [{"ewm": {"halflife": 3}}], ["ewm", "differences"], ["lags"]], ids=str)
def test_state_of_other_extractors_is_refused(other: Any) -> None:
    written = run(Composite.parse(["ewm"], FIELDS), [("a", (0, 0, 0))])[2]
    with pytest.raises(InvalidDefinition, match="state is of other extractors: found ewm"):
        Composite.parse(other, FIELDS).restore({BASE: written})


def test_a_swap_carries_the_state_of_what_stays_the_same() -> None:
    before = Composite.parse(["ewm", {"differences": {"label": "d"}}], FIELDS)
    after = Composite.parse(["differences", "identity", "ewm"], FIELDS)
    some: Records = [("a", (float(i), 1.0, 2.0)) for i in range(60)]
    table = before.table()
    before.extract(frame_of(some), table)
    carried = after.carry(table)
    assert carried.needs_rebase
    features, warming = after.extract(frame_of([("a", (9.0, 9.0, 9.0)), ("a", (9.0, 9.0, 9.0))]), carried)
    reference = before.extract(frame_of([("a", (9.0, 9.0, 9.0)), ("a", (9.0, 9.0, 9.0))]), table)
    mean = after.features.index("temperature.ewm_mean")
    assert features[:, mean : mean + 6].tolist() == reference[0][:, :6].tolist()
    assert warming.tolist() == [True, False]


def test_carrying_to_the_same_extractors_changes_nothing() -> None:
    composite = Composite.parse(["ewm"], FIELDS)
    table = DeviceTable(composite.layout)
    assert Composite.parse(["identity", "ewm"], FIELDS).carry(table) is table
    assert Layout(()) == Composite.parse(["identity"], FIELDS).layout
