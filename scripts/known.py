"""What a deployment runs and ran, as far as it is known: plans and their parts, from `parameters`, its newest update and the store."""

from __future__ import annotations

from contextlib import suppress

from swapstream.models.artifact import Artifact
from swapstream.models.errors import UnknownName
from swapstream.models.schema import Schema
from swapstream.models.store import Store
from swapstream.operators.definitions import Definitions
from swapstream.operators.plan import Pin, Plan
from swapstream.operators.statement import digest_of
from swapstream.operators.update import Update
from swapstream.scripts.code import look_into
from swapstream.scripts.derive import with_champion
from swapstream.scripts.environment import Environment
from swapstream.scripts.history import Step, before, history, in_force
from swapstream.scripts.publish import Part, read_definitions
from swapstream.scripts.submitted import submitted_plan


class Known:
    """A deployment as of some definitions. `submitted` is the plan of epoch 0, where it is known."""

    def __init__(self, definitions: Definitions, namespace: str, deployment: str, submitted: str | None, store: Store) -> None:
        self.definitions, self.namespace, self.deployment, self.store = definitions, namespace, deployment, store
        self.history = history(definitions, namespace, deployment, submitted)
        newest = definitions.update(namespace, deployment)
        carried = Update.decode(newest.update) if newest else Update(b"", [])
        self._plans = {digest_of(carried.plan): carried.plan}
        self._models = {digest_of(body): body for body in carried.models}

    @property
    def in_force(self) -> Step:
        """Raises UnknownName."""
        step = in_force(self.history)
        if step is None:
            raise UnknownName(f"no plan of {self.namespace}/{self.deployment} is known: it was never swapped, nor submitted from here")
        return step

    @property
    def before(self) -> Step:
        """What a rollback goes back to. Raises UnknownName."""
        held = [step for step in self.history if self.definitions.aborted(self.namespace, self.deployment, step.epoch)]
        now, step = self.in_force, before([step for step in self.history if step not in held])
        if step is None:
            raise UnknownName(
                f"no plan of {self.namespace}/{self.deployment} before epoch {now.epoch} is known; name one with `swap --plan`"
            )
        return step

    def plan(self, digest: str) -> Plan:
        """Raises UnknownName."""
        if digest in self._plans:
            return Plan.decode(self._plans[digest])
        return Plan.decode(self.definitions.require(self.namespace, "plan", digest))

    def schemas(self, plan: Plan) -> list[Schema]:
        """Raises UnknownName."""
        return [Schema.decode(self.definitions.require(self.namespace, "schema", pin.digest)) for pin in plan.schemas]

    def model(self, ref: str) -> Artifact:
        """A model by name:version, or by name in its newest: the store's, else what is published. Raises UnknownName."""
        try:
            return self.store.get(ref)
        except UnknownName:
            said = self.definitions.find(self.namespace, "model", ref)
            if said is None or not said.body:
                raise
            return Artifact.decode(said.body)

    def pinned(self, pin: Pin) -> Artifact:
        """Raises UnknownName."""
        return Artifact.decode(self._artifact(pin))

    def _artifact(self, pin: Pin) -> bytes:
        body = self._models.get(pin.digest) or self.definitions.body(self.namespace, "model", pin.digest)
        if body is None:
            with suppress(UnknownName):
                return self.store.read(pin.digest)
            raise UnknownName(f"model {pin} is neither published with its bytes nor in the store")
        return body

    def with_champion(self, artifact: Artifact, route: str | None = None) -> Plan:
        """The plan in force with another champion. Raises UnknownName, InvalidPlan, Rejected."""
        plan = self.plan(self.in_force.plan)
        return with_champion(plan, artifact, self.schemas(plan), route)

    def undefined(self, plan: Plan, *more: Artifact) -> list[Artifact]:
        """The plan's models that are not published, `more` being at hand beside those that are known. Raises UnknownName."""
        here = {artifact.digest: artifact for artifact in more}
        absent = [pin for pin in sorted(plan.models(), key=str)
                  if self.definitions.statement(self.namespace, "model", pin.digest) is None]
        return [here.get(pin.digest) or self.pinned(pin) for pin in absent]

    def parts(self, plan: Plan, *more: Artifact) -> list[Part]:
        """What must be defined for a plan that is made of parts that are known. Raises UnknownName."""
        models = [Part("model", artifact.ref, artifact.encode()) for artifact in self.undefined(plan, *more)]
        return [*models, Part("plan", plan.name, plan.encode())]


def known_of(environment: Environment, namespace: str, deployment: str) -> Known:
    """What a deployment runs and ran, as of now. Raises ClusterError."""
    look_into(environment)
    submitted = submitted_plan(environment, namespace, deployment)
    return Known(read_definitions(environment), namespace, deployment, submitted, Store(environment.store))
