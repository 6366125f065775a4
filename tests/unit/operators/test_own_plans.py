"""Plans with extractors of one's own: pinned, defined, and run where their code is.

`python -m tests.unit.operators.test_own_plans` made v4/plan.msgpack, once; it is never written again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from swapstream.models.errors import InvalidPlan
from swapstream.operators import code
from swapstream.operators.code import Archive, archive_of, register
from swapstream.operators.code_loading import load
from swapstream.operators.definitions import Definitions
from swapstream.operators.extractors.definition import ExtractorDefinition
from swapstream.operators.loaded_input import extractor_of
from swapstream.operators.lookup import missing
from swapstream.operators.outputs import Emission
from swapstream.operators.plan import Plan
from swapstream.operators.plan_file import load_plan_file
from swapstream.operators.scores import decode_scores
from tests.support.first_written import write_missing
from tests.support.sent import ledger, plans
from tests.support.shards import (
    NAMESPACE,
    Deployable,
    Parameters,
    deployable,
    frame,
    reading,
    route,
    running,
    token,
)

FOLDER = Path(__file__).parent / "v4"
SOURCE = """
import numpy as np
from swapstream.operators.extractors.base import Extractor

class Times(Extractor):
    NAME = "times"
    VERSION = {version}
    factor: float = 2.0

    def features(self):
        return tuple(f"{{field}}.times" for field in self.fields)

    def state(self):
        return {{"count": 1}}

    def step(self, values, times, state):
        count = state["count"] + 1
        return values * self.factor * {version}, count[:, 0] < 2, {{"count": count}}
