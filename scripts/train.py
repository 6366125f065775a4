"""`swapstream train`: a model fitted to telemetry, once, or again and again as a challenger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec

from swapstream.models.artifact import Artifact
from swapstream.models.durations import milliseconds
from swapstream.models.errors import InvalidSettings
from swapstream.models.kinds import kind_of
from swapstream.models.store import Store
from swapstream.scripts.console import say, show
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.files import Columns, file_options, read_telemetry
from swapstream.scripts.making import Recipe, make, told
from swapstream.scripts.models import COLUMNS, row_of
from swapstream.scripts.new_model import graph_options, keep, new_model_options, next_version
from swapstream.scripts.own_fit import load_fit
from swapstream.scripts.spans import place_of
from swapstream.scripts.training import Input, input_of, rows_of
from swapstream.scripts.training_data import Learnable, of_export, of_topic

Setting = int | float | str


class Data(msgspec.Struct, frozen=True):
    """Where the rows come from: a file or an export, or a span of a topic: from here to there, or the `last` so many ms."""

    path: str | None
    columns: Columns
    topic: str | None = None
    start: str | None = None
    end: str | None = None
    last: int | None = None

    def check(self) -> None:
        """Raises InvalidSettings."""
        span = (self.start, self.end, self.last)
        if (self.path is None) == (self.topic is None):
            raise InvalidSettings("train takes a file, an export's directory, or --topic")
        if self.topic is None and span != (None, None, None):
            raise InvalidSettings("--from, --to and --last belong to --topic")
        if self.last is not None and (self.start or self.end):
            raise InvalidSettings("--last says from when on; leave out --from and --to")


class Again(msgspec.Struct, frozen=True):
    """When to train again, and for which deployment. `every`: ms."""

    every: int | None
    on_drift: bool
    limit: float
    deployment: str | None
    route: str | None
    namespace: str | None


def _data_options(command: Callable[..., None]) -> Callable[..., None]:
    @click.option("--topic", help="Learn from a span of this topic of telemetry instead of a file.")
    @click.option("--from", "start", help="With --topic: the first record, an offset in each partition or a time (UTC).  [what is left]")
    @click.option("--to", "end", help="With --topic: the last record, likewise.  [the last that is there]")
    @click.option("--last", metavar="DURATION", help="With --topic: the records of the last so long, as in 24h.")
    @wraps(command)
    def with_data(*args: Any, columns: Columns, arguments: Sequence[str], fit: str | None, topic: str | None, start: str | None,
                  end: str | None, last: str | None, **rest: Any) -> None:  # fmt: skip
        kind, path = named(arguments, fit)
        data = Data(path, columns, topic, start, end, _duration("--last", last))
        data.check()
        command(*args, kind=kind, fit=fit, data=data, **rest)

    return with_data


def _again_options(command: Callable[..., None]) -> Callable[..., None]:
    @click.option("--every", metavar="DURATION", help="Keep going: train again so often, as in 6h, and make each a challenger.")
    @click.option("--on-drift", is_flag=True, help="Keep going: train again when scores no longer lie as they did in training.")
    @click.option("--drift-limit", type=click.FloatRange(0, min_open=True), default=0.25, show_default=True,
                  help="Population stability index above which they don't.")
    @click.option("--deployment", help="With --every and --on-drift: of which deployment; with --topic and no --plan: whose extractor.")
    @click.option("--route", help="Challenger of which route.  [those with another version of the model, or the only one]")
    @click.option("--namespace", help="Of which namespace.  [default: the environment's]")
    @wraps(command)
    def with_again(*args: Any, every: str | None, on_drift: bool, drift_limit: float, deployment: str | None, route: str | None,
                   namespace: str | None, **rest: Any) -> None:  # fmt: skip
        again = Again(_duration("--every", every), on_drift, drift_limit, deployment, route, namespace)
        command(*args, again=again, **rest)

    return with_again


@click.command("train")
@click.argument("arguments", nargs=-1, metavar="[KIND] [DATA]")
@click.option("--name", required=True, help="Name of the model.")
@click.option("--fit", metavar="MODULE:FUNCTION", help="Instead of a KIND a function of your own: fit(frame) -> estimator or ONNX graph.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Setting of the kind, as in components=3.")
@click.option("--hold-out", type=click.FloatRange(0, 1, max_open=True), default=0.2, show_default=True,
              help="Share of the rows, the last by event time, on which it is measured, fitted to those before; then it is fitted to all.")
@file_options
@_data_options
@_again_options
@graph_options
@new_model_options
@click.pass_obj
def train_command(environment: str, name: str, kind: str, fit: str | None, data: Data, options: Sequence[str], hold_out: float,
                  again: Again, score: str | None, output: str | None, column: int | None, version: int | None, plan: str | None,
                  schema: str | None, extractors: Sequence[str], code: Sequence[str], alarm_rate: float | None,
                  threshold: float | None, seed: int, as_json: bool) -> None:
    """Fit a model of KIND to telemetry and put it into the store. DATA is a CSV or Parquet file, or a directory that `export` wrote.

    `swapstream models kinds` shows the kinds and their settings. The features are those that the plan's, or the given,
    extractor yields; of an export they are there already. Readings that are still warming are left out, and, unless the kind learns from
    them, those that are labelled as anomalies. The threshold is the smallest that at most --alarm-rate of the other rows exceed.

    With --fit the model is what your function makes of a pandas data frame: a row a reading, with the columns device, time, label
    and the features, whose names are in frame.attrs["features"].

    With --every or --on-drift it goes on until it is interrupted, and pushes each model as a challenger, never as a champion.
    """
    settings = load_environment(environment)
    recipe = Recipe(name, kind, dict(map(_setting, options)), load_fit(fit) if fit else None, score, output, column, threshold,
                    alarm_rate, hold_out, seed)
    if kind:
        kind_of(kind)
    if fit is None and (score, output, column) != (None, None, None):
        raise InvalidSettings("--score, --output and --column belong to --fit")
    given = input_of(plan, schema, extractors, code)
    store = Store(settings.store)
    if again.every is not None or again.on_drift:
        _keep_going(settings, store, recipe, given, data, again, version, as_json)
        return
    number, parent = next_version(store, name, version)
    artifact = make(recipe, learn(settings, data, given, schema, again), number, parent)
    _show(keep(store, artifact, version is not None), as_json)


def named(arguments: Sequence[str], fit: str | None) -> tuple[str, str | None]:
    """The kind, "" with --fit, and the data, None with --topic. Raises InvalidSettings."""
    kind, rest = ("", list(arguments)) if fit else (arguments[0] if arguments else "", list(arguments[1:]))
    if not fit and not kind:
        raise InvalidSettings("train takes a KIND, or --fit; `swapstream models kinds` shows the kinds")
    if len(rest) > 1:
        raise InvalidSettings(f"train takes one file or directory, not also {rest[1]!r}")
    return kind, rest[0] if rest else None


def learn(environment: Environment, data: Data, given: Input | None, schema: str | None, again: Again) -> Learnable:
    """The rows that are asked for. Raises SwapstreamError."""
    if data.topic is not None:
        start = place_of(data.start) if data.last is None else datetime.now(UTC) - timedelta(milliseconds=data.last)
        return of_topic(environment, data.topic, start, place_of(data.end), given or _in_force(environment, again, schema),
                        data.last is None)
    path = Path(data.path or "")
    if path.is_dir():
        return of_export(path, given)
    if given is None:
        raise InvalidSettings("train needs the fields of the telemetry: give --schema or --plan")
    rows = rows_of(read_telemetry(path, given.schema.names, data.columns), given.extractor)
    return Learnable(rows, given.extractor.features, given.extractor.shape, given.extractor.ref)


def _in_force(environment: Environment, again: Again, schema: str | None) -> Input:
    """What stands before the models of a deployment's plan in force."""
    from swapstream.scripts.deployed_input import input_in_force

    return input_in_force(environment, again.namespace, again.deployment, schema).given


