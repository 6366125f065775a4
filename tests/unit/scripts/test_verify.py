"""`verify` and `replay` over topics in memory: where they start, what they say, how they end."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from swapstream.jobs.spec import JobSpec
from swapstream.models import objects
from swapstream.models.errors import InvalidSettings, Unavailable, UnknownName
from swapstream.operators.assignment import Assignment
from swapstream.operators.computing import Computed, computing
from swapstream.operators.outputs import Emission
from swapstream.operators.run import Run
from swapstream.operators.scores import ScoresFrame, decode_scores
from swapstream.operators.verification import Span
from swapstream.scripts import kafka, replay, rerun, spans
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.environment import load_environment
from swapstream.scripts.main import cli
from swapstream.scripts.rerun import frames
from swapstream.scripts.snapshots import known_of
from swapstream.scripts.spans import Section, place_of, span_of
from tests.support.past import Past, falsified
from tests.support.shards import DEPLOYMENT, EWM, NAMESPACE, TOPIC, Parameters, deployable

ONE = deployable("one", extractor=EWM, champion="b:1", challengers=("c:1",))
TWO = deployable("two", extractor=EWM, champion="d:1")
WRITTEN = 1_000_000
"""Kafka's time of the first message put out; every further one is a second later."""


class Log:
    """All topics of one partition's past."""

    def __init__(self, past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
        self.past = past
        self.monkeypatch = monkeypatch
        self.beginning = 0
        self.opened: dict[str, Any] = {}
        self.resolved: int | None = None
        self.others: dict[int, Section] = {}
        monkeypatch.setattr(rerun, "Reading", self.reading)
        monkeypatch.setattr(rerun, "STRAGGLERS", 0.0)
        monkeypatch.setattr(kafka, "read_to_end", lambda environment, topic, *_: iter(self.records(topic)))
        monkeypatch.setattr(kafka, "partition_count", lambda *_: 1)
        monkeypatch.setattr(rerun, "offsets_at", lambda environment, topic, ms: {0: self.offset_at(topic, ms)})
        monkeypatch.setattr(spans, "sections", self.sections)

    def records(self, topic: str) -> list[kafka.Record]:
        if topic == TOPIC:
            return [kafka.Record(0, o, 1_000 + o, None, p) for o, p in self.past.log if o >= self.beginning]
        if topic == "parameters":
            return [kafka.Record(0, o, 1, None, value) for o, value in enumerate(self.past.parameters.records)]
        mine = [(n, each) for n, each in enumerate(self.past.emissions) if each.role.replace("_", "-") == topic]
        return [kafka.Record(0, o, WRITTEN + 1_000 * n, each.key, each.value) for o, (n, each) in enumerate(mine)]

    def offset_at(self, topic: str, ms: int) -> int:
        return next((record.offset for record in self.records(topic) if record.timestamp >= ms), len(self.records(topic)))

    def reading(self, environment: Any, topic: str, start: Any, partitions: Any = None, most: int = 1) -> InMemory:
        first = 0 if start == "earliest" else start[0]
        self.opened[topic] = first
        return InMemory([record for record in self.records(topic) if record.offset >= first])

    def sections(self, environment: Any, topic: str, start: Any, end: Any) -> dict[int, Section]:
        begin = start if self.resolved is None else self.resolved
        return {0: Section(span_of(self.beginning, self.past.end, begin, end), self.beginning), **self.others}

    def falsify(self) -> ScoresFrame:
        """Change a bit of a score that was put out; returns the frame as it was."""
        place = [n for n, each in enumerate(self.past.emissions) if each.role == "scores"][5]
        frame = decode_scores(self.past.emissions[place].value)
        role = msgspec.structs.replace(frame.roles[0], scores=falsified(frame.roles[0], 0))
        changed = msgspec.structs.replace(frame, roles=[role, *frame.roles[1:]]).encode()
        self.past.emissions[place] = msgspec.structs.replace(self.past.emissions[place], value=changed)
        return frame

    def verify(self, *options: str) -> Result:
        return CliRunner().invoke(cli, ["verify", "--deployment", DEPLOYMENT, *options])

    def replay(self, *options: str) -> Result:
        return CliRunner().invoke(cli, ["replay", "--deployment", DEPLOYMENT, *options])


class InMemory:
    def __init__(self, records: list[kafka.Record], most: int = 50) -> None:
        self.left, self.most = list(reversed(records)), most

    def __enter__(self) -> InMemory:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def extend(self) -> None:
        """Nothing more comes."""

    def next(self) -> kafka.Record | None:
        return self.left.pop() if self.left else None

    def some(self) -> list[kafka.Record]:
        return [self.left.pop() for _ in range(min(self.most, len(self.left)))]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    environment = tmp_path / "here.yaml"
    environment.write_text(f"directory: {tmp_path}\n")
    monkeypatch.setenv("SWAPSTREAM_ENV", str(environment))
    past = Past(ONE, TWO)
    for plan in (TWO, ONE, TWO):
        past.readings(60)
        past.swap(plan)
    past.readings(60)
    past.live(crash=0.05)
    return Log(past, monkeypatch)


def rows(result: Result) -> list[dict[str, Any]]:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_everything_from_the_first_snapshot_is_as_it_was(log: Log) -> None:
    result = log.verify("--json")
    (row,) = rows(result)
    assert result.exit_code == 0
    assert (row["from"], row["to"], row["state"]) == (0, log.past.end - 1, -1)
    assert row["records"] == len(log.past.log)
    assert row["equal"] == sum(row[topic] for topic in ("scores", "features", "anomalies", "dead_letters")) > 200
    assert row["missing"] == row["unexpected"] == row["twice"] == row["differs"] == row["unanswered"] == 0
    assert row["first"] is None
    assert "no divergence" in result.stderr


def test_a_divergence_says_what_it_was_computed_with_elsewhere(log: Log) -> None:
    log.falsify()
    assert "equal bytes" not in log.verify().stderr
    there = msgspec.structs.replace(Computed.here(), libraries={"numpy": "1.0"})
    row = computing(Assignment(NAMESPACE, DEPLOYMENT, TOPIC, "", 0), Run("a job", 0), 0, there, 1)
    log.past.emissions.append(Emission("ledger", b"worker", row.encode()))
    said = re.sub(r"\s+", " ", log.verify().stderr)
    assert f"computed with numpy 1.0, not {np.__version__} as here: equal bytes are promised for the same, see --tolerance" in said


def test_it_starts_at_the_nearest_snapshot_and_reads_output_from_there(log: Log) -> None:
    first = log.past.end * 3 // 4
    nearest = max(one.about.offset for one in log.past.snapshots if one.about.offset < first)
    result = log.verify("--json", "--from", str(first), "--to", str(log.past.end - 20))
    (row,) = rows(result)
    assert result.exit_code == 0
    assert (row["from"], row["to"], row["state"]) == (first, log.past.end - 20, nearest)
    assert row["equal"] > 0
    assert f"starts behind offset {nearest}" in result.stderr
    assert log.opened[TOPIC] == nearest + 1
    assert log.opened["scores"] > 0


def test_without_a_snapshot_it_starts_where_the_deployment_did_and_says_so(log: Log) -> None:
    log.past.emissions = [each for each in log.past.emissions if each.role != "snapshots"]
    (row,) = rows(result := log.verify("--json", "--from", "100"))
    assert result.exit_code == 0
    assert (row["state"], row["from"]) == (None, 100)
    assert log.opened[TOPIC] == 0
    assert "no snapshot lies before offset 100; starts at the beginning of the log, without state" in result.stderr
    spec = JobSpec("detect", NAMESPACE, DEPLOYMENT, ONE.digest, log.past.submitted, "x", {}, 1, {0: 40})
    path = Deployments(load_environment()).spec(DEPLOYMENT)
    path.parent.mkdir(parents=True)
    spec.write(path)
    log.verify("--from", "100")
    assert log.opened[TOPIC] == 40


def test_what_retention_took_is_not_started_before(log: Log) -> None:
    log.beginning = log.past.log[100][0]
    usable = min(one.about.offset for one in log.past.snapshots if one.about.offset + 1 >= log.beginning)
    (row,) = rows(result := log.verify("--json"))
    assert result.exit_code == 0
    assert (row["state"], row["from"]) == (usable, usable + 1)


def test_what_is_not_answered_yet_is_not_missing_unless_asked_for(log: Log) -> None:
    log.past.readings(20)
    (row,) = rows(result := log.verify("--json"))
    assert (result.exit_code, row["missing"]) == (0, 0)
    assert row["unanswered"] > 0
    (row,) = rows(result := log.verify("--json", "--to", str(log.past.end)))
    assert (result.exit_code, row["unanswered"]) == (1, 0)
    assert row["missing"] > 0


def test_a_divergence_is_shown_with_both_sides_and_ends_with_1(log: Log) -> None:
    frame = log.falsify()
    result = log.verify()
    assert result.exit_code == 1
    assert f"offset {frame.first}: scores (champion): differs in score" in " ".join(result.stdout.split())
    assert "1 of 1 partitions diverge" in result.stderr
    (row,) = rows(log.verify("--json"))
    assert row["differs"] == 1
    assert row["first"]["offset"] == frame.first
    assert row["first"]["computed"]["score"] != row["first"]["emitted"]["score"]
    (row,) = rows(result := log.verify("--json", "--tolerance", "1e-6"))
    assert (result.exit_code, row["differs"], row["within tolerance"]) == (0, 0, 1)


def test_repeats_count_under_the_delivery_that_was_asked_for(log: Log) -> None:
    repeated = next(each for each in log.past.emissions if each.role == "scores")
    log.past.emissions.append(repeated)
    assert log.verify().exit_code == 1
    assert log.verify("--delivery", "at_least_once").exit_code == 0


def test_messages_that_can_not_be_read_are_named_and_passed_over(log: Log) -> None:
    log.past.emissions.insert(9, msgspec.structs.replace(log.past.emissions[0], role="scores", value=b"nonsense"))
    result = log.verify()
    assert result.exit_code == 0
    assert "not a frame of scores" in result.stderr


def test_a_deployment_that_nobody_knows_is_named(log: Log) -> None:
    log.past.emissions = []
    result = CliRunner().invoke(cli, ["verify", "--deployment", "nobody"])
    assert "nobody was not submitted from here, and has put out nothing" in str(result.exception)


def test_a_partition_that_is_none_is_named(log: Log) -> None:
    assert "has no partition 7" in str(log.verify("--partition", "7").exception)


# -- spans and snapshots


def test_places_are_offsets_or_times() -> None:
    assert place_of(None) is None
    assert place_of("1200") == 1200
    assert place_of("2026-01-31T12:00") == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert place_of("2026-01-31T12:00+01:00") == datetime(2026, 1, 31, 11, tzinfo=UTC)
    with pytest.raises(InvalidSettings, match="'yesterday' is neither an offset nor a time"):
        place_of("yesterday")


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [(None, None, Span(10, 99, True)), (5, 200, Span(10, 99)), (20, 30, Span(20, 30)), (50, None, Span(50, 99, True))],
)
def test_spans_lie_within_what_is_there(start: int | None, stop: int | None, expected: Span) -> None:
    assert span_of(10, 100, start, stop) == expected


