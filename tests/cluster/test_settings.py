"""Settings of an environment through the real job: state on disk, results that do not wait for a checkpoint."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swapstream.models.schema import encoder
from swapstream.scripts.topics import admin

from .demo import FEATURES, PATH, SCHEMA, smoothed
from .support import EPOCH_MS, Stand, send, send_to, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.long]

HOUR_MS = 3_600_000


def messages(rows: int, seed: int = 1) -> list[tuple[bytes, bytes]]:
    encode, values = encoder(SCHEMA), np.random.default_rng(seed).normal(size=(rows, len(SCHEMA.names))).tolist()
    return [(f"pump-{n % 20}".encode(), encode(f"pump-{n % 20}", EPOCH_MS + n, row)) for n, row in enumerate(values)]


def stateful(stand: Stand) -> Path:
    """A plan whose extractor remembers devices."""
    model = stand.train("zscore", 1, np.random.default_rng(3).normal(size=(2000, len(FEATURES))), FEATURES)
    return stand.plan("plan", PATH, smoothed(20), model)


@contextmanager
def running(stand: Stand, plan: Path, *options: str) -> Iterator[dict[str, Any]]:
    """A plan submitted and cancelled; what Flink says of the job's checkpoints."""
    [row] = stand.rows("submit", "detect", "--plan", plan, *options)
    try:
        yield checkpoints(stand, row["job"])
    finally:
        stand.cancel()


def checkpoints(stand: Stand, job: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{stand.environment.flink.url}/jobs/{job}/checkpoints/config") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def with_setting(stand: Stand, old: str, new: str) -> None:
    text = stand.path.read_text()
    assert old in text
    stand.path.write_text(text.replace(old, new))


def test_state_on_disk_survives_a_restart_and_is_not_read_as_another(cluster: Path, tmp_path: Path) -> None:
    stand = Stand(cluster, tmp_path, "rocks", state_backend="rocksdb", frame_ms=20, bundle_ms=20)
    plan = stateful(stand)
    with running(stand, plan) as found:
        assert "RocksDB" in found["state_backend"]
        send(stand, messages(600))
        assert set(stand.settle().values()) == {1}
    with_setting(stand, "rocksdb", "hashmap")
    stand.run("submit", "detect", "--plan", plan, "--from", "latest", code=2)
    with_setting(stand, "hashmap", "rocksdb")
    with_setting(stand, "frame_ms: 20", "frame_ms: 70")
    with running(stand, plan, "--from", "latest", "--parallelism", "1"):
        send(stand, messages(600, seed=2))
        answers = stand.settle()
    assert (len(answers), set(answers.values())) == (1200, {1})
    # Each of 20 devices warms up over 40 readings, 30 before the restart and 10 after it.
    assert sum(sum(frame.warming) for frame in stand.frames()) == 20 * 40, "devices were remembered"


def test_results_at_least_once_do_not_wait_for_a_checkpoint(cluster: Path, tmp_path: Path) -> None:
    stand = Stand(cluster, tmp_path, "soon", checkpoint_ms=HOUR_MS, transaction_timeout_ms=2 * HOUR_MS)
    with running(stand, stateful(stand), "--delivery", "at_least_once") as found:
        assert (found["interval"], "HashMap" in found["state_backend"]) == (HOUR_MS, True)
        send(stand, messages(600))
        wait_until(lambda: len(stand.answers()) == 600, 60, "everything is answered, though no checkpoint has been")
    with admin(stand.environment) as client:
        ids = [found.transactional_id for broker in client.list_transactions().values() for found in broker]
    assert not [each for each in ids if each.startswith(f"swapstream.prod.{stand.name}.")]


def test_the_doctor_finds_a_message_without_a_key(cluster: Path, tmp_path: Path) -> None:
    stand = Stand(cluster, tmp_path, "ill")
    send(stand, messages(50))
    rows = {row["check"]: row for row in stand.rows("doctor")}
    assert {row["state"] for row in rows.values()} == {"ok"}
    assert rows["keys"]["says"].startswith("50 messages of ill-telemetry lie where")
    partition, offset = send_to(stand, 1, b"no key")
    said = [json.loads(line) for line in stand.run("doctor", "--json", code=1).splitlines()]
    assert [row["says"] for row in said if row["state"] == "wrong"] == [
        f"ill-telemetry-{partition} at offset {offset}: a message without a key"]
