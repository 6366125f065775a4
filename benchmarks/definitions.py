"""What a worker does with definitions before it begins: `python -m benchmarks.definitions [--json FILE]`. No cluster.

Reads 1,000 definitions as every worker of a job does when it starts, and again after each restart: decodes them, looks at each body's
digest and at its signature. Bodies of three sizes, and models by reference; each signed, and as an older release wrote it, unsigned.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec

from benchmarks.report import write_json
from swapstream.operators.definitions import Definitions
from swapstream.operators.signing import Signer
from swapstream.operators.statement import Statement, digest_of, encode_definition
from swapstream.operators.trust import KeyMessage
from swapstream.scripts.console import show

NAMESPACE, GOAL_SECONDS, REPEATS = "prod", 0.5, 5
SIZES = (2_000, 32_000, 256_000)


class Row(msgspec.Struct, frozen=True):
    """The best of REPEATS readings."""

    what: str
    count: int
    signed_ms: float
    unsigned_ms: float

    @property
    def signature_us(self) -> float:
        """Of one definition."""
        return (self.signed_ms - self.unsigned_ms) * 1000 / self.count


def inline(size: int) -> Callable[[int], Statement]:
    """Models of so many bytes."""

    def model(number: int) -> Statement:
        body = secrets.token_bytes(size)
        return Statement("model", NAMESPACE, f"m-{number}:1", digest_of(body), "a person", 1, "", body)

    return model


def by_reference(number: int) -> Statement:
    digest = digest_of(str(number).encode())
    return Statement("model", NAMESPACE, f"m-{number}:1", digest, "a person", 1, "", b"", 10_000_000, f"objects/{digest}")


def first_key(signer: Signer) -> bytes:
    body = KeyMessage(signer.id, signer.public, "trust", "a key", 1).encode()
    return encode_definition("key", NAMESPACE, signer.id, body, "a person", 1, "", signer)[1]


def read_ms(records: list[bytes]) -> float:
    """Milliseconds for a reader that starts with nothing."""
    times = []
    for _ in range(REPEATS):
        definitions, began = Definitions(), time.perf_counter()
        for offset, value in enumerate(records):
            definitions.add(offset, value)
        times.append(time.perf_counter() - began)
    return min(times) * 1000


def rows(count: int) -> Iterator[Row]:
    signer = Signer.new()
    kinds = {f"{size:,} bytes": inline(size) for size in SIZES} | {"by reference": by_reference}
    for what, make in kinds.items():
        statements = [make(number) for number in range(count)]
        signed = [first_key(signer), *(statement.encode(signer) for statement in statements)]
        yield Row(what, count, read_ms(signed), read_ms([statement.encode() for statement in statements]))


@click.command()
@click.option("--count", default=1000, show_default=True, type=click.IntRange(1), help="How many definitions.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write everything here.")
def main(count: int, json_file: Path | None) -> None:
    """Measure how long a worker takes to read definitions."""
    found = list(rows(count))
    write_json(json_file, rows=found, goal_seconds=GOAL_SECONDS)
    show(({"definitions": f"{row.count:,} of {row.what}", "ms": f"{row.signed_ms:.0f}", "ms unsigned": f"{row.unsigned_ms:.0f}",
           "µs a signature": f"{row.signature_us:.0f}"} for row in found),
         ("definitions", "ms", "ms unsigned", "µs a signature"), False, "Reading definitions, one worker")
    small = found[0].signed_ms / 1000
    if small > GOAL_SECONDS * count / 1000:
        sys.exit(f"missed: {count} definitions of {found[0].what} took {small:.2f} s, the goal is {GOAL_SECONDS} s for 1,000")


if __name__ == "__main__":
    main()
