"""The pipelines of a worker: one for each plan in use, loaded off the hot path and shared by its shards."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor

from swapstream.models.artifact import Artifact
from swapstream.models.errors import InvalidArtifact, InvalidPlan, UnknownName
from swapstream.models.schema import Schema
from swapstream.operators.definitions import Definitions
from swapstream.operators.pipeline import Pipeline
from swapstream.operators.plan import Pin, Plan
from swapstream.operators.statement import Kind

KEPT = 8


class DefinitionsLookup:
    """Parts of plans, from what is defined in one namespace."""

    def __init__(self, definitions: Definitions, namespace: str) -> None:
        self._definitions, self._namespace = definitions, namespace

    def schema(self, pin: Pin) -> Schema:
        return Schema.decode(self._definitions.require(self._namespace, "schema", pin.digest))

    def model(self, pin: Pin) -> Artifact:
        artifact = Artifact.decode(self._definitions.require(self._namespace, "model", pin.digest))
        if artifact.ref != pin.name:
            raise InvalidArtifact(f"model {pin} is defined under this name, and calls itself {artifact.ref}")
        return artifact


def missing(definitions: Definitions, namespace: str, digest: str, before: int | None = None) -> str | None:
    """What a plan needs and is not defined (below an offset of `parameters`), None when all of it is there."""
    where = "" if before is None else f" below offset {before} of parameters"
    body = definitions.body(namespace, "plan", digest, before)
    if body is None:
        return f"plan {digest[:12]}… is not defined{where}"
    try:
        plan = Plan.decode(body)
    except InvalidPlan as error:
        return str(error)
    parts: list[tuple[Kind, Pin]] = [("schema", pin) for pin in plan.schemas]
    parts += [("model", pin) for pin in sorted(plan.models(), key=str)]
    for kind, pin in parts:
        if definitions.body(namespace, kind, pin.digest, before) is None:
            return f"plan {plan.name!r}: {kind} {pin} is not defined{where}"
    return None


class Pipelines:
    """Loads pipelines by plan digest and keeps the ones used last. `prepare` works on a thread, so that a cut is a look-up."""

    def __init__(self, definitions: Definitions, namespace: str) -> None:
        self._definitions, self._namespace = definitions, namespace
        self._lookup = DefinitionsLookup(definitions, namespace)
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._loaded: OrderedDict[str, Future[Pipeline]] = OrderedDict()

    def prepare(self, digest: str) -> None:
        """Begin to load a plan's pipeline, once all of its parts are defined."""
        if digest not in self._loaded and missing(self._definitions, self._namespace, digest) is None:
            self._begin(digest)

    def get(self, digest: str) -> Pipeline:
        """The pipeline of a plan, loaded now if nobody asked before. Raises UnknownName."""
        absent = missing(self._definitions, self._namespace, digest)
        if absent:
            raise UnknownName(absent)
        if digest not in self._loaded:
            self._begin(digest)
        self._loaded.move_to_end(digest)
        return self._loaded[digest].result()

    def _begin(self, digest: str) -> None:
        plan = Plan.decode(self._definitions.require(self._namespace, "plan", digest))
        self._loaded[digest] = self._loading.submit(Pipeline, plan, self._lookup)
        if len(self._loaded) > KEPT:
            self._loaded.popitem(last=False)
