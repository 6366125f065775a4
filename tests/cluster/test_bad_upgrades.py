"""Upgrades that can't be done, asked for while a job answers under load: each is refused or undone in one clear line, and the old job
goes on. What the plan itself says wrongly is in test_upgrades.py and test_handovers.py."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from msgspec.structs import replace

from swapstream.scripts.deployments import Deployment, Deployments
from swapstream.scripts.upgrade_progress import ProgressFile

from .demo import PATH, SCHEMA, messages
from .handing_over import Upgrading
from .killing import once_each
from .local import COMMAND
from .support import Stand, flowing

pytestmark = pytest.mark.cluster

RATE = 500
MODES = ("savepoint", "handover")
HERE = "SWAPSTREAM_TEST_HERE"
"""A variable that the commands have in their environment, and the cluster has not."""
CODE = """
import os, time
import numpy as np
from swapstream.operators.extractors.base import LIMIT, Extractor
{first}
class Mean(Extractor):
    NAME = "mean"
    VERSION = {version}
    SCHEMA_VERSION = {schema}

    def features(self):
        return tuple(f"{{field}}.mean" for field in self.fields)

    def state(self):
        return {{"total": len(self.fields), "count": 1}}

    def step(self, values, times, state):
        {step}
        total, count = state["total"] + np.clip(values, -LIMIT, LIMIT), state["count"] + 1
        return total / count, np.zeros(len(values), bool), {{"total": total, "count": count}}
{more}
"""


class Bad(NamedTuple):
    """Code that an upgrade can't go to, and a part of the line that says why."""

    reason: str
    schema: int = 1
    first: str = ""
    step: str = ""
    more: str = ""


REFUSED = {
    "schema": Bad("shard .: its state, .* can't be taken over: extractor 'mean': state of schema version 1 can't be read, only 2", 2),
    "migrate": Bad("extractor 'mean': migrate from schema version 1 to 2: ZeroDivisionError: division by zero", 2,
                   more="    def migrate(self, version, columns):\n        1 / 0"),
    "columns": Bad("state of schema version 1 has the columns {'total': .*names .*'more': 1",
                   more='    def state(self):\n        return {"total": len(self.fields), "count": 1, "more": 1}'),
}  # fmt: skip
CRASHES = Bad("the new job .* can't run: .*extractor 'mean:Mean' can't be imported: KeyError: '" + HERE, first=f'os.environ["{HERE}"]')
SLOW = Bad(r"the new job has not caught up in 20 s: bad-upgrades-telemetry-0 is .* behind",
           step=f'time.sleep(0 if "{HERE}" in os.environ else 2)')  # fmt: skip


class Run:
    """A deployment under load with code of its author's, and what was refused of it."""

    def __init__(self, stand: Stand) -> None:
        self.stand, self._versions = stand, count(1)
        rows = np.random.default_rng(1).normal(size=(2000, 2 * len(SCHEMA.names)))
        self.model = stand.train("zscore", 1, rows, (*SCHEMA.names, *(f"{name}.mean" for name in SCHEMA.names)))
        self.plan = self.plan_of(Bad(""))
        stand.run("submit", "detect", "--plan", self.plan)

    def plan_of(self, bad: Bad) -> Path:
        """A plan file with code of the next version beside it."""
        version = next(self._versions)
        folder = self.stand.directory / f"version-{version}"
        folder.mkdir()
        text = CODE.format(version=version, **bad._asdict())
        (folder / "mean.py").write_text(text)
        return self.stand.write(f"plan-{version}", {
            "name": self.stand.name, "schema": str(PATH), "code": [str(folder / "mean.py")], "extractor": ["identity", "mean:Mean"],
            "champion": self.model,
        })  # fmt: skip

    def refused(self, *arguments: str | Path) -> str:
        """The last line of a command that fails, as one of the errors that are known."""
        command = [COMMAND, "--env", str(self.stand.path), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=os.environ | {HERE: "yes"})
        assert done.returncode in range(1, 7), done.stdout + done.stderr
        assert done.stderr.count("swapstream: ") == 1
        assert "Traceback" not in done.stderr
        return done.stderr.splitlines()[-1]

    @property
    def record(self) -> Deployment:
        return Deployments(self.stand.environment).require(self.stand.name)

    def goes_on(self, before: Deployment) -> None:
        """The job before answers, and nothing is left of an upgrade."""
        deployments = Deployments(self.stand.environment)
        assert ProgressFile(deployments, self.stand.name).find() is None
        assert deployments.find(self.stand.name, green=True) is None
        assert self.record.generation == before.generation
        self.stand.goes_on(RATE)


