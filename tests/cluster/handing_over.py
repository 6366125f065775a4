"""What the tests of handovers share: the command in a process of its own, whom to kill while it is at a step, and what must be so."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import psutil

from swapstream.operators.chaining import Chaining, Gap
from swapstream.operators.cut import Cut
from swapstream.operators.scores import ScoresFrame
from swapstream.scripts.deployments import Deployments
from swapstream.scripts.processes import marked
from swapstream.scripts.publish import read_definitions
from swapstream.scripts.upgrade_progress import ProgressFile

from .demo import FEATURES, PATH, SCHEMA, smoothed
from .local import COMMAND
from .support import Place, Stand, readings, wait_until

EXTRACTORS = {1: smoothed(5.0), 2: [*smoothed(5.0), "differences"]}
NAMES = {1: FEATURES, 2: (*FEATURES, *(f"{name}.difference" for name in SCHEMA.names))}


def plans_of(stand: Stand) -> dict[int, Path]:
    """Two plans that differ in their extractor, so in their model as well."""
    found = {}
    for number, names in NAMES.items():
        rows = np.random.default_rng(number).normal(size=(2000, len(names)))
        found[number] = stand.plan(f"plan-{number}", PATH, EXTRACTORS[number], stand.train("zscore", number, rows, names))
    return found


class Upgrading:
    """`swapstream upgrade` in a process of its own. A context manager; leaving it ends the process."""

    def __init__(self, stand: Stand, *arguments: str | Path) -> None:
        self.stand = stand
        self._command = [COMMAND, "--env", str(stand.path), "upgrade", stand.name, *map(str, arguments), "--json"]
        deployments = Deployments(stand.environment)
        self._progress = ProgressFile(deployments, stand.name)
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()

    @contextmanager
    def halted(self) -> Iterator[None]:
        """Nothing of it goes on meanwhile but what it has started."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @property
    def step(self) -> str:
        """The one that it is at; "" while there is none."""
        found = self._progress.find()
        return found.step if found else ""

    def wait_for(self, step: str, seconds: float = 120.0) -> None:
        """Return as soon as it is there. Fails when the command ends before."""

        def there() -> bool:
            assert self._process.poll() is None, f"it ended with {self._process.returncode} before {step!r}: {self.ended()}"
            return self.step == step

        wait_until(there, seconds, f"the upgrade is at its step {step!r}", 0.01)

    def kill(self) -> None:
        """-9, and what it has started goes on."""
        self._process.kill()
        self._process.communicate()

    def ended(self, seconds: float = 240.0) -> tuple[int, str, str]:
        """Its exit code and what it said."""
        out, err = self._process.communicate(timeout=seconds)
        return self._process.returncode, out, err

    def finished(self, seconds: float = 240.0) -> dict[str, Any]:
        """What it told. Fails when it failed."""
        code, out, err = self.ended(seconds)
        assert code == 0, f"{self._command} exited with {code}:\n{err}"
        return dict(json.loads(out))


def refusal(stand: Stand, *arguments: str | Path) -> str:
    """The one line with which a command is refused."""
    command = [COMMAND, "--env", str(stand.path), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (2, 4, 5), done.stderr
    return str(done.stderr.strip().splitlines()[-1])


def workers(stand: Stand) -> set[psutil.Process]:
    """The Python processes of TaskManagers that run shards."""
    found = set()
    for process in marked(stand.environment.path):
        with suppress(psutil.Error):
            if "pyflink.fn_execution.beam.beam_boot" in " ".join(process.cmdline()):
                found.add(process)
    return found


class Cuts(NamedTuple):
    """The plan before all cuts, and those there were."""

    first: str
    cuts: list[Cut]

    def implied(self, place: Place) -> tuple[int, str]:
        """Epoch and digest of the plan of the record at a place."""
        partition, offset = place
        before = [(cut.epoch, cut.plan) for cut in self.cuts if cut.covers(partition, offset)]
        return max(before, default=(0, self.first))


def cuts_of(stand: Stand, first: str) -> Cuts:
    return Cuts(first, read_definitions(stand.environment).cuts("prod", stand.name))


def wrong(stand: Stand, cuts: Cuts) -> list[str]:
    """What is not as the log implies: each record once, by its plan and extractor, in the input's order, without a gap. One line each."""
    answers, telemetry, frames = stand.settle(120), stand.telemetry(), stand.frames()
    found = [f"{place} is answered {times} times" for place, times in answers.items() if times != 1]
    found += [f"{place} is answered, and is no reading" for place in answers.keys() - readings(telemetry).keys()]
    extractors: dict[str, set[str]] = {}
    for frame in frames:
        said = frame.provenance
        extractors.setdefault(said.plan_digest, set()).add(said.extractor)
        for offset in frame.column("offsets").tolist():
            if cuts.implied((said.partition, offset)) != (said.epoch, said.plan_digest):
                found.append(f"{said.partition}:{offset} is of epoch {said.epoch}, not {cuts.implied((said.partition, offset))}")
    found += [f"plan {plan[:8]} with extractors {names}" for plan, names in extractors.items() if len(names) > 1]
    if len({name for names in extractors.values() for name in names}) < len(extractors):
        found.append(f"plans {list(extractors)} with the same extractor")
    return [*found, *unchained(frames, whole=not stand.since)]


def unchained(frames: list[ScoresFrame], whole: bool) -> list[str]:
    """Gaps and repeats in the chain of `prev` (`whole`: from its beginning), and devices whose records are not in the input's order
    behind it."""
    chaining = Chaining(whole)
    taken = [one for frame in frames for one in chaining.take(frame)] + chaining.give_up()
    found = [str(one) for one in taken if isinstance(one, Gap)]
    found += [f"{chaining.repeats} readings are repeats"] if chaining.repeats else []
    last: dict[tuple[int, str], int] = {}
    for frame in taken:
        if isinstance(frame, ScoresFrame):
            for device, offset in zip(np.frombuffer(frame.device, "<i4").tolist(), frame.column("offsets").tolist(), strict=True):
                whose = frame.provenance.partition, frame.devices[device]
                if offset <= last.get(whose, -1):
                    found.append(f"{whose} at {offset} comes after {last[whose]}")
                last[whose] = offset
    return found


def again_until_done(stand: Stand, begun: Upgrading, *arguments: str | Path) -> dict[str, Any]:
    """What a user does after a failure: the same command once more, until it succeeds."""
    for _ in range(3):
        code, out, err = begun.ended()
        if code == 0:
            return dict(json.loads(out))
        assert "Traceback" not in err, err
        begun = Upgrading(stand, *arguments)
    with begun:
        return begun.finished()


def at_the_moment(moment: str, upgrading: Upgrading, act: Callable[[], None]) -> None:
    """Do something while the upgrade is at a step; "after" it has ended."""
    if moment == "after":
        wait_until(lambda: upgrading.step == "promote", 240, "the upgrade is at its end", 0.01)
        wait_until(lambda: upgrading.step == "", 60, "the upgrade has ended", 0.01)
    else:
        upgrading.wait_for(moment)
    time.sleep(0.2 if moment != "savepoint" else 0.0)
    act()
