"""A job that is to answer a span of telemetry only, as a backfill."""

from __future__ import annotations

import pytest

from swapstream.operators.scores import decode_scores
from tests.support.shards import EWM, Parameters, Worker, deployable, frame, reading, token

PLAN = deployable("plan", extractor=EWM, champion="a:1")
OTHER = deployable("other", champion="b:1")


def rows(spans: dict[int, tuple[int, int]], size: int) -> list[tuple[int, float, bool]]:
    """(offset, score, warming) of every answer to 40 records in frames of a size; a swap of another deployment lies among them."""
    parameters = Parameters()
    parameters.publish(PLAN, OTHER)
    worker = Worker(parameters, PLAN.digest, spans=spans)
    worker.read()
    said = [reading(f"pump-{n % 2}", (n * 0.3, -n * 0.7), time=1_000 + n) for n in range(40)]
    said[20] = token(1, OTHER.digest, parameters.end, deployment="production")
    out = [one for at in range(0, 40, size) for one in worker.shard.on_frame(frame(said[at : at + size], first=at))]
    frames = [decode_scores(one.value) for one in out if one.role == "scores"]
    return [(row["offset"], row["score"], row["warming"]) for one in frames for row in one.rows()]


@pytest.mark.parametrize("size", [1, 7, 40])
@pytest.mark.parametrize("span", [(0, 39), (10, 30), (39, 39), (5, 100)])
def test_the_span_is_answered_as_if_all_were(span: tuple[int, int], size: int) -> None:
    everything = rows({}, 40)
    assert len(everything) == 39
    assert rows({0: span}, size) == [row for row in everything if span[0] <= row[0] <= span[1]]


def test_an_empty_span_has_no_answers() -> None:
    assert rows({0: (30, 29)}, 7) == []