@pytest.fixture(scope="module")
def run(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """At the end each record is answered once, each frame goes on where the one before ended, and all was the first plan's."""
    stand = Stand(cluster, tmp_path_factory.mktemp("bad-upgrades"), "bad-upgrades")
    found = Run(stand)
    with flowing(stand, messages(bad=False), RATE) as enough:
        stand.goes_on(RATE)
        yield found
        enough.set()
    once_each(stand)
    stand.cancel()
    assert {frame.provenance.extractor.rpartition(":")[0] for frame in stand.frames()} == {"identity+mean:1.1"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", REFUSED)
def test_state_that_the_code_can_not_read_is_refused_before_anything_is_stopped(run: Run, what: str, mode: str) -> None:
    before, bad = run.record, REFUSED[what]
    said = run.refused("upgrade", run.stand.name, "--mode", mode, "--plan", run.plan_of(bad))
    assert matches(bad, said), said
    assert replace(run.record, generations=before.generations) == before
    run.goes_on(before)


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
def test_a_job_that_crashes_at_its_start_is_ended_and_the_one_before_goes_on(run: Run, mode: str) -> None:
    before = run.record
    said = run.refused("upgrade", run.stand.name, "--mode", mode, "--plan", run.plan_of(CRASHES))
    assert matches(CRASHES, said), said
    assert mode == "savepoint" or run.record.job_id == before.job_id, "it was never stopped"
    run.goes_on(before)


@pytest.mark.long
def test_a_green_that_never_catches_up_is_ended_with_its_lag(run: Run) -> None:
    before = run.record
    said = run.refused("upgrade", run.stand.name, "--mode", "handover", "--plan", run.plan_of(SLOW), "--timeout", "20")
    assert matches(SLOW, said), said
    assert run.record.job_id == before.job_id
    run.goes_on(before)


def test_two_upgrades_at_once(run: Run) -> None:
    before, name = run.record, run.stand.name
    with Upgrading(run.stand, "--mode", "savepoint", "--plan", run.plan_of(Bad(""))) as upgrading:
        upgrading.wait_for("prepare")
        with upgrading.halted():
            assert "is under way already" in run.refused("upgrade", name, "--mode", "savepoint")
            assert "is under way already" in run.refused("rescale", name, "1")
            for command in (("cancel", name), ("savepoint", name), ("submit", "detect", "--plan", run.plan)):
                assert f"an upgrade of prod.{name} (savepoint) is at its step 'prepare'" in run.refused(*command)
    assert f"an upgrade of prod.{name} by savepoint was interrupted" in run.refused("upgrade", name, "--mode", "handover")
    assert run.stand.rows("upgrade", name, "--abort")[0]["undone"]
    assert run.record.job_id == before.job_id
    run.goes_on(before)


def test_state_that_is_missing_truncated_or_of_another_deployment_starts_nothing(run: Run, tmp_path: Path) -> None:
    before, [saved] = run.record, run.stand.rows("savepoint", run.stand.name)
    whole = Path(saved["location"].removeprefix("file:"))
    truncated = shutil.copytree(whole, tmp_path / "truncated")
    os.truncate(truncated / "_metadata", 1_000)
    other = ("submit", "detect", "--plan", run.plan, "--deployment", "other", "--parallelism", "1", "--from")
    assert "is not a complete checkpoint or savepoint" in run.refused(*other, tmp_path / "missing")
    assert "no checkpoint or savepoint of prod.other is known" in run.refused(*other, "latest")
    assert "truncated can't be read as a savepoint or checkpoint: EOFException" in run.refused(*other, truncated)
    assert f"is of deployment prod.{run.stand.name}, not of prod.other" in run.refused(*other, whole)
    assert "runs already" in run.refused("submit", "detect", "--plan", run.plan, "--from", "latest")
    assert Deployments(run.stand.environment).find("other") is None
    assert replace(run.record, generations=before.generations) == before
    run.goes_on(before)


def matches(bad: Bad, said: str) -> bool:
    return re.search(bad.reason, said) is not None
