"""swap, rollback, push --now and abort from end to end, against shards that answer as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from swapstream.models import Artifact, Store
from swapstream.models.artifact import payload_digest
from swapstream.models.errors import ClusterError, Conflict, InvalidPlan, InvalidSettings, Rejected, UnknownName
from swapstream.operators.plan import Plan
from swapstream.operators.token import PREPARE
from swapstream.operators.update import Update
from swapstream.scripts import change
from swapstream.scripts.abort import abort_command
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.lag import Lag
from swapstream.scripts.models import models_command
from swapstream.scripts.publish import read_definitions
from swapstream.scripts.push import push_command
from swapstream.scripts.rollback import rollback_command
from swapstream.scripts.swap import swap_command
from swapstream.scripts.trusting import trust_first
from tests.support.shard_answers import Answering
from tests.support.shards import FIELDS, model
from tests.support.topics import Topics

FILES = {"first": "a:1", "second": "b:1", "third": "c:1"}


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topics: Topics) -> Environment:
    """Three plans of deployment d as files, whose job is taken to run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(change, "runs", lambda *_: True)
    monkeypatch.setattr(change, "lags", lambda *_: {})
    Path("env.yaml").write_text(f"directory: {tmp_path}/run\n")
    Path("pumps.yaml").write_text("{name: pumps, fields: [temperature, pressure]}")
    made = load_environment("env.yaml")
    for name, ref in FILES.items():
        Path(f"{name}.yaml").write_text(f"{{name: d, schema: pumps.yaml, champion: '{ref}'}}")
        Store(made.store).put(model(ref, FIELDS))
    trust_first(made)
    return made


@pytest.fixture
def shards(environment: Environment, topics: Topics) -> Answering:
    return Answering(topics, environment)


def run(command: click.Command, *arguments: str) -> list[dict[str, Any]]:
    found = CliRunner().invoke(command, [*arguments, "--json"], obj="env.yaml", catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return [json.loads(line) for line in found.stdout.splitlines()]


def swap_to(name: str, *more: str) -> list[dict[str, Any]]:
    return run(swap_command, "--plan", f"{name}.yaml", *more)


def written(topics: Topics) -> dict[str, int]:
    return {topic: len(log) for topic, log in topics.records.items()}


def champions(environment: Environment) -> list[str]:
    """Of each swap, in order."""
    definitions = read_definitions(environment)
    plans = [Plan.decode(definitions.require("prod", "plan", cut.plan)) for cut in definitions.cuts("prod", "d")]
    return [plan.routes[0].champion.name for plan in plans if plan.routes[0].champion]


# -- swap


def test_every_shard_is_prepared_and_then_cut(environment: Environment, shards: Answering) -> None:
    rows = swap_to("first")
    assert [token.kind for token in shards.tokens] == ["prepare", "prepare", "swap", "swap"]
    assert {token.epoch for token in shards.tokens} == {1}
    for partition, row in enumerate(rows):
        assert (row["partition"], row["prepared"], row["event"], row["cut_offset"]) == (partition, "yes", "activated", 1)
        assert (row["deployment"], row["plan"], row["epoch"], row["written"]) == ("prod/d", "d", 1, True)
        assert (row["prepare_ms"], row["pause_ms"], row["longest_pause_ms"]) == (2.5 + partition, 2.5 + partition, 3.5)
        assert row["seconds"] is not None
        assert row["transaction_s"] >= 0


def test_a_shard_that_refuses_leaves_everything_as_it_was(environment: Environment, topics: Topics) -> None:
    Answering(topics, environment)
    swap_to("first")
    shards = Answering(topics, environment, refuse={1: "b:1: golden: row 0 scores 2, not 1"})
    result = CliRunner().invoke(swap_command, ["--plan", "second.yaml", "--json"], obj="env.yaml")
    assert isinstance(result.exception, Rejected)
    assert str(result.exception) == "shards [1] refused plan 'd', nothing was changed: b:1: golden: row 0 scores 2, not 1"
    assert [json.loads(line)["prepared"] for line in result.stdout.splitlines()] == ["yes", "refused"]
    assert [token.kind for token in shards.tokens] == ["prepare", "prepare"]
    assert champions(environment) == ["a:1"]


def test_a_shard_that_is_not_prepared_in_time_leaves_everything_as_it_was(
    environment: Environment, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change, "lags", lambda *_: {1: Lag(500, 2.0)})
    shards = Answering(topics, environment, silent=(1,))
    result = CliRunner().invoke(swap_command, ["--plan", "first.yaml", "--json", "--timeout", "0.1"], obj="env.yaml")
    assert isinstance(result.exception, ClusterError)
    assert str(result.exception).startswith("shards [1] of prod/d have not been prepared for plan 'd' in 0.1 s: nothing was changed")
    assert "500 records (2.0 s) before the token" in result.stderr
    assert [token.kind for token in shards.tokens] == ["prepare", "prepare"]
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["behind_records"], row["behind_s"]) for row in rows] == [(None, None), (500, 2.0)]


