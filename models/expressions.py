"""Boolean expressions over features, as in `temperature > 80 and (pressure < 1 or flow.rate > 5)`: text to a tree.

    rules      = rule, {(";" | newline), rule}
    rule       = either, [":", weight]
    either     = both, {"or", both}
    both       = negation, {"and", negation}
    negation   = "not", negation | comparison
    comparison = sum, {("<" | "<=" | ">" | ">=" | "==" | "!="), sum}
    sum        = product, {("+" | "-"), product}
    product    = factor, {("*" | "/"), factor}
    factor     = "-", factor | number | feature | ("abs" | "min" | "max"), "(", sum, {",", sum}, ")" | "(", either, ")"

A feature is named as its extractor names it (`flow`, `flow.rate`, `flow[-3]`), any other name between `backquotes`. Nothing
is evaluated here, and nothing of it is ever Python: see models/kinds/rules.py for what a tree means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec

from swapstream.models.errors import InvalidSettings
from swapstream.models.expression_tokens import COMPARISONS, FUNCTIONS, PLACE, Token, lines, template, tokens
from swapstream.models.expression_tree import Call, Chain, Feature, Logic, Node, Number, is_truth

MAX_TEXT = 2**15
MAX_RULES = 64
MAX_DEPTH = 24

_Method = Callable[[], Node]


class Rules(msgspec.Struct, frozen=True):
    """Rules as trees, with the numbers in them in the order of reading, and a weight each.

    `texts` are the rules with `?` for each number: their structure, whatever the numbers are.
    """

    trees: tuple[Node, ...]
    numbers: tuple[float, ...]
    weights: tuple[float, ...]
    texts: tuple[str, ...]


def parse(text: str) -> Rules:
    """The rules of a text. Raises InvalidSettings, saying where and what is allowed."""
    if len(text) > MAX_TEXT:
        raise InvalidSettings(f"rules of {len(text)} characters; allowed: {MAX_TEXT}")
    written = lines(tokens(text))
    if not 1 <= len(written) <= MAX_RULES:
        raise InvalidSettings(f"{len(written)} rules; allowed: 1 to {MAX_RULES}")
    numbers: list[float] = []
    trees, weights, texts = [], [], []
    for line in written:
        parser = _Parser(line, numbers)
        trees.append(parser.rule())
        texts.append(template(line[: parser.end]))
        weights.append(parser.weight())
    return Rules(tuple(trees), tuple(numbers), tuple(weights), tuple(texts))


def parse_texts(texts: Sequence[str]) -> tuple[tuple[Node, ...], int]:
    """The trees of `Rules.texts`, and how many numbers they hold. Raises InvalidSettings."""
    if not 1 <= len(texts) <= MAX_RULES or sum(map(len, texts)) > MAX_TEXT:
        raise InvalidSettings(f"{len(texts)} rules; allowed: 1 to {MAX_RULES}, {MAX_TEXT} characters in all")
    numbers: list[float] = []
    trees = []
    for text in texts:
        parser = _Parser(tokens(text), numbers, template=True)
        trees.append(parser.rule())
        parser.finish()
    return tuple(trees), len(numbers)


class _Parser:
    """Recursive descent over one rule's tokens. Depth counts brackets, `not` and `-`: loops don't nest."""

    def __init__(self, tokens: list[Token], numbers: list[float], template: bool = False) -> None:
        self.end = 0
        self._tokens, self._numbers, self._template = tokens, numbers, template
        self._depth = 0

    def rule(self) -> Node:
        node = self._either()
        if self.end < len(self._tokens) and self._tokens[self.end].text != ":":
            raise self._unexpected("the end of the rule")
        return self._truth(node)

    def weight(self) -> float:
        """What follows a colon, 1 without one; then nothing more."""
        sign, found = 1.0, 1.0
        if self._take(":"):
            sign = -1.0 if self._take("-") else 1.0
            found = self._number(self._next())
        self.finish()
        return sign * found

    def finish(self) -> None:
        if self.end < len(self._tokens):
            raise self._unexpected("the end of the rule")

    def _either(self) -> Node:
        return self._logic("or", self._both)

    def _both(self) -> Node:
        return self._logic("and", self._negation)

    def _logic(self, word: str, inner: _Method) -> Node:
        nodes = [inner()]
        while self._take(word):
            nodes.append(inner())
        return nodes[0] if len(nodes) == 1 else Logic(word, tuple(map(self._truth, nodes)))

    def _negation(self) -> Node:
        if not self._take("not"):
            return self._comparison()
        return self._deeper(lambda: Logic("not", (self._truth(self._negation()),)))

    def _comparison(self) -> Node:
        return self._chain(COMPARISONS, self._sum, truth=True)

    def _sum(self) -> Node:
        return self._chain(("+", "-"), self._product)

    def _product(self) -> Node:
        return self._chain(("*", "/"), self._factor)

    def _chain(self, signs: tuple[str, ...], inner: _Method, truth: bool = False) -> Node:
        first, rest = inner(), []
        while sign := self._take(*signs):
            rest.append((sign, self._value(inner())))
        return Chain(self._value(first), tuple(rest), truth) if rest else first

    def _factor(self) -> Node:
        token = self._next()
        if token.text == "-":
            return self._deeper(lambda: Call("-", (self._value(self._factor()),)))
        if token.text == "(":
            node = self._deeper(self._either)
            self._expect(")")
            return node
        if token.text in FUNCTIONS:
            return self._call(token.text)
        if token.kind == "name":
            return Feature(token.text.strip("`"))
        if token.kind == "number" or (self._template and token.text == PLACE):
            self._numbers.append(self._number(token))
            return Number(len(self._numbers) - 1)
        self.end -= 1
        raise self._unexpected("a feature, a number or '('")

    def _call(self, function: str) -> Node:
        self._expect("(")
        arguments = [self._deeper(lambda: self._value(self._sum()))]
        while self._take(","):
            arguments.append(self._deeper(lambda: self._value(self._sum())))
        self._expect(")")
        if (function == "abs") != (len(arguments) == 1):
            raise InvalidSettings(f"rules: {function} of {len(arguments)}; allowed: abs of one, min and max of several")
        return Call(function, tuple(arguments))

    def _number(self, token: Token) -> float:
        if token.kind != "number":
            if self._template and token.text == PLACE:
                return math.nan
            self.end -= 1
            raise self._unexpected("a number")
        value = float(token.text)
        if self._template or not math.isfinite(value):
            raise InvalidSettings(f"rules: number {token.text!r:.40}; allowed: {'?' if self._template else 'finite numbers'}")
        return value

    def _truth(self, node: Node) -> Node:
        if not is_truth(node):
            raise InvalidSettings(f"rules: {self._so_far()} is a number; allowed here: something true or false, as in x > 1")
        return node

    def _value(self, node: Node) -> Node:
        if is_truth(node):
            raise InvalidSettings(f"rules: {self._so_far()} is true or false; allowed here: a number")
        return node

    def _deeper(self, inner: _Method) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InvalidSettings(f"rules: nested more than {MAX_DEPTH} deep")
        node = inner()
        self._depth -= 1
        return node

    def _next(self) -> Token:
        if self.end == len(self._tokens):
            raise self._unexpected("a feature, a number or '('")
        self.end += 1
        return self._tokens[self.end - 1]

    def _take(self, *texts: str) -> str:
        if self.end < len(self._tokens) and self._tokens[self.end].text in texts:
            return self._next().text
        return ""

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._unexpected(repr(text))

    def _unexpected(self, allowed: str) -> InvalidSettings:
        if self.end == len(self._tokens):
            return InvalidSettings(f"rules: the rule ends after {self._so_far()}; allowed there: {allowed}")
        token = self._tokens[self.end]
        return InvalidSettings(f"rules: {token.text!r:.40} at {token.place + 1}; allowed there: {allowed}")

    def _so_far(self) -> str:
        return repr(" ".join(token.text for token in self._tokens[: self.end])[-60:])
