"""Somebody else's cluster: a broker with TLS, passwords and rights, a Flink that was started by hand, and a job sent as a bundle."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from swapstream.models.schema import encoder
from swapstream.scripts.access import rights
from swapstream.scripts.environment import ROOT, Environment

from .by_hand import FlinkByHand
from .local import COMMAND
from .secured import ADMIN, SecuredBroker
from .support import EPOCH_MS, Stand, demo_schema, send

pytestmark = [pytest.mark.cluster, pytest.mark.long]

VARIABLE, SECRET = "SWAPSTREAM_TEST_PASSWORD", "s3cret of swap"
PATH, SCHEMA = demo_schema()


class Elsewhere(Stand):
    """The deployment of a user who may do what the README names, and nothing else."""

    def __init__(self, directory: Path, broker: SecuredBroker, flink: FlinkByHand) -> None:
        self.name, self.directory, self.broker, self.flink = "away", directory, broker, flink
        self.path = self.environment_of("swap", "SCRAM-SHA-512", VARIABLE)
        self.bundle = directory / "bundle"

    def environment_of(self, user: str, mechanism: str, variable: str) -> Path:
        """The environment file of a user of the broker."""
        security = self.broker.security(user, mechanism, variable)
        return self.write(f"as-{user}", {
            "directory": str(self.directory / "state"), "flink": {"rest": self.flink.url},
            "broker": {"bootstrap": self.broker.servers, "security": security}, "job": {"checkpoint_ms": 1000}})

    def run_as(self, path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([COMMAND, "--env", str(path), *arguments], capture_output=True, text=True, timeout=240, check=False)

    def told(self) -> str:
        """Everything that Flink shows of the job, and everything that was written about it."""
        with urllib.request.urlopen(f"{self.flink.url}/jobs/overview") as answer:
            job = json.load(answer)["jobs"][-1]["jid"]
        pages = [urllib.request.urlopen(f"{self.flink.url}/{page}").read().decode()
                 for page in (f"jobs/{job}", f"jobs/{job}/config", f"jobs/{job}/plan", "jobmanager/config")]
        files = [path.read_text(errors="replace") for path in (self.directory / "state").rglob("*") if path.suffix in (".json", ".log")]
        return "\n".join([*pages, *files, self.flink.log("jobmanager"), self.flink.log("taskmanager")])


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    directory = tmp_path_factory.mktemp("elsewhere")
    broker = SecuredBroker(directory / "broker", {"swap": SECRET, "nobody": "no"})
    flink = FlinkByHand(directory / "flink", {VARIABLE: SECRET})
    with pytest.MonkeyPatch.context() as patch:
        for variable, secret in ((VARIABLE, SECRET), ("ADMIN_PASSWORD", ADMIN[1]), ("NOBODYS", "no"), ("WRONG", "guess")):
            patch.setenv(variable, secret)
        try:
            broker.start()
            flink.start()
            found = Elsewhere(directory, broker, flink)
            made = found.run_as(found.environment_of("admin", "PLAIN", "ADMIN_PASSWORD"), "topics")
            assert made.returncode == 0, made.stderr
            broker.allow("swap", rights(Environment()))
            found.run("keys", "new", "swap")
            found.run("keys", "trust")
            found.run("bundle", "-o", found.bundle)
            yield found
        finally:
            broker.stop()
            flink.stop()


@pytest.fixture(scope="module")
def plans(away: Elsewhere) -> tuple[Path, Path]:
    rows = np.random.default_rng(1).normal(size=(2000, len(SCHEMA.names)))
    models = [away.train("zscore", version, rows + version, tuple(SCHEMA.names)) for version in (1, 2)]
    first, second = (away.plan(f"plan-{number}", PATH, ["identity"], model) for number, model in enumerate(models))
    return first, second


@pytest.mark.parametrize(("user", "variable", "message"), [
    ("nobody", "NOBODYS", "user 'nobody' (SCRAM-SHA-512) may not Read on topic"),
    ("swap", "WRONG", "refuses user 'swap' (SCRAM-SHA-512): "),
    ("swap", "NEVER_SET", "environment variable NEVER_SET is not set"),
])
def test_who_may_not_is_told_in_one_line(away: Elsewhere, plans: tuple[Path, Path], user: str, variable: str, message: str) -> None:
    path = away.environment_of(user, "SCRAM-SHA-512", variable)
    try:
        done = away.run_as(path, "submit", "detect", "--plan", str(plans[0]), "--bundle", str(away.bundle))
    finally:
        away.environment_of("swap", "SCRAM-SHA-512", VARIABLE)
    assert done.returncode != 0
    [line] = done.stderr.splitlines()
    assert message in line


def test_a_job_sent_as_a_bundle_scores_reads_and_swaps(away: Elsewhere, plans: tuple[Path, Path]) -> None:
    line = away.run("submit", "detect", "--plan", plans[0], "--bundle", away.bundle, "--dry-run")
    assert "environment.tar.gz#environment" in line
    away.run("submit", "detect", "--plan", plans[0], "--bundle", away.bundle)
    send(away, messages(500))
    away.settle(90)
    check_workers(away)
    away.run("swap", "--plan", plans[1])
    send(away, messages(500))
    answers = away.settle(60)
    assert len(answers) == 1000
    assert set(answers.values()) == {1}
    assert {role.model for frame in away.frames() for role in frame.roles} == {"away:1", "away:2"}
    told = away.told()
    assert f"${{env:{VARIABLE}}}" in told
    assert SECRET not in told + line
    away.cancel()


def test_the_doctor_finds_nothing_wrong_with_who_has_the_rights_and_names_them_to_who_has_not(away: Elsewhere) -> None:
    assert [row for row in away.rows("doctor") if row["state"] == "wrong"] == []
    try:
        done = away.run_as(away.environment_of("nobody", "SCRAM-SHA-512", "NOBODYS"), "doctor", "--json")
    finally:
        away.environment_of("swap", "SCRAM-SHA-512", VARIABLE)
    wrong = {row["check"]: row["says"] for row in map(json.loads, done.stdout.splitlines()) if row["state"] == "wrong"}
    assert done.returncode == 1
    assert "Write on topic scores" in wrong["rights"]


def check_workers(away: Elsewhere) -> None:
    """They run the archive's Python and load everything from it."""
    assert away.flink.workers() != []
    for worker in away.flink.workers():
        assert "/python-archives/environment/bin/python3" in worker.exe()
        loaded = {mapped.path for mapped in worker.memory_maps()}
        assert not [path for path in loaded if path.startswith((str(ROOT), sys.prefix, sys.base_prefix)) and ".so" in path]
        assert str(ROOT) not in worker.environ().get("PYTHONPATH", "")


def messages(rows: int) -> list[tuple[bytes, bytes]]:
    encode, values = encoder(SCHEMA), np.random.default_rng(2).normal(size=(rows, len(SCHEMA.names))).tolist()
    return [(f"pump-{n % 20}".encode(), encode(f"pump-{n % 20}", EPOCH_MS + n, row)) for n, row in enumerate(values)]
