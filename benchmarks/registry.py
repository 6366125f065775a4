"""How long the list of a store takes: `python -m benchmarks.registry [--versions N] [--json FILE]`. No cluster.

Fills a store in a folder of its own with versions of a few models, and runs `swapstream models list` as a user does, a process each time:
with the index as the last run left it, with one version that has come since, and without an index, which is then made of all artifacts.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import msgspec
import numpy as np

from benchmarks.report import write_json
from swapstream.models import Store, train
from swapstream.models.artifact import Artifact
from swapstream.models.manifest import Lineage
from swapstream.scripts.console import progress, show

GOAL_SECONDS, REPEATS, NAMES = 1.0, 5, 10


class Row(msgspec.Struct, frozen=True):
    """Seconds of `models list`, from the process's start to its end: best and worst of `runs`. `goal`: None where there is none."""

    what: str
    versions: int
    runs: int
    best: float
    worst: float
    goal: float | None = None

    @property
    def met(self) -> bool:
        return self.goal is None or self.worst < self.goal


def model() -> Artifact:
    rows = np.random.default_rng(0).normal(size=(500, 24))
    return train("zscore", rows, name="m", lineage=Lineage("bench", "2026-01-01T00:00:00+00:00", "benchmark"))


def fill(store: Store, count: int) -> None:
    """`count` versions of NAMES models."""
    made = model()
    with progress("versions") as bar:
        task = bar.add_task("filling a store", total=count)
        for number in range(count):
            store.put(renamed(made, f"model-{number % NAMES}", number // NAMES + 1))
            bar.advance(task)


def renamed(made: Artifact, name: str, version: int) -> Artifact:
    return msgspec.structs.replace(made, manifest=msgspec.structs.replace(made.manifest, name=name, version=version))


def listed(environment: Path, versions: int, as_json: bool) -> float:
    """Seconds of one run, which must show every version."""
    command = [str(Path(sys.executable).parent / "swapstream"), "--environment", str(environment), "models", "list"]
    began = time.perf_counter()
    done = subprocess.run([*command, *(["--json"] if as_json else [])], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    shown = len(done.stdout.splitlines())
    if shown != versions + (0 if as_json else 1):
        raise click.ClickException(f"{shown} lines for {versions} versions")
    return seconds


def measured(folder: Path, count: int) -> list[Row]:
    environment = folder / "here.yaml"
    environment.write_text(f"directory: {folder}\n")
    store = Store(folder / "store")
    fill(store, count)
    cold = [listed(environment, count, False)]
    warm = [listed(environment, count, False) for _ in range(REPEATS)]
    json = [listed(environment, count, True) for _ in range(REPEATS)]
    later = []
    for extra in range(REPEATS):
        store.put(renamed(model(), "later", extra + 1))
        later.append(listed(environment, count + extra + 1, False))
    return [
        row("with its index", count, warm, GOAL_SECONDS), row("with its index, --json", count, json, GOAL_SECONDS),
        row("after one more version", count, later, GOAL_SECONDS), row("without an index", count, cold, None),
    ]  # fmt: skip


def row(what: str, versions: int, seconds: list[float], goal: float | None) -> Row:
    return Row(what, versions, len(seconds), min(seconds), max(seconds), goal)


@click.command()
@click.option("--versions", type=click.IntRange(201), default=10_000, show_default=True, help="In the store.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write everything here.")
def main(versions: int, json_file: Path | None) -> None:
    """Time `swapstream models list` over a store with many versions."""
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(Path(folder), versions)
    columns = ("models list", "versions", "runs", "best s", "worst s", "goal")
    show(({"models list": one.what, "versions": f"{one.versions:,}", "runs": one.runs, "best s": f"{one.best:.2f}",
           "worst s": f"{one.worst:.2f}", "goal": "" if one.goal is None else f"{'met' if one.met else 'MISSED'}: under {one.goal:g} s"}
          for one in rows), columns, False)  # fmt: skip
    write_json(json_file, rows=rows, goal_seconds=GOAL_SECONDS)
    sys.exit(0 if all(one.met for one in rows) else 1)


if __name__ == "__main__":
    main()
