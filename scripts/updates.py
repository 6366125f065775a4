"""Small updates inside tokens: new numbers for a model, as often as ten times a second, with nothing published.

    with Updater(load_environment(), "pumps") as updater:
        while training:
            updater.push({"mean": mean, "deviation": deviation})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from numpy.typing import ArrayLike, NDArray

from swapstream.models.artifact import Artifact
from swapstream.models.errors import UnknownName
from swapstream.models.revision import revise
from swapstream.models.store import Store
from swapstream.operators.plan import Pin, Plan
from swapstream.scripts.controller import Controller, Swapped
from swapstream.scripts.derive import model_name, with_champion
from swapstream.scripts.environment import Environment
from swapstream.scripts.known import Known
from swapstream.scripts.publish import Author, author_of
from swapstream.scripts.submitted import submitted_plan


class Updater:
    """New numbers for a champion of a deployment. A context manager: meanwhile it is the deployment's controller.

    - model: its name without a version [the plan's only champion]. Every route whose champion it is gets the new one.
    - When another controller begins, a person's rollback for instance, the next `push` raises Conflict.
    - Models and plans travel in the tokens and are kept nowhere else but in the shards' state: what is to stay is pushed into
      the store and swapped to.
    """

    def __init__(self, environment: Environment, deployment: str, model: str | None = None, *,
                 namespace: str | None = None, speaker: Author | None = None) -> None:  # fmt: skip
        self._environment, self._model = environment, model
        self._controller = Controller(
            environment, namespace or environment.job.namespace, deployment, speaker or author_of(environment, "update")
        )

    def __enter__(self) -> Self:
        self._controller.__enter__()
        try:
            self._begin(self._controller)
        except BaseException:
            self._controller.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.__exit__()

    def _begin(self, controller: Controller) -> None:
        space, deployment = controller.namespace, controller.deployment
        submitted = submitted_plan(self._environment, space, deployment)
        store = Store(self._environment.store)
        self._known = Known(controller.definitions, space, deployment, submitted, store)
        self.plan = self._known.plan(self._known.in_force.plan)
        self._schemas = self._known.schemas(self.plan)
        self.artifact = self._known.pinned(champion(self.plan, self._model))
        self._newest = max(self.artifact.manifest.version, store.next_version(self.artifact.manifest.name) - 1)
        self._carried: list[Artifact] = []

    def push(
        self,
        parameters: Mapping[str, NDArray[Any]],
        *,
        threshold: float | None = None,
        sample: ArrayLike | None = None,
        alarm_rate: float | None = None,
    ) -> Swapped:
        """Begin the next version with these numbers (see `models.revision.revise`), at one offset in each partition.

        Returns when it is committed. Raises Rejected, InvalidArtifact, InvalidSettings for numbers that are no good, with nothing
        written; InvalidDefinition when they don't fit into a token; Conflict, ClusterError.
        """
        artifact = revise(self.artifact, parameters, version=self._newest + 1, threshold=threshold, sample=sample, alarm_rate=alarm_rate)
        plan = with_champion(self.plan, artifact, self._schemas)
        models = self._known.undefined(plan, artifact, *self._carried)
        done = self._controller.update(plan, [model.encode() for model in models])
        self.plan, self.artifact, self._carried, self._newest = plan, artifact, models, self._newest + 1
        return done


def champion(plan: Plan, model: str | None) -> Pin:
    """The champion with a name, or the only one. Raises UnknownName."""
    pins = {route.champion for route in plan.routes if route.champion}
    found = [pin for pin in pins if model in (None, model_name(pin))]
    if len(found) != 1:
        known = ", ".join(sorted(map(str, pins))) or "none"
        raise UnknownName(f"which champion of plan {plan.name!r} is meant by {model or 'none'!r}? Its champions: {known}")
    return found[0]
