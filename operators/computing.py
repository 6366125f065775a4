"""What a worker computes with, told on the ledger: equal bytes are promised for the same libraries and the same family of CPUs (C6)."""

from __future__ import annotations

import platform
from pathlib import Path

import msgspec

from swapstream.models.lineage import libraries
from swapstream.operators.assignment import Assignment
from swapstream.operators.ledger import LedgerRow
from swapstream.operators.run import Run

CPUINFO = Path("/proc/cpuinfo")
FAMILY = ("vendor_id", "cpu family", "model")
"""What Linux says of the first processor; other architectures have other words."""


class Computed(msgspec.Struct, frozen=True):
    """The versions of `libraries`, and the family of the `processor`."""

    libraries: dict[str, str]
    processor: str

    @classmethod
    def here(cls) -> Computed:
        """With what this process computes."""
        return cls({"python": platform.python_version(), **libraries()}, processor())

    def unlike(self, other: Computed) -> list[str]:
        """What is another one elsewhere, as "numpy 2.1.3, not 2.1.2"; what one of them lacks does not count."""
        both = [(name, version, other.libraries.get(name, version)) for name, version in self.libraries.items()]
        both.append(("processor", self.processor, other.processor))
        return [f"{name} {mine}, not {theirs}" for name, mine, theirs in both if mine != theirs]


def computing(assignment: Assignment, run: Run, subtask: int, here: Computed, time: int) -> LedgerRow:
    """The row of a worker that takes its first record, of this log time [ms]. The id is another for each job and attempt."""
    a = assignment
    writer = f"{a.namespace}/{a.deployment}/worker/{subtask}"
    return LedgerRow(
        f"{writer}/computing/{run.job or a.generation}/{run.attempt or 0}",
        a.namespace,
        a.deployment,
        "computing",
        writer,
        time,
        job=run.job,
        attempt=run.attempt,
        generation=a.generation,
        libraries=here.libraries,
        processor=here.processor,
    )


def processor(cpuinfo: Path = CPUINFO) -> str:
    """The family of this machine's processors: the architecture, and behind it vendor, family and model where Linux tells them."""
    told = first_processor(cpuinfo)
    return " ".join([platform.machine(), *(told[key] for key in FAMILY if key in told)])


def first_processor(cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """What Linux says of it, in its words; nothing elsewhere."""
    try:
        first, _, _ = cpuinfo.read_text().partition("\n\n")
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