def _keep_going(environment: Environment, store: Store, recipe: Recipe, given: Input | None, data: Data, again: Again,
                version: int | None, as_json: bool) -> None:  # fmt: skip
    from swapstream.scripts.again import Round, keep_going  # Kafka and Flink come with it

    if data.topic is None or version is not None:
        raise InvalidSettings("--every and --on-drift go with --topic, perhaps with --last, and without --version")

    def made() -> Artifact:
        number, parent = next_version(store, recipe.name, None)
        artifact = keep(store, make(recipe, learn(environment, data, given, None, again), number, parent), False)
        _show(artifact, as_json)
        return artifact

    keep_going(Round(environment, recipe.name, again.deployment, again.namespace, again.route, again.limit), made, again.every,
               again.on_drift)


def _show(artifact: Artifact, as_json: bool) -> None:
    show([row_of(artifact, as_json)], COLUMNS, as_json)
    metrics = artifact.manifest.lineage.metrics
    if metrics and not as_json:
        say(told(metrics))


def _duration(option: str, text: str | None) -> int | None:
    """In ms. Raises InvalidSettings."""
    if text is None:
        return None
    try:
        found = milliseconds(text)
    except ValueError as error:
        raise InvalidSettings(f"{option}: {error}") from error
    if found < 1_000:
        raise InvalidSettings(f"{option} is {text}; allowed is a second or more")
    return found


def _setting(text: str) -> tuple[str, Setting]:
    """key=value, the value as an integer or a number where it reads like one."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise InvalidSettings(f"option {text!r}: allowed is key=value")
    for convert in (int, float):
        try:
            return key, convert(value)
        except ValueError:
            continue
    return key, value

