"""What stands before the models of a deployment, by its plan in force."""

from __future__ import annotations

import msgspec

from swapstream.operators.plan import Plan
from swapstream.scripts.environment import Environment
from swapstream.scripts.known import Known, known_of
from swapstream.scripts.submitted import the_deployment
from swapstream.scripts.training import Input, chosen, inputs_of


class Deployed(msgspec.Struct, frozen=True):
    """A deployment's plan in force, and one of its inputs."""

    namespace: str
    deployment: str
    known: Known
    plan: Plan
    given: Input


def input_in_force(environment: Environment, namespace: str | None, deployment: str | None, schema: str | None) -> Deployed:
    """`deployment`: None is the only one that runs here; `schema`: None is the plan's only one. Raises UnknownName, InvalidSettings."""
    space, name = namespace or environment.job.namespace, the_deployment(environment, deployment)
    known = known_of(environment, space, name)
    plan = known.plan(known.in_force.plan)
    return Deployed(space, name, known, plan, chosen(inputs_of(plan, known.schemas(plan)), schema))
