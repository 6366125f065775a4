"""The gate: what a model must show before it may score a record (DESIGN, C3), on every shard and in `swapstream check`.

All checks run in order, since each may rely on those before it, and stop at the first refusal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from swapstream.models import checks
from swapstream.models.artifact import MAX_BYTES, Artifact
from swapstream.models.blocks import BLOCK
from swapstream.models.checks import BUDGET
from swapstream.models.errors import InvalidArtifact, Rejected
from swapstream.models.finding import Check, Finding, found, refusal, refuse
from swapstream.models.graph import RULES, load
from swapstream.models.kinds import KINDS, Scorer, kind_of, scorer
from swapstream.models.pacing import rest
from swapstream.models.signature import signature

FORMAT = Check("format", "what swapstream wrote, never a pickle", str)


def check(artifact: Artifact, features: Sequence[str] | None = None, budget: float = BUDGET) -> Scorer:
    """The loaded, checked and warmed scorer. `features`: what the plan's extractor yields, in order; None: don't check.

    `budget`: seconds for a block of 64 rows; infinite: don't check. Raises Rejected, whose line is
    `<name:version>: <check>: <value found>; <what is allowed>`.
    """
    subject = Subject(artifact, features, budget)
    refuse(artifact.ref, subject.findings())
    return subject.scorer


def unpack(data: bytes, ref: str, digest: str) -> Artifact:
    """The artifact of bytes from elsewhere, which a plan calls `ref` and pins to `digest`. Raises Rejected."""
    try:
        if (actual := hashlib.sha256(data).hexdigest()) != digest:
            raise InvalidArtifact(f"{len(data)} bytes with sha256 {actual}; the plan says {digest}", "digest")
        artifact = Artifact.decode(data)
        if artifact.ref != ref:
            raise InvalidArtifact(f"the artifact calls itself {artifact.ref}; the plan says {ref}", "name")
        rest()
    except InvalidArtifact as error:
        raise Rejected(f"{ref}: {refusal(ref, FORMAT, error)}") from error
    return artifact


def check_budget(artifact: Artifact, loaded: Scorer, budget: float = BUDGET) -> None:
    """The one check that depends on how busy a machine is, alone: for a scorer that was let in before. Raises Rejected."""
    one = Check("budget", f"{budget} s", partial(checks.budget, artifact, loaded, budget))
    refuse(artifact.ref, [found(artifact.ref, one)])


class Subject:
    """A model on its way through the gate. What one check makes of it is there for those after it."""

    def __init__(self, artifact: Artifact, features: Sequence[str] | None = None, budget: float = BUDGET) -> None:
        self.artifact, self.features, self.budget = artifact, features, budget

    @cached_property
    def model(self) -> Any:
        """The onnx.ModelProto, unchecked."""
        assert self.artifact.graph is not None
        return load(self.artifact.graph)

    @cached_property
    def scorer(self) -> Scorer:
        """Loaded when a check first asks for it."""
        return scorer(self.artifact)

    def findings(self) -> Iterator[Finding]:
        """Every check's, in order; one that is not ok is the last."""
        for one in self.checks():
            finding = found(self.artifact.ref, one)
            rest()
            yield finding
            if not finding.ok:
                return

    def checks(self) -> Iterator[Check]:
        """Nothing is loaded before all that can be seen without that is in order; slow ones come behind the budget."""
        said = self.artifact.manifest
        yield self._check("size", f"{MAX_BYTES} bytes", checks.size)
        yield self._check("digest", "the manifest's", checks.digest)
        if self.features is not None:
            yield Check("features", "the extractor's, in order", partial(checks.features, self.artifact, self.features))
        yield Check("kind", ", ".join(KINDS), lambda: kind_of(said.kind).NAME)
        yield from self._parameters() if self.artifact.graph is None else self._graph()
        if np.isfinite(self.budget):
            limit = f"{self.budget} s for {BLOCK} rows"
            yield Check("budget", limit, lambda: checks.budget(self.artifact, self.scorer, self.budget))
        yield Check("golden", f"the trainer's scores within {said.tolerance}", lambda: checks.golden(self.artifact, self.scorer))
        yield Check("bitwise", "equal bits, where promised", lambda: checks.bitwise(self.artifact, self.scorer))

    def _parameters(self) -> Iterator[Check]:
        yield self._check("finite", "finite numbers", checks.parameters)
        yield Check("load", "the kind's parameters", self._load)

    def _graph(self) -> Iterator[Check]:
        yield Check("graph", "an ONNX model", lambda: f"{len(self.model.graph.node)} operators")
        for rule in RULES:
            yield Check(rule.name, rule.limit, partial(rule.find, self.model))
        yield Check("signature", "all features in, a score or a reconstruction out", self._signature)
        yield Check("load", "loads and answers", self._load)

    def _check(self, name: str, limit: str, find: Any) -> Check:
        return Check(name, limit, partial(find, self.artifact))

    def _signature(self) -> str:
        said = self.artifact.manifest
        its = signature(self.model, len(said.features), said.output, BLOCK, said.shape)
        return f"{its.input} {its.dtype}{list(its.shape)} to {its.output}"

    def _load(self) -> str:
        return type(self.scorer).__name__