"""


def archive(version: int, more: str = "") -> Archive:
    return archive_of({"scaling.py": (SOURCE.format(version=version) + more).encode()})


ONE, TWO = archive(1), archive(2)


def own(name: str, made: Archive, **roles: object) -> Deployable:
    register(made)
    return deployable(name, extractor=("identity", {f"scaling:Times@{made.digest}": {"factor": 3.0}}), **roles)


def example() -> Deployable:
    routes = (route("pump-1*", decoy=True),)
    return own("own", ONE, routes=routes)


@pytest.fixture(autouse=True)
def _as_new() -> Iterator[None]:
    """This process has the archives that a test registers, and forgets them."""
    yield
    forget()


def forget() -> None:
    code._here.clear()
    code._sources.clear()
    load.cache_clear()
    extractor_of.cache_clear()


# -- plans


def test_a_plan_file_names_code_beside_it(tmp_path: Path) -> None:
    (tmp_path / "scaling.py").write_bytes(ONE.files["scaling.py"])
    (tmp_path / "plan.yaml").write_text('{name: p, schema: [pumps, fans], code: [./scaling.py],'
                                        ' extractor: {pumps: [identity, "scaling:Times"], fans: [{"scaling:Times": {factor: 4}}]}}')
    file = load_plan_file(tmp_path / "plan.yaml")
    name = f"scaling:Times@{ONE.digest}"
    assert file.extractor == {"pumps": ("identity", name), "fans": ({name: {"factor": 4}},)}
    assert file.digests == {ONE.digest}


@pytest.mark.parametrize(("text", "message"), [
    ('{name: p, schema: pumps, extractor: ["scaling:Times"]}', "extractor 'scaling:Times': the code that is given is none"),
    ('{name: p, schema: pumps, code: [scaling.py], extractor: ["other:Times"]}', "the code that is given has modules scaling"),
    ('{name: p, schema: pumps, code: [scaling.txt]}', "allowed are a .py file and the folder of a package"),
])
def test_a_plan_file_whose_code_does_not_have_what_it_names_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "scaling.py").write_bytes(ONE.files["scaling.py"])
    (tmp_path / "scaling.txt").write_text("hello")
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(InvalidPlan, match=message):
        load_plan_file(tmp_path / "plan.yaml")


@pytest.mark.parametrize(("more", "message"), [
    ("\n    def step(self, values, times, state):\n        return values[0], times > 0, state",
     r"extractor 'times' gave float64\[\d+\] as features and bool\[\d+\] as warming; float64\[\d+, 2\] and bool\[\d+\] are wanted"),
    ("\n    def step(self, values, times, state):\n        raise KeyError('x')", "extractor 'times' fails: KeyError: 'x'"),
    ("\n    def step(self, values, times, state):\n        return values, times, state", "and int64.* as warming"),
])
def test_code_that_can_not_take_records_is_no_plan(more: str, message: str) -> None:
    with pytest.raises(InvalidPlan, match=message):
        own("p", archive(1, more))


def test_plans_pin_code_in_version_4_and_others_stay_what_they_were() -> None:
    plan = own("p", ONE, champion="a:1").plan
    assert (plan.v, plan.code) == (4, (ONE.digest,))
    assert [str(pin).partition("@")[0] for pin in plan.inputs[0].own] == ["times:1"]
    assert Plan.decode(plan.encode()) == plan
    assert plan.digest != own("p", archive(1, "\n# a remark"), champion="a:1").plan.digest
    plain = deployable("p", champion="a:1").plan
    assert (plain.v, plain.code, plain.inputs[0].own) == (2, (), ())
    assert "own" not in msgspec.msgpack.decode(plain.encode())["inputs"][0]


def test_a_plan_of_version_4_reads_as_ever() -> None:
    plan = Plan.decode((FOLDER / "plan.msgpack").read_bytes())
    assert plan.encode() == (FOLDER / "plan.msgpack").read_bytes()
    assert plan.code == (ONE.digest,)
    assert plan.inputs[0].own[0].name == "times:1"
    assert [(one.devices, one.decoy) for one in plan.routes] == [("pump-1*", True)]
    assert plan == example().plan


def test_a_plan_that_leaves_out_what_its_code_is_is_refused() -> None:
    plan = own("p", ONE).plan
    (one,) = plan.inputs
    loose = msgspec.structs.replace(one, extractor=("scaling:Times",))
    undefined = msgspec.structs.replace(one, own=())
    for wrong, message in ((loose, "without the digest of its code"), (undefined, "1 .* of which 0 are defined")):
        with pytest.raises(InvalidPlan, match=message):
            Plan.decode(msgspec.structs.replace(plan, inputs=(wrong,)).encode())


# -- definitions


def test_what_a_plan_needs_of_an_extractor_is_its_definition_not_its_code() -> None:
    one = own("p", ONE, champion="a:1")
    (said,) = one.extractors()
    assert ExtractorDefinition.decode(said.encode()) == said
    assert (said.ref, said.source, said.code, said.settings) == ("times:1", "scaling:Times", ONE.digest, ("factor", "fields", "label"))
    assert ONE.files["scaling.py"] not in said.encode()
    parameters = Parameters()
    for kind, name, body in one.definitions():
        if kind != "extractor":
            parameters.define(kind, name, body)
    definitions = parameters.read(Definitions())
    assert missing(definitions, NAMESPACE, one.digest) == f"plan 'p': extractor times:1@{said.pin.digest[:12]} is not defined"
    parameters.define("extractor", said.ref, said.encode())
    assert missing(parameters.read(definitions), NAMESPACE, one.digest) is None


def test_other_code_under_the_same_version_comes_too_late() -> None:
    first, second = own("p", ONE), own("p", archive(1, "\n# a remark"))
    parameters = Parameters()
    parameters.publish(first, second)
    definitions = parameters.read(Definitions())
    assert missing(definitions, NAMESPACE, first.digest) is None
    assert "extractor times:1@" in str(missing(definitions, NAMESPACE, second.digest))


def test_a_definition_under_another_name_than_its_own_does_not_count() -> None:
    (said,) = own("p", ONE).extractors()
    parameters = Parameters()
    parameters.define("extractor", "times:9", said.encode())
    parameters.define("extractor", "times:1", b"\x80")
    assert list(parameters.read(Definitions()).names(NAMESPACE, "extractor")) == []


# -- shards


def extractors(out: list[Emission]) -> list[str]:
    return [decode_scores(one.value).provenance.extractor.rpartition(":")[0] for one in out if one.role == "scores"]


def test_a_swap_goes_to_code_that_is_here_and_state_goes_on() -> None:
    first, second = own("first", ONE, champion="a:1"), own("second", TWO, champion="a:1")
    worker = running(first, second)
    out = worker.shard.on_frame(frame([reading(), reading(), token(1, second.digest, worker.parameters.end), reading()]))
    assert plans(out) == [("first", 0, 0), ("first", 0, 1), ("second", 1, 3)]
    assert extractors(out) == ["identity+times:1.1", "identity+times:1.2"]
    warming = [bool(flag) for one in out if one.role == "scores" for flag in decode_scores(one.value).warming]
    assert warming == [True, False, False]


def test_where_there_is_no_such_code_a_prepare_token_is_refused_and_a_swap_token_waits_for_it() -> None:
    """Which code a job has does not follow from the log: a shard that could not tell must not go on."""
    first, second = deployable("first", champion="a:1"), own("second", TWO, champion="b:1")
    worker = running(first, second)
    end = worker.parameters.end
    forget()
    out = worker.shard.on_frame(frame([token(1, second.digest, end, kind="prepare"), reading()]))
    (row,) = ledger(out)
    assert (row["event"], row["reason"]) == (
        "refused", f"code {TWO.digest[:12]}…: is not here; a job runs code that it was submitted with")
    out = worker.shard.on_frame(frame([token(1, second.digest, end), reading()], first=2))
    assert [row["event"] for row in ledger(out)] == ["holding"]
    assert plans(out) == []
    register(TWO)
    worker.time = 2.0
    assert plans(worker.shard.on_timer()) == [("second", 1, 3)]


MIGRATING = """
    SCHEMA_VERSION = 2

    def migrate(self, version, columns):
        return {result}
