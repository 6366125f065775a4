"""JSON: named values at paths, microseconds, a limit to how old a reading may be; and what can be wrong with it, through the real job."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from swapstream.scripts.flink_rest import FlinkRest

from .support import Place, Stand, places, readings, send

pytestmark = pytest.mark.cluster

NOW = time.time_ns() // 1_000
SCHEMA = {"name": "fan", "codec": "json", "layout": "named", "values": "", "device": ["meta", "serial"], "time": "ts", "time_unit": "us",
          "max_behind": "30d", "fields": ["speed", {"name": "bearing", "path": ["vibration", "rms"]}]}
GOOD = b'{"meta":{"serial":"f-1","firmware":"2.1"},"ts":%d,"speed":1480,"vibration":{"rms":0.4}}' % NOW
WELL_FORMED_AND_ODD = [
    GOOD.replace(b"1480", b"123456789012345678901234567890"),
    GOOD.replace(b'"speed":1480', b'"speed":1,"speed":1480'),
    GOOD.replace(b'"ts":%d' % NOW, b'"ts":%d' % (NOW - 29 * 86_400 * 1_000_000)),
]
BAD = [
    (GOOD.replace(b"%d" % NOW, b"123456789012345678901234567890"), "time"),
    (GOOD.replace(b"%d" % NOW, b"%d" % (NOW // 1_000)), "time"),
    (GOOD.replace(b"1480", b"9" * 400), "invalid"),
    (GOOD.replace(b"1480", b"NaN"), "malformed"),
    (GOOD.replace(b"1480", b"-Infinity"), "malformed"),
    (GOOD.replace(b"1480", b"true"), "invalid"),
    (GOOD.replace(b'"speed":1480,', b""), "invalid"),
    (GOOD.replace(b'"rms":0.4', b""), "invalid"),
    (GOOD.replace(b'"serial":"f-1",', b""), "invalid"),
    (GOOD.replace(b"f-1", b"f-\xff"), "malformed"),
    (GOOD + b" x", "malformed"),
    (GOOD[:-1], "malformed"),
    (GOOD[:-1] + b',"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "malformed"),
]


def test_json_is_scored_and_what_is_bad_of_it_harms_only_itself(cluster: Path, tmp_path: Path) -> None:
    stand = Stand(cluster, tmp_path, "json")
    schema = stand.write("fan", SCHEMA)
    model = stand.train("zscore", 1, np.random.default_rng(3).normal((1480, 0.4), (50, 0.1), (2_000, 2)), ("speed", "bearing"))
    [row] = stand.rows("submit", "detect", "--plan", stand.plan("plan", schema, ["identity"], model))
    try:
        send(stand, [(b"f-1", message) for one in [*WELL_FORMED_AND_ODD, *(bad for bad, _ in BAD)] for message in (one, GOOD)])
        answers = stand.settle()
        assert FlinkRest(stand.environment.flink.url).restarts(row["job"]) == 0
    finally:
        stand.cancel()
    sent = {place: record.value for place, record in readings(stand.telemetry()).items()}
    assert answers == dict.fromkeys(sent, 1)
    told: dict[Place, str] = {(letter.partition, letter.offset): letter.reason for letter in stand.dead_letters()}
    assert {sent[place]: reason for place, reason in told.items()} == dict(BAD)
    scored = Counter(sent[place] for frame in stand.frames() for place in places(frame))
    assert scored == Counter({GOOD: len(WELL_FORMED_AND_ODD) + len(BAD), **dict.fromkeys(WELL_FORMED_AND_ODD, 1)})