def test_snapshots_are_read_no_further_than_needed(log: Log) -> None:
    records = log.records("snapshots")
    taken = iter(records)
    section = {0: Section(Span(50, 100), 0)}
    known = known_of(taken, NAMESPACE, DEPLOYMENT, TOPIC, section)[0]
    assert len(list(taken)) > 0
    whole = [one.about.offset for one in log.past.snapshots]
    assert known.before is not None
    assert known.before.about.offset == max(offset for offset in whole if offset < 50)
    assert known.written in {record.timestamp for record in records}
    other = known_of(iter(records), "alice", DEPLOYMENT, TOPIC, section)[0]
    assert (other.before, other.lives, other.begun) == (None, [], [])


@pytest.mark.parametrize("arguments", [("verify", "--from", "5"), ("replay", "--from", "5"), ("replay", "--until", "5"),
                                       ("replay", "--from", "1970-01-01")])  # fmt: skip
def test_a_span_that_retention_has_deleted_is_refused(log: Log, arguments: tuple[str, ...]) -> None:
    log.beginning = log.past.log[100][0]
    if "-" in arguments[-1]:
        log.resolved = 0
    result = CliRunner().invoke(cli, [arguments[0], "--deployment", DEPLOYMENT, *arguments[1:]])
    assert isinstance(result.exception, InvalidSettings)
    assert f"the earliest offset that is left is {log.beginning} in partition 0" in str(result.exception)
    assert result.stdout == ""