"""


@pytest.mark.parametrize(("result", "reason"), [
    ("columns['none']", "migrate from schema version 1 to 2: KeyError: 'none'"),
    ("{}", "gave {} for 1 devices; allowed are columns of width {'count': 1}"),
    ("{'count': columns['count'][:, 0]}", "gave {'count': (1,)} for 1 devices"),
    ("columns\n\n    SCHEMA_VERSION = 1\n\n    def state(self):\n        return {'count': 1, 'more': 1}",
     "state of schema version 1 has the columns {'count': 1}, and its version 2 names {'count': 1, 'more': 1}"),
])
def test_a_plan_whose_migration_fails_is_refused_and_one_that_begins_all_the_same_begins_anew(result: str, reason: str) -> None:
    first, second = own("first", ONE, champion="a:1"), own("second", archive(2, MIGRATING.replace("{result}", result)), champion="a:1")
    worker = running(first, second)
    end = worker.parameters.end
    out = worker.shard.on_frame(frame([reading(), reading(), reading(), token(1, second.digest, end, kind="prepare")]))
    (row,) = ledger(out)
    assert row["event"] == "refused"
    assert reason in row["reason"]
    out = worker.shard.on_frame(frame([token(1, second.digest, end), reading()], first=4))
    assert plans(out) == [("second", 1, 5)]
    assert [bool(flag) for one in out if one.role == "scores" for flag in decode_scores(one.value).warming] == [True]


def test_a_plan_whose_migration_works_is_prepared_and_goes_on() -> None:
    good = archive(2, MIGRATING.replace("{result}", "{'count': columns['count']}"))
    first, second = own("first", ONE, champion="a:1"), own("second", good, champion="a:1")
    worker = running(first, second)
    end = worker.parameters.end
    payloads = [reading(), reading(), token(1, second.digest, end, kind="prepare"), token(1, second.digest, end), reading()]
    out = worker.shard.on_frame(frame(payloads))
    assert [row["event"] for row in ledger(out)] == ["prepared", "activated"]
    assert [bool(flag) for one in out if one.role == "scores" for flag in decode_scores(one.value).warming] == [True, False, False]


def test_a_job_whose_own_code_is_not_here_holds_from_the_start() -> None:
    first = own("first", ONE, champion="a:1")
    worker = running(first)
    forget()
    assert plans(worker.shard.on_frame(frame([reading()]))) == []
    register(ONE)
    worker.time = 2.0
    assert plans(worker.shard.on_timer()) == [("first", 0, 0)]


if __name__ == "__main__":
    write_missing(FOLDER, {"plan": lambda: example().plan.encode()})
