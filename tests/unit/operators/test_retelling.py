"""What was made of readings, told again beside what was put out."""

from __future__ import annotations

import numpy as np
import pytest

from swapstream.operators.retelling import Columns, Retelling, in_order
from swapstream.operators.scores import decode_scores
from tests.support.shards import EWM, deployable, frame, reading, route, running

PLAN = deployable(
    "routed",
    extractor=("identity", *EWM),
    routes=(route("pump-1", champion="a:1", challengers=("b:1", "c:1")), route("pump-2", champion="d:1", canary="e:1"), route("pump-3")),
)


def readings(count: int) -> list[bytes]:
    return [reading(f"pump-{1 + n % 3}", (n * 0.5, -n * 0.25), time=1_000 + n) for n in range(count)]


def told(first: int = 0, device: str | None = None, count: int = 9, size: int = 4) -> tuple[Columns, list[dict]]:
    worker = running(PLAN)
    retelling = Retelling({0: first}, device)
    worker.shard.scoring.witness = retelling
    payloads = readings(count)
    out = [one for start in range(0, count, size) for one in worker.shard.on_frame(frame(payloads[start : start + size], first=start))]
    return retelling.columns(), [row for one in out if one.role == "scores" for row in decode_scores(one.value).rows()]


def column(found: Columns, name: str) -> list:
    return found[name].tolist()


def test_every_reading_is_told_with_its_values_and_features() -> None:
    found, _ = told()
    assert column(found, "offset") == list(range(9))
    assert column(found, "device")[:4] == ["pump-1", "pump-2", "pump-3", "pump-1"]
    values = [name for name in found if name.startswith("value.")]
    assert column(found, values[0]) == [n * 0.5 for n in range(9)]
    assert column(found, values[0].replace("value", "feature")) == column(found, values[0])
    assert set(column(found, "plan")) == {"routed"}


@pytest.mark.parametrize("role", ["champion", "canary"])
def test_scores_are_those_that_were_put_out(role: str) -> None:
    found, rows = told()
    emitted = {row["offset"]: row for row in rows if row["role"] == role}
    assert emitted
    names = zip(*(column(found, f"{role}.{name}") for name in ("model", "score", "threshold")), strict=True)
    for offset, (model, score, threshold) in enumerate(names):
        if offset in emitted:
            row = emitted[offset]
            assert (model.split("@")[0], score, threshold) == (row["model"], row["score"], row["threshold"])
        else:
            assert not model


def test_what_another_plan_has_is_empty_before() -> None:
    one, other = deployable("one", champion="a:1"), deployable("two", schema="wide", champion="f:1", challengers=("g:1",))
    retelling = Retelling({0: 0})
    for first, plan in ((0, one), (2, other)):
        worker = running(plan)
        worker.shard.scoring.witness = retelling
        worker.shard.on_frame(frame([reading(values=[1.0] * (2 + first // 2))] * 2, first=first))
    found = retelling.columns()
    assert retelling.columns() == {}
    assert found["offset"].tolist() == [0, 1, 2, 3]
    assert np.isnan(found["value.flow"]).tolist() == np.isnan(found["challenger g:1.score"]).tolist() == [True, True, False, False]
    assert [bool(name) for name in column(found, "challenger g:1.model")] == [False, False, True, True]
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(found, 4)


def test_columns_are_in_the_logs_order() -> None:
    places = [(0, 5, 0), (0, 5, 1), (1, 2, 0), (0, 7, 0), (1, 1, 3)]
    partition, offset, index = (np.array(column) for column in zip(*places, strict=True))
    found = in_order({"partition": partition, "offset": offset, "index": index, "device": np.array(list("abcde"), object)})
    assert list(zip(*(found[name].tolist() for name in ("partition", "offset", "index")), strict=True)) == sorted(places)
    assert "".join(found["device"]) == "abdec"
    assert in_order(found) is found


def test_each_challenger_has_columns_of_its_own() -> None:
    found, _ = told()
    names = {name for name in found if name.startswith("challenger")}
    assert {name.partition(".")[0] for name in names} == {"challenger b:1", "challenger c:1"}


def test_one_device_from_an_offset_on() -> None:
    found, _ = told(first=2, device="pump-1")
    assert column(found, "offset") == [3, 6]
    assert told(device="nobody")[0] == {}


def test_a_device_is_remembered_behind_the_last_record() -> None:
    worker = running(PLAN)
    worker.shard.on_frame(frame(readings(9)))
    (table,) = (table for _, table in worker.shard.tables.items())
    row = table.row("pump-2")
    assert row.keys() == table.columns.keys() | table.rings.keys()
    assert any(row["ewm.mean"] if "ewm.mean" in row else next(iter(row.values())))
    assert table.row("nobody") == {}