def test_a_partition_of_which_nothing_was_deleted_is_not_asked_of_others(log: Log) -> None:
    log.others = {1: Section(span_of(50, 60, 5, None), 50)}
    assert log.verify("--from", "5", "--partition", "0").exit_code == 0
    assert isinstance(log.verify("--from", "5").exception, InvalidSettings)


def test_a_store_that_is_away_is_named(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "default_folder", lambda: tmp_path / "cache")
    referred = Parameters()
    referred.publish(ONE)
    referred.refer(TWO)
    log.past.parameters.records[: referred.end] = referred.records
    token = next(offset for offset, payload in log.past.log if payload and payload[:1] == b"\xc1" and len(payload) > 1)
    result = log.replay("--json")
    assert isinstance(result.exception, Unavailable)
    said = rf"telemetry-0: what begins at offset {token} can't be run again: store: .*/store/objects/.*: "
    assert re.match(said, str(result.exception))
    assert result.stdout == ""
    assert re.search(said, log.verify("--json").stderr)


@pytest.mark.parametrize(("last", "wanted"), [
    (8, [[1, 2, 4], [7, 8]]), (4, [[1, 2, 4]]), (5, [[1, 2, 4]]), (20, [[1, 2, 4], [7, 8, 9]]), (0, []),
])  # fmt: skip
def test_frames_end_at_the_last_record_wanted(last: int, wanted: list[list[int]]) -> None:
    records = [kafka.Record(0, offset, 5, b"k", b"v") for offset in (1, 2, 4, 7, 8, 9)]
    found: Any = list(frames(InMemory(records, 3), 0, last))  # type: ignore[arg-type]
    assert [frame.offsets.tolist() for frame in found] == wanted
    assert [(frame.timestamps.tolist(), frame.keys, frame.payloads) for frame in found] == [
        ([5] * len(one), [b"k"] * len(one), [b"v"] * len(one)) for one in wanted]  # fmt: skip


