"""`swapstream push`: a model from the store onto `parameters`, or its next version with other numbers; at once, if wanted."""

from __future__ import annotations

from typing import Literal

import click
import msgspec

from swapstream.models.artifact import Artifact
from swapstream.models.errors import InvalidSettings
from swapstream.models.gate import check
from swapstream.models.lineage import file_source, lineage
from swapstream.models.store import Store
from swapstream.scripts.arrays import read_parameters, read_sample
from swapstream.scripts.change import Order, carry_out, change_options, measure
from swapstream.scripts.console import show
from swapstream.scripts.environment import load_environment
from swapstream.scripts.publish import Part, author_of, publish
from swapstream.scripts.refusal import on_the_ledger
from swapstream.scripts.submitted import the_deployment
from swapstream.scripts.swap import derived


class Revision(msgspec.Struct, frozen=True):
    """What a next version is made of: files, and how its threshold is found."""

    params: str
    threshold: float | None
    sample: str | None
    alarm_rate: float | None


@click.command("push")
@click.argument("ref")
@click.option("--params", type=click.Path(), help="Make the next version of REF with the numbers in this .npz file, and publish that.")
@click.option("--threshold", type=float, help="Its threshold.  [that of REF]")
@click.option("--sample", type=click.Path(), help="Or: calibrate it on these rows, a .npy file as `pack` takes it.")
@click.option("--alarm-rate", type=click.FloatRange(0, 1, max_open=True),
              help="Share of the sample that may lie above the threshold.  [that of REF]")
@click.option("--now", is_flag=True, help="Make it champion at once, inside the tokens: a few kB, not prepared, not published.")
@click.option("--at", type=click.Choice(["arrival"]), help="Publish it, and make it champion in each shard as soon as that hears of it.")
@click.option("--deployment", help="With --now and --at: of which deployment.  [default: the only one that runs]")
@click.option("--route", help="With --now and --at: of which route.  [those whose champion is another version, or the only one]")
@change_options
@click.pass_obj
def push_command(name: str, ref: str, params: str | None, threshold: float | None, sample: str | None, alarm_rate: float | None,
                 now: bool, at: Literal["arrival"] | None, deployment: str | None, route: str | None, namespace: str | None,
                 why: str, wait: bool, timeout: float, as_json: bool) -> None:  # fmt: skip
    """Publish model REF (name:version, or name for its newest) so that plans may refer to it.

    The gate checks it first. Pushing the same bytes again changes nothing; other bytes under the same name and version are
    refused. With --params the numbers must have REF's names, shapes and dtypes: `swapstream models params` writes REF's own.

    With --now or --at arrival the deployment's plan changes to one with this model as champion. --now takes effect behind the
    records that are there already, --at arrival ahead of them.
    """
    if (now and at) or ((deployment or route) and not (now or at)):
        raise InvalidSettings("--deployment and --route belong to --now or --at arrival, of which one can be given")
    if params is None and (threshold, sample, alarm_rate) != (None, None, None):
        raise InvalidSettings("--threshold, --sample and --alarm-rate belong to the next version that --params makes")
    environment = load_environment(name)
    store = Store(environment.store)
    artifact = store.get(ref)
    space = namespace or environment.job.namespace
    target = the_deployment(environment, deployment) if now or at else ""
    with on_the_ledger(environment, space, target):
        if params is not None:
            artifact = revised(store, artifact, Revision(params, threshold, sample, alarm_rate))
        check(artifact)
        speaker = author_of(environment, why)
        if now or at:
            plan, parts, epoch = derived(environment, space, target, artifact.ref, route)
            order = Order(environment, space, target, speaker, False, wait, timeout, at=at or "update", based_on=epoch)
            measure(order, plan, parts)
    if now or at:
        carry_out(order, plan, parts, as_json)
        return
    definitions = publish(environment, space, [Part("model", artifact.ref, artifact.encode())], speaker)
    row = {"namespace": space, "model": artifact.ref, "digest": artifact.digest, "parameters": definitions.position}
    show([row], ["namespace", "model", "digest"], as_json)


def revised(store: Store, parent: Artifact, given: Revision) -> Artifact:
    """The next version of a model with the numbers of a file, put into the store."""
    from swapstream.models.revision import revise

    parameters = read_parameters(given.params)
    sources = [msgspec.structs.replace(file_source(given.params, len(parameters)), kind="parameters")]
    rows = None
    if given.sample is not None:
        rows = read_sample(given.sample)
        sources.append(file_source(given.sample, len(rows)))
    made = lineage(data=sources, parent=parent.ref, extractor=parent.manifest.lineage.extractor)
    artifact = revise(
        parent,
        parameters,
        version=store.next_version(parent.manifest.name),
        threshold=given.threshold,
        sample=rows,
        alarm_rate=given.alarm_rate,
        lineage=made,
    )
    store.put(artifact)
    return artifact