def test_the_same_swap_again_changes_nothing(environment: Environment, topics: Topics, shards: Answering) -> None:
    first = swap_to("first")
    before = written(topics)
    again = swap_to("first")
    assert written(topics) == before
    assert [(row["epoch"], row["cut_offset"], row["event"], row["written"]) for row in again] == [
        (1, row["cut_offset"], "activated", False) for row in first
    ]


def test_an_interrupted_swap_is_finished_by_running_it_again(environment: Environment, topics: Topics) -> None:
    """Once after the shards were asked, once after the cut was written."""
    Answering(topics, environment, silent=(0, 1))
    with pytest.raises(ClusterError):
        swap_to("first", "--timeout", "0.1")
    Answering(topics, environment)
    assert [row["epoch"] for row in swap_to("first")] == [1, 1]
    Answering(topics, environment, silent=(1,))
    with pytest.raises(ClusterError, match=r"shards \[1\] of prod/d have not answered to epoch 2"):
        swap_to("second", "--no-prepare", "--timeout", "0.1")
    before = written(topics)
    with pytest.raises(ClusterError, match=r"shards \[1\] of prod/d have not answered to epoch 2"):
        swap_to("second", "--timeout", "0.1")
    assert written(topics) == before
    assert champions(environment) == ["a:1", "b:1"]


def test_where_the_job_does_not_run_nothing_is_prepared(
    environment: Environment, shards: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change, "runs", lambda *_: False)
    result = CliRunner().invoke(swap_command, ["--plan", "first.yaml", "--no-wait"], obj="env.yaml", catch_exceptions=False)
    assert "prod/d does not run on http://127.0.0.1:8081: nothing is prepared" in result.stderr
    assert [token.kind for token in shards.tokens] == ["swap", "swap"]