# -- replay


def test_replay_gives_every_score_that_was_put_out(log: Log) -> None:
    result = log.replay("--json")
    found = {(row["offset"], row["index"]): row for row in rows(result)}
    emitted = [row for one in log.past.emissions if one.role == "scores" for row in decode_scores(one.value).rows()]
    champions = [row for row in emitted if row["role"] == "champion"]
    assert len(champions) > 100
    for row in champions:
        mine = found[row["offset"], row["index"]]
        said = (mine["champion.score"], mine["champion.threshold"], mine["anomalous"], mine["device"], mine["epoch"])
        assert said == (row["score"], row["threshold"], row["anomalous"], row["device"], row["epoch"])
    assert "as production had it" in result.stderr


def test_replay_until_a_record_tells_all_of_it(log: Log) -> None:
    offset = next(row["offset"] for row in reversed(rows(log.replay("--json"))))
    (row,) = rows(log.replay("--until", str(offset), "--json"))
    assert row["offset"] == offset
    (state,) = row["state"].values()
    assert any(name.startswith("ewm.") for name in state)
    shown = log.replay("--until", str(offset)).stdout
    assert "champion.score" in shown
    assert "feature." in shown


def test_replay_of_one_device_keeps_its_readings(log: Log) -> None:
    found = rows(log.replay("--device", "pump-2", "--from", "100", "--to", "150", "--json"))
    assert {row["device"] for row in found} == {"pump-2"}
    assert all(100 <= row["offset"] <= 150 for row in found)
    every = rows(log.replay("--json"))
    assert found == [row for row in every if row["device"] == "pump-2" and 100 <= row["offset"] <= 150]


def test_replay_names_an_offset_without_a_reading(log: Log) -> None:
    result = log.replay("--until", str(log.past.end + 5))
    assert isinstance(result.exception, UnknownName)
    assert "no reading at offset" in str(result.exception)


def test_replay_says_where_production_had_something_else(log: Log) -> None:
    log.falsify()
    assert "production said something else" in log.replay("--json").stderr


def test_replay_in_a_notebook_is_a_frame(log: Log, tmp_path: Path) -> None:
    frame = replay.replay("100", 150, device="pump-2", deployment=DEPLOYMENT)
    told = rows(log.replay("--device", "pump-2", "--from", "100", "--to", "150", "--json"))
    assert list(zip(frame["offset"], frame["champion.score"], strict=True)) == [(row["offset"], row["champion.score"]) for row in told]
    assert frame.attrs["divergences"] == []
    assert frame.attrs["roles"][0] == "champion"
    assert frame[frame.attrs["values"]].shape == (len(told), 2)
    assert not frame[frame.attrs["features"]].isna().to_numpy().any()
    assert "state" not in frame.attrs
    frame.to_parquet(tmp_path / "frame.parquet")  # which wants attributes that are plain
    assert str(frame["time"].dt.tz) == "UTC"


def test_replay_in_a_notebook_stops_at_a_record(log: Log) -> None:
    offset = next(row["offset"] for row in reversed(rows(log.replay("--json"))))
    (told,) = rows(log.replay("--until", str(offset), "--json"))
    alone = replay.replay(until=offset, deployment=DEPLOYMENT)
    assert alone["offset"].tolist() == [offset]
    assert alone.attrs["state"] == {told["device"]: told["state"]}
    before = replay.replay(offset - 20, until=offset, deployment=DEPLOYMENT)
    assert before["offset"].max() == offset
    assert before["offset"].min() >= offset - 20
    assert before.attrs["state"][told["device"]] == told["state"]
    with pytest.raises(InvalidSettings, match="both `until` 5 and an end, 9, are given"):
        replay.replay(end=9, until=5, deployment=DEPLOYMENT)


def test_replay_in_a_notebook_says_where_production_had_something_else(log: Log) -> None:
    assert log.falsify().provenance.deployment == DEPLOYMENT
    [divergence] = replay.replay(deployment=DEPLOYMENT).attrs["divergences"]
    assert "scores (champion)" in divergence


def test_replay_draws(log: Log, tmp_path: Path) -> None:
    assert log.replay("--plot", str(tmp_path / "it.png"), "--json").exit_code == 0
    assert (tmp_path / "it.png").stat().st_size > 10_000
