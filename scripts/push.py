"""`swapstream push`: a model from the store onto `parameters`."""

from __future__ import annotations

import click

from swapstream.models.gate import check
from swapstream.models.lineage import author
from swapstream.models.store import Store
from swapstream.scripts.console import json_option, show
from swapstream.scripts.environment import load_environment
from swapstream.scripts.publish import Author, Part, publish


@click.command("push")
@click.argument("ref")
@click.option("--namespace", help="Into which namespace [default: the environment's].")
@click.option("--why", default="", help="The reason, for the record.")
@json_option
@click.pass_obj
def push_command(name: str, ref: str, namespace: str | None, why: str, as_json: bool) -> None:
    """Publish model REF (name:version, or name for its newest) so that plans may refer to it.

    The gate checks it first. Pushing the same bytes again changes nothing; other bytes under the same name and version are refused.
    """
    environment = load_environment(name)
    artifact = Store(environment.store).get(ref)
    check(artifact)
    space = namespace or environment.job.namespace
    definitions = publish(environment, space, [Part("model", artifact.ref, artifact.encode())], Author(author(), why))
    row = {"namespace": space, "model": artifact.ref, "digest": artifact.digest, "parameters": definitions.position}
    show([row], ["namespace", "model", "digest"], as_json)
