"""Rules as text: what is allowed, what it means, and that nothing else gets through."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.models import Artifact, train
from swapstream.models.arrays import Float64
from swapstream.models.errors import InvalidArtifact, InvalidSettings
from swapstream.models.expression_tokens import filled
from swapstream.models.expressions import MAX_DEPTH, MAX_RULES, MAX_TEXT, parse, parse_texts
from swapstream.models.kinds import scorer
from swapstream.models.revision import revise
from tests.unit.models.examples import LINEAGE

NAMES = ("temperature", "pressure", "flow.rate", "flow[-3]", "wind speed")


def made(rules: str, names: tuple[str, ...] = NAMES) -> Artifact:
    rows = np.arange(2.0 * len(names)).reshape(2, -1)
    return train("rules", rows, names, name="demo", settings={"rules": rules}, lineage=LINEAGE)


def scores(rules: str, *rows: tuple[float, ...], names: tuple[str, ...] = NAMES) -> list[float]:
    given: Float64 = np.array(rows)
    return list(scorer(made(rules, names)).score(given).tolist())


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ("temperature > 80 and (pressure < 1 or flow.rate > 5)", [1, 0, 0]),
        ("temperature > 80", [1, 1, 0]),
        ("temperature >= 81; pressure <= 2", [1, 2, 1]),
        ("temperature == 81 or temperature != 81", [1, 1, 1]),
        ("not temperature > 80", [0, 0, 1]),
        ("not not temperature > 80 and not pressure > 1", [0, 1, 0]),
        ("80 < temperature < 85.5", [0, 1, 0]),
        ("flow[-3] > 3: 2.5\n`wind speed` > 0 : -1", [1.5, -1, 1.5]),
        ("abs(pressure - 3) > 1.5; max(temperature, pressure, 85) > 85: 2", [3, 1, 0]),
        ("min(temperature, pressure) < .5e1", [0, 1, 1]),
        ("temperature - pressure * 2 / 4 - 1 > 7.9e1 + -.5", [1, 1, 0]),
        ("-temperature < -80", [1, 1, 0]),
        ("(temperature) > (80)", [1, 1, 0]),
    ],
)
def test_what_rules_mean(rules: str, wanted: list[float]) -> None:
    rows = [(90.0, 5.0, 6.0, 4.0, 1.0), (81.0, 1.0, 0.0, 0.0, 1.0), (10.0, 2.0, 9.0, 4.0, 1.0)]
    assert scores(rules, *rows) == wanted


def test_a_rule_that_holds_is_an_anomaly() -> None:
    manifest = made("temperature > 80").manifest
    assert (manifest.threshold, manifest.alarm_rate) == (0.0, None)


def test_what_is_not_a_number_is_neither_true_nor_false() -> None:
    nan = float("nan")
    assert np.isnan(scores("temperature > 1", (nan,), names=("temperature",))).all()
    assert np.isnan(scores("temperature / temperature == 1", (0.0,), names=("temperature",))).all()
    two = ("a", "b")
    rows = (nan, 0.0), (nan, 2.0), (0.0, nan)
    assert np.isnan(scores("a > 1 and b > 1", *rows, names=two)).tolist() == [False, True, False]
    assert np.isnan(scores("not (a > 1 or b > 1)", *rows, names=two)).tolist() == [True, False, True]
    assert np.isnan(scores("1 < a < b", *rows, names=two)).tolist() == [True, True, False]
    assert scores("a > 1 or b > 1", (nan, 2.0), names=two) == [1.0]
    assert scores("a / b > 3", (1.0, 0.0), names=two) == [1.0]


NUMBERS = st.integers(-3, 3).map(float)
VALUES: Any = st.recursive(
    st.sampled_from(["a", "b"]) | NUMBERS.map(lambda number: f"{abs(number)}"),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
    | inner.map(lambda t: f"-{t}")
    | inner.map(lambda t: f"abs({t})")
    | st.tuples(inner, inner).map(lambda t: f"max({t[0]}, {t[1]})"),
    max_leaves=5,
)
COMPARED = st.tuples(VALUES, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), VALUES).map(" ".join)
TRUTHS: Any = st.recursive(
    COMPARED,
    lambda inner: st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join)
    | inner.map(lambda t: f"not ({t})")
    | inner.map(lambda t: f"({t})"),
    max_leaves=6,
)


@given(rule=TRUTHS, rows=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=5))
def test_rules_mean_what_they_do_in_python(rule: str, rows: list[tuple[float, float]]) -> None:
    rule = f"a == a and ({rule})"
    wanted = [float(eval(rule, {"a": a, "b": b, "abs": abs, "max": max})) for a, b in rows]
    assert scores(rule, *rows, names=("a", "b")) == wanted


@pytest.mark.parametrize(
    ("rules", "line"),
    [
        ("", "0 rules; allowed: 1 to 64"),
        (" ;\n; ", "0 rules"),
        (";".join(["pressure > 1"] * (MAX_RULES + 1)), "65 rules; allowed: 1 to 64"),
        ("pressure > 1 " + " " * MAX_TEXT, f"rules of {MAX_TEXT + 13} characters; allowed: {MAX_TEXT}"),
        ("(" * 30 + "pressure > 1" + ")" * 30, f"nested more than {MAX_DEPTH} deep"),
        ("not " * 30 + "pressure > 1", "nested more than"),
        ("-" * 30 + "pressure > 1", "nested more than"),
        ("presure > 1", "'presure' is no feature; allowed: temperature, pressure"),
        ("1 < 2", "rule 1 names no feature"),
        ("pressure", "'pressure' is a number; allowed here: something true or false"),
        ("pressure + 1", "is a number; allowed here: something true"),
        ("pressure > 1 and flow.rate", "is a number; allowed here: something true"),
        ("(pressure > 1) + 1 > 0", "is true or false; allowed here: a number"),
        ("(pressure > 1) > 0", "is true or false; allowed here: a number"),
        ("not pressure", "is a number"),
        ("pressure >", "the rule ends after 'pressure >'; allowed there: a feature, a number"),
        ("(pressure > 1", r"the rule ends after '\( pressure > 1'; allowed there: '\)'"),
        ("pressure > 1)", r"'\)' at 13; allowed there: the end of the rule"),
        ("pressure > 1 temperature", "'temperature' at 14; allowed there: the end of the rule"),
        ("pressure = 1", "'=' at 10; allowed: features, numbers"),
        ("pressure > 1 & flow.rate > 1", "'&' at 14"),
        ("pressure > 1e999", "number '1e999'; allowed: finite numbers"),
        ("pressure > ?", r"'\?' at 12; allowed there"),
        ("pressure > 1: heavy", "'heavy' at 15; allowed there: a number"),
        ("pressure > 1: 2: 3", "':' at 16; allowed there: the end of the rule"),
        ("abs(pressure, 2) > 1", "abs of 2; allowed: abs of one, min and max of several"),
        ("min(pressure) > 1", "min of 1"),
        ("sqrt(pressure) > 1", r"'\(' at 5; allowed there: the end of the rule"),
        ("__import__('os').system('true') > 1", '"\'" at 12'),
        ("pressure.__class__ > 1", "'pressure.__class__' is no feature"),
        ("pressure ** 9 ** 9 > 1", r"'\*' at 11; allowed there"),
        ("lambda: pressure > 1", "'lambda' is a number"),
        ("`pressure > 1", "'`' at 1"),
        ("pressure[0][1] > 1", r"'\[' at 12"),
    ],
)
def test_refusals_say_where_and_what_is_allowed(rules: str, line: str) -> None:
    with pytest.raises(InvalidSettings, match=line) as caught:
        made(rules)
    assert "\n" not in str(caught.value)


@given(text=st.text(alphabet="ab()<>=!+-*/,:;?`\n .0123456789eandort[]", max_size=60))
def test_any_text_is_rules_or_refused(text: str) -> None:
    try:
        rules = parse(text)
    except InvalidSettings:
        return
    trees, count = parse_texts(rules.texts)
    assert (trees, count) == (rules.trees, len(rules.numbers))


def test_long_rules_need_no_deep_stack() -> None:
    rule = " and ".join(["a > " + " + ".join(["1"] * 50)] * 150)
    assert scores(rule, (51.0,), (49.0,), names=("a",)) == [1.0, 0.0]


def test_rows_that_rules_leave_undecided_are_no_golden_rows() -> None:
    artifact = made("temperature / temperature == 1")
    assert artifact.golden_inputs[:, 0].tolist() == [5.0]
    with pytest.raises(InvalidSettings, match="rules: no training row has a finite score"):
        made("(pressure - pressure) / 0 > 1")


def test_numbers_are_parameters_and_the_rest_is_structure() -> None:
    artifact = made("temperature > 80 and (`wind speed` < -1.5 or flow[-3] > 5); pressure>2: 3")
    assert artifact.manifest.words == {
        "rules": ("temperature > ? and (`wind speed` < -? or flow[-3] > ?)", "pressure>?"),
    }
    assert artifact.parameters["numbers"].tolist() == [80.0, 1.5, 5.0, 2.0]
    assert artifact.parameters["weights"].tolist() == [1.0, 3.0]
    assert filled(artifact.manifest.words["rules"], [80.0, 1.5, 5.0, 2.0])[0] == (
        "temperature > 80 and (`wind speed` < -1.5 or flow[-3] > 5)"
    )


def test_the_next_version_may_have_other_numbers() -> None:
    parent = made("temperature > 80; pressure > temperature: 2")
    child = revise(parent, {"numbers": np.array([50.0]), "weights": np.array([4.0, 8.0])}, lineage=LINEAGE)
    assert scorer(child).score(np.array([[60.0, 70.0, 0.0, 0.0, 0.0]])).tolist() == [12.0]


def test_rules_without_numbers_have_none() -> None:
    assert set(made("temperature > pressure").parameters) == {"weights"}


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        (("temperature > 80",), r"number '80'; allowed: \?"),
        (("temperature > ?", "pressure"), "is a number"),
        (("temperature > ?: ?",), "':' at 16"),
        (("nothing > ?",), "'nothing' is no feature"),
        ((), "0 rules"),
        ("temperature > ?", "the manifest holds no rules"),
    ],
)
def test_rules_in_an_artifact_are_checked_again(texts: Any, line: str) -> None:
    import msgspec

    from swapstream.models.manifest import Structure

    artifact = made("temperature > 80")
    manifest = msgspec.structs.replace(artifact.manifest, structure=Structure(words={"rules": texts}))
    with pytest.raises(InvalidArtifact, match=f"^demo:1: .*{line}"):
        scorer(msgspec.structs.replace(artifact, manifest=manifest))
