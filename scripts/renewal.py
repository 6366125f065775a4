"""Having shards look at a namespace's keys anew: the plan in force begins once more, by tokens of the next epoch.

A shard judges a token by what `parameters` held when the last token before it was written, or when its job was submitted. So somebody
who still has a revoked key could write tokens as of then; behind a token that is younger than the revocation they can't.
"""

from __future__ import annotations

from swapstream.operators.cut import Cut
from swapstream.operators.definitions import Definitions
from swapstream.operators.plan import Plan
from swapstream.operators.update import Update
from swapstream.scripts.controller import Controller
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.environment import Environment
from swapstream.scripts.publish import Author, read_definitions


def renew(environment: Environment, namespace: str, author: Author) -> list[Cut]:
    """Of each deployment in a namespace that reads this environment's telemetry. Raises Conflict, ClusterError."""
    definitions = read_definitions(environment)
    found = [once_more(environment, namespace, name, author) for name in deployments(environment, namespace, definitions)]
    return [cut for cut in found if cut is not None]


def deployments(environment: Environment, namespace: str, definitions: Definitions) -> list[str]:
    """Those that should be running here, and those that were swapped on this telemetry."""
    here = {one.name for one in Deployments(environment) if (one.namespace, one.desired) == (namespace, "running")}
    topic = environment.topics.telemetry.name
    return sorted(here | {cut.deployment for cut in definitions.newest_cuts(namespace) if cut.topic == topic})


def once_more(environment: Environment, namespace: str, deployment: str, author: Author) -> Cut | None:
    """The cut with which the plan in force begins again; None for a deployment whose plan is not known here."""
    with Controller(environment, namespace, deployment, author) as controller:
        now = controller.in_force
        if now is None:
            return None
        carried = controller.definitions.update(namespace, deployment)
        if carried and carried.where.epoch == now.epoch:
            update = Update.decode(carried.update)
            return controller.update(Plan.decode(update.plan), update.models).cut
        return controller.swap(now.plan).cut
