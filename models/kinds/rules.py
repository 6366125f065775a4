"""Rules: what a person knows must not happen, as thresholds and boolean expressions over the features."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import msgspec
import numpy as np
from numpy.typing import NDArray

from swapstream.models.arrays import Float64
from swapstream.models.artifact import Artifact
from swapstream.models.errors import InvalidArtifact, InvalidSettings
from swapstream.models.expression_tree import Call, Chain, Feature, Logic, Node, Number
from swapstream.models.expressions import parse, parse_texts
from swapstream.models.kinds.base import Fitted, Kind, Training, no_graph, parameter
from swapstream.models.kinds.settings import check_settings

Truth = tuple[NDArray[np.bool_], NDArray[np.bool_]]
"""Whether something surely holds, and whether it surely doesn't; neither where it is unknown."""

ARITHMETIC = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}
COMPARE = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


class RuleSet(Kind):
    """score(x) = the sum of the weights of the rules that hold; anomalous above 0: where any rule (of weight > 0) holds.

    Rules are expressions as models/expressions.py reads them. A comparison with what is not a number (0/0, say) is unknown,
    neither true nor false; where a rule stays undecided by it, the row has no score. Source: Kleene, Introduction to
    Metamathematics (1952), section 64. The numbers in the rules are parameters: the next version may have others.
    """

    NAME = "rules"
    SETTINGS = {  # noqa: RUF012 (declared as ClassVar in Kind)
        "rules": "expressions over the features, ';' or a line between them, each with ': weight' behind it unless that is 1",
    }

    def fit(self, training: Training) -> Fitted:
        check_settings(self, training.settings)
        rules = parse(str(training.settings.get("rules", "")))
        _check_names(rules.trees, training.features)
        parameters = {"weights": np.array(rules.weights)}
        if rules.numbers:
            parameters["numbers"] = np.array(rules.numbers)
        return Fitted(parameters, {"rules": rules.texts}, threshold=0.0)

    def scorer(self, artifact: Artifact) -> RulesScorer:
        no_graph(artifact, "weights", "numbers")
        texts = artifact.manifest.words.get("rules")
        if not isinstance(texts, tuple):
            raise InvalidArtifact(f"{artifact.ref}: the manifest holds no rules")
        try:
            trees, count = parse_texts(texts)
            columns = _check_names(trees, artifact.manifest.features)
        except InvalidSettings as error:
            raise InvalidArtifact(f"{artifact.ref}: {error}") from error
        weights = parameter(artifact, "weights", (len(trees),))
        numbers = parameter(artifact, "numbers", (count,)) if count else np.empty(0)
        return RulesScorer(trees, weights.tolist(), numbers.tolist(), columns)


class RulesScorer(msgspec.Struct, frozen=True):
    """Elementwise throughout: no sum over rows or features, so no blocks either. `columns`: where each feature is."""

    trees: tuple[Node, ...]
    weights: list[float]
    numbers: list[float]
    columns: dict[str, int]

    def score(self, rows: Float64) -> Float64:
        scores, unknown = np.zeros(len(rows)), np.zeros(len(rows), bool)
        values = {name: np.ascontiguousarray(rows[:, column]) for name, column in self.columns.items()}
        with np.errstate(all="ignore"):
            for tree, weight in zip(self.trees, self.weights, strict=True):
                holds, fails = self._truth(tree, values)
                scores += np.where(holds, weight, 0.0)
                unknown |= ~(holds | fails)
        scores[unknown] = np.nan
        return scores

    def _truth(self, node: Node, values: dict[str, Float64]) -> Truth:
        if isinstance(node, Chain):
            return self._comparison(node, values)
        assert isinstance(node, Logic)
        parts = [self._truth(argument, values) for argument in node.arguments]
        if node.word == "not":
            return parts[0][1], parts[0][0]
        return reduce(_both if node.word == "and" else _either, parts)

    def _comparison(self, chain: Chain, values: dict[str, Float64]) -> Truth:
        left, found = self._value(chain.first, values), []
        for sign, node in chain.rest:
            right = self._value(node, values)
            known, holds = ~(np.isnan(left) | np.isnan(right)), COMPARE[sign](left, right)
            found.append((holds & known, ~holds & known))
            left = right
        return reduce(_both, found)

    def _value(self, node: Node, values: dict[str, Float64]) -> Float64:
        if isinstance(node, Number):
            return np.asarray(self.numbers[node.index])
        if isinstance(node, Feature):
            return values[node.name]
        if isinstance(node, Chain):
            start = self._value(node.first, values)
            return reduce(lambda sum, part: ARITHMETIC[part[0]](sum, self._value(part[1], values)), node.rest, start)
        assert isinstance(node, Call)
        arguments = [self._value(argument, values) for argument in node.arguments]
        if node.function in ("-", "abs"):
            return np.negative(arguments[0]) if node.function == "-" else np.abs(arguments[0])
        return reduce(np.minimum if node.function == "min" else np.maximum, arguments)


def _both(one: Truth, other: Truth) -> Truth:
    return one[0] & other[0], one[1] | other[1]


def _either(one: Truth, other: Truth) -> Truth:
    return one[0] | other[0], one[1] & other[1]


def _check_names(trees: tuple[Node, ...], features: tuple[str, ...]) -> dict[str, int]:
    """Where each feature that the rules name stands. Each rule must name one, else it would always say the same."""
    columns: dict[str, int] = {}
    for index, tree in enumerate(trees):
        names = list(_names(tree))
        if not names:
            raise InvalidSettings(f"rules: rule {index + 1} names no feature")
        for name in names:
            if name not in features:
                shown = ", ".join(features[:20]) + (", …" if len(features) > 20 else "")
                raise InvalidSettings(f"rules: {name!r} is no feature; allowed: {shown}")
            columns[name] = features.index(name)
    return columns


def _names(node: Node) -> Iterator[str]:
    if isinstance(node, Feature):
        yield node.name
    elif isinstance(node, Chain):
        for part in (node.first, *(inner for _, inner in node.rest)):
            yield from _names(part)
    elif not isinstance(node, Number):
        for argument in node.arguments:
            yield from _names(argument)


KIND = RuleSet()