def test_a_shard_that_rejects_its_cut_is_an_error(environment: Environment, topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = Answering(topics, environment)
    said = shards._say
    monkeypatch.setattr(shards, "_say", lambda event, *rest, **more: said("rejected" if event == "activated" else event, *rest, **more))
    with pytest.raises(Rejected, match=r"shards \[0, 1\] rejected epoch 1"):
        swap_to("first")


def test_a_champion_takes_the_place_of_the_one_in_force(environment: Environment, shards: Answering) -> None:
    swap_to("first")
    rows = run(swap_command, "--champion", "b:1", "--deployment", "d")
    assert [row["epoch"] for row in rows] == [2, 2]
    assert champions(environment) == ["a:1", "b:1"]
    again = run(swap_command, "--champion", "b:1", "--deployment", "d")
    assert [(row["epoch"], row["written"]) for row in again] == [(2, False)] * 2


@pytest.mark.parametrize("arguments", [(), ("--plan", "first.yaml", "--champion", "a:1"), ("--plan", "first.yaml", "--route", "*")])
def test_what_swap_takes(environment: Environment, arguments: tuple[str, ...]) -> None:
    with pytest.raises(InvalidSettings, match="swap takes --plan, or --champion"):
        run(swap_command, *arguments)


def test_a_deployment_that_is_not_known_has_no_plan_to_derive_from(environment: Environment, shards: Answering) -> None:
    with pytest.raises(UnknownName, match="which deployment"):
        run(swap_command, "--champion", "b:1")
    with pytest.raises(UnknownName, match="no plan of prod/x is known"):
        run(swap_command, "--champion", "b:1", "--deployment", "x")


def test_people_see_a_table_that_fits_and_what_it_took(environment: Environment, shards: Answering) -> None:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(swap_command, ["--plan", "first.yaml"], obj="env.yaml", catch_exceptions=False)
    assert "prod/d, epoch 1: plan 'd'" in result.stdout
    for word in ("partition", "prepared", "cut_offset", "event", "seconds", "pause_ms"):
        assert word in result.stdout, "columns are not cut"
    assert "behind" not in result.stdout
    assert result.stdout.count("activated") == 2
    assert "telemetry-1: prepared at offset 0 in 3.5 ms" in result.stderr
    assert "epoch 1 is in force in 2 of 2 shards" in result.stderr
    assert "the longest pause of a shard was 3.5 ms" in result.stderr


# -- rollback


def test_rollback_is_a_swap_to_the_plan_before(environment: Environment, shards: Answering) -> None:
    for name in FILES:
        swap_to(name)
    rows = run(rollback_command, "d", "--why", "worse")
    assert [(row["epoch"], row["prepared"], row["event"]) for row in rows] == [(4, "yes", "activated")] * 2
    run(rollback_command, "d")
    assert champions(environment) == ["a:1", "b:1", "c:1", "b:1", "a:1"]
    with pytest.raises(UnknownName, match="no plan of prod/d before epoch 5 is known"):
        run(rollback_command, "d")


def test_rollback_of_an_epoch_that_is_no_longer_in_force_changes_nothing(
    environment: Environment, topics: Topics, shards: Answering
) -> None:
    swap_to("first")
    swap_to("second")
    run(rollback_command, "d", "--epoch", "2")
    before = written(topics)
    with pytest.raises(Conflict, match="prod/d is at epoch 3, not 2: nothing was changed"):
        run(rollback_command, "d", "--epoch", "2")
    assert written(topics) == before


def test_rollback_now_needs_no_token(environment: Environment, shards: Answering) -> None:
    swap_to("first")
    swap_to("second")
    tokens = len(shards.tokens)
    rows = run(rollback_command, "d", "--now")
    assert len(shards.tokens) == tokens
    assert [(row["epoch"], row["how"], row["cut_offset"]) for row in rows] == [(3, "arrival", 1000), (3, "arrival", 1001)]
    (arrival,) = read_definitions(environment).arrivals("prod", "d")
    assert arrival.plan == read_definitions(environment).cuts("prod", "d")[0].plan


def test_an_idle_shard_does_not_keep_an_arrival_from_having_happened(environment: Environment, topics: Topics) -> None:
    Answering(topics, environment)
    swap_to("first")
    swap_to("second")
    Answering(topics, environment, silent=(1,))
    rows = run(rollback_command, "d", "--now", "--timeout", "0.1")
    assert [row["event"] for row in rows] == ["activated", "written"]


# -- push


def params(**arrays: Any) -> None:
    np.savez("p.npz", **arrays)


def next_numbers(environment: Environment) -> None:
    """The numbers of a:1, a little changed, in p.npz."""
    run(models_command, "params", "a:1", "p.npz")
    with np.load("p.npz") as file:
        params(**{name: file[name] + 0.25 for name in file.files})


def test_push_now_sends_plan_and_model_in_the_tokens_alone(environment: Environment, topics: Topics, shards: Answering) -> None:
    swap_to("first")
    next_numbers(environment)
    tokens, defined = len(shards.tokens), written(topics)[environment.topics.parameters.name]
    rows = run(push_command, "a", "--params", "p.npz", "--now", "--deployment", "d")
    assert [(row["epoch"], row["event"]) for row in rows] == [(2, "activated")] * 2
    first, second = shards.tokens[tokens:]
    assert (first.kind, first.body) == ("update", second.body)
    update = Update.decode(first.body)
    plan, (artifact,) = Plan.decode(update.plan), map(Artifact.decode, update.models)
    assert (plan.routes[0].champion.name, artifact.ref) == ("a:2", "a:2")  # type: ignore[union-attr]
    assert plan.digest == first.plan
    assert written(topics)[environment.topics.parameters.name] == defined + 1
    assert read_definitions(environment).update_cut("prod", "d").plan == plan.digest  # type: ignore[union-attr]


def test_a_plan_that_came_in_a_token_can_be_swapped_from_and_rolled_back(environment: Environment, shards: Answering) -> None:
    swap_to("first")
    next_numbers(environment)
    run(push_command, "a", "--params", "p.npz", "--now", "--deployment", "d")
    run(swap_command, "--champion", "b:1", "--deployment", "d")
    assert champions(environment) == ["a:1", "b:1"]
    rows = run(rollback_command, "d")
    assert [row["epoch"] for row in rows] == [4, 4]
    assert champions(environment) == ["a:1", "b:1", "a:2"], "what the token carried is published now"


def test_push_at_arrival_publishes_and_needs_no_token(environment: Environment, shards: Answering) -> None:
    swap_to("first")
    next_numbers(environment)
    rows = run(push_command, "a", "--params", "p.npz", "--at", "arrival", "--deployment", "d")
    assert [(row["epoch"], row["how"]) for row in rows] == [(2, "arrival")] * 2
    assert read_definitions(environment).find("prod", "model", "a:2") is not None
    assert [token.kind for token in shards.tokens].count(PREPARE) == 2


def test_options_of_a_change_belong_to_a_change(environment: Environment) -> None:
    for arguments in (("--deployment", "d"), ("--route", "*"), ("--now", "--at", "arrival")):
        with pytest.raises(InvalidSettings, match="--deployment and --route belong to --now or --at arrival"):
            run(push_command, "a", *arguments)


# -- abort


def holds(topics: Topics, environment: Environment, partition: int, epoch: int) -> None:
    """Let a shard say that it holds at the token of an epoch."""
    cut = next(cut for cut in read_definitions(environment).cuts("prod", "d") if cut.epoch == epoch)
    row = {"namespace": "prod", "deployment": "d", "event": "holding", "partition": partition, "offset": cut.offsets[partition],
           "topic": cut.topic, "time": 1}  # fmt: skip
    topics.send(environment.topics.ledger.name, b"", msgspec.json.encode(row))


def test_an_abort_releases_shards_that_hold_and_goes_back(environment: Environment, topics: Topics, shards: Answering) -> None:
    swap_to("first")
    swap_to("second")
    holds(topics, environment, 1, 2)
    rows = run(abort_command, "d", "--why", "the store is away")
    assert [(row["epoch"], row["event"]) for row in rows] == [(3, "activated")] * 2
    definitions = read_definitions(environment)
    assert definitions.aborted("prod", "d", 2)
    assert champions(environment) == ["a:1", "b:1", "a:1"]


def test_an_abort_of_an_epoch_that_others_followed_goes_nowhere(environment: Environment, topics: Topics, shards: Answering) -> None:
    for name in FILES:
        swap_to(name)
    holds(topics, environment, 0, 2)
    tokens = len(shards.tokens)
    run(abort_command, "d")
    assert len(shards.tokens) == tokens
    definitions = read_definitions(environment)
    assert [definitions.aborted("prod", "d", epoch) for epoch in (1, 2, 3)] == [False, True, False]
    run(rollback_command, "d")
    assert champions(environment) == ["a:1", "b:1", "c:1", "a:1"], "what was aborted is no plan to go back to"


def test_where_no_shard_holds_there_is_nothing_to_abort(environment: Environment, topics: Topics, shards: Answering) -> None:
    swap_to("first")
    swap_to("second")
    before = written(topics)
    with pytest.raises(Conflict, match="no shard of prod/d holds"):
        run(abort_command, "d")
    assert written(topics) == before


# -- refused here


def worse(environment: Environment) -> None:
    """A model in the store that does not score its golden rows as it says."""
    good = model("d:1", FIELDS)
    wrong = good.golden_scores + 1.0
    digest = payload_digest(good.parameters, good.graph, good.golden_inputs, wrong)
    manifest = msgspec.structs.replace(good.manifest, digest=digest)
    Store(environment.store).put(msgspec.structs.replace(good, manifest=manifest, golden_scores=wrong))


def test_a_model_that_the_gate_refuses_here_stands_on_the_ledger_and_nothing_else(
    environment: Environment, topics: Topics, shards: Answering
) -> None:
    worse(environment)
    swap_to("first")
    before = written(topics)
    for command, arguments in ((swap_command, ("--champion", "d:1", "--deployment", "d")), (push_command, ("d:1",))):
        with pytest.raises(Rejected, match=r"^d:1: golden: row 0 scores"):
            run(command, *arguments)
    rows = only_on_the_ledger(topics, environment, before)
    assert [(row["event"], row["deployment"], row["reason"][:12]) for row in rows] == [
        ("rejected", "d", "d:1: golden:"), ("rejected", "", "d:1: golden:")]  # fmt: skip


def only_on_the_ledger(topics: Topics, environment: Environment, before: dict[str, int]) -> list[dict[str, Any]]:
    """The ledger's rows since; nothing else may have been written."""
    after, ledger = written(topics), environment.topics.ledger.name
    assert {**after, ledger: 0} == {**before, ledger: 0}
    return [msgspec.json.decode(record.value or b"") for record in topics.records[ledger][before[ledger] :]]


@pytest.mark.parametrize(("command", "arguments", "where"), [
    (swap_command, ("--plan", "unfit.yaml"), "devices"),
    (swap_command, ("--champion", "w:1", "--deployment", "d"), "route"),
    (push_command, ("w:1", "--now", "--deployment", "d"), "route"),
    (push_command, ("w:1", "--at", "arrival", "--deployment", "d"), "route"),
])  # fmt: skip
def test_a_model_of_other_features_stands_on_the_ledger_and_the_champion_stays(
    environment: Environment, topics: Topics, shards: Answering, command: click.Command, arguments: tuple[str, ...], where: str
) -> None:
    Store(environment.store).put(model("w:1", ("speed",)))
    Path("unfit.yaml").write_text("{name: d, schema: pumps.yaml, champion: 'w:1'}")
    swap_to("first")
    before = written(topics)
    with pytest.raises(Rejected) as refused:
        run(command, *arguments)
    (row,) = only_on_the_ledger(topics, environment, before)
    said = f"plan 'd', {where} '*': w:1: features: [speed]; extractor identity gives [temperature, pressure]"
    assert (row["event"], row["deployment"], row["reason"], str(refused.value)) == ("rejected", "d", said, said)
    assert champions(environment) == ["a:1"]


def test_what_is_written_wrongly_is_no_rejection(environment: Environment, topics: Topics, shards: Answering) -> None:
    Path("wrong.yaml").write_text("{name: d, schema: pumps.yaml, challengers: ['a:1']}")
    swap_to("first")
    before = written(topics)
    with pytest.raises(InvalidPlan, match="need a champion"):
        run(swap_command, "--plan", "wrong.yaml", "--deployment", "d")
    assert written(topics) == before
