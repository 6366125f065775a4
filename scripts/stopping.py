"""A job's end by a savepoint, wherever an earlier attempt at it was interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from swapstream.models.errors import ClusterError
from swapstream.scripts.flink_rest import ENDED
from swapstream.scripts.job_operator import JobOperator
from swapstream.scripts.savepoint_files import Format, Shelf
from swapstream.scripts.savepoints import finished

POLL = 0.05
RECOVERY_S = 60.0
"""How long a job may take that is being started again."""
GENTLE_S = 30.0
"""How long a job may take to end of itself."""


def stop_with_savepoint(
    flink: JobOperator, shelf: Shelf, job_id: str, place: str, form: Format, seconds: float, trigger: str, asked: Callable[[str], None]
) -> str:
    """Where the savepoint lies, once it is complete and the job has ended. Raises ClusterError where the job goes on, or ended without.

    `place` is the savepoint's id on the shelf. `asked` is told the request's id before anything is waited for; `trigger` is one of
    before an interruption, "" for none.
    """
    until = time.monotonic() + seconds
    if not trigger:
        let_finish(flink, job_id, seconds)
        let_recover(flink, job_id)
    if not trigger and flink.state(job_id) == "RUNNING":
        trigger = flink.rest.stop(job_id, shelf.target(place), form.upper())
        asked(trigger)
    found = finished(flink.rest, job_id, trigger, seconds) if trigger and flink.state(job_id) is not None else shelf.complete(place)
    while found and flink.state(job_id) not in (None, *ENDED):
        if time.monotonic() > until:
            raise ClusterError(f"job {job_id} still is {flink.state(job_id)} {seconds:.0f} s after its savepoint was asked for")
        time.sleep(POLL)
    if found is None and (state := flink.state(job_id)) not in (None, *ENDED):
        raise ClusterError(f"job {job_id} is {state}: only one that runs can be saved")
    if found is None:
        raise ClusterError(f"job {job_id} has ended ({flink.state(job_id) or 'it is not known'}) without a savepoint")
    return found


def end(flink: JobOperator, shelf: Shelf, job_id: str) -> None:
    """End a job of which nothing is needed any more, while others go on beside it. Raises ClusterError.

    Where it can be, with a savepoint that is thrown away: its sources end first, and its bundles with them. When a job is cancelled in the
    midst of a bundle Beam, seldom, miscounts the references to its worker, and Flink gives up the whole TaskManager.
    """
    place = f"end-{job_id[:6]}"
    if flink.state(job_id) == "RUNNING" and shelf.here:
        with suppress(ClusterError):
            if flink.is_running(job_id):
                stop_with_savepoint(flink, shelf, job_id, place, "native", GENTLE_S, "", lambda _: None)
    flink.cancel(job_id)
    shelf.clear(place)


def let_finish(flink: JobOperator, job_id: str, seconds: float) -> None:
    """Wait for a savepoint that somebody who is gone has asked for."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and flink.state(job_id) not in (None, *ENDED) and _saving(flink.rest.checkpoints(job_id)):
        time.sleep(POLL)


def let_recover(flink: JobOperator, job_id: str) -> None:
    """Wait for a job that is being started again after a failure: until all its tasks run it can't be saved."""
    until = time.monotonic() + RECOVERY_S
    while time.monotonic() < until and flink.state(job_id) not in (None, *ENDED) and not flink.is_running(job_id):
        time.sleep(POLL)


def _saving(checkpoints: dict[str, Any]) -> bool:
    return any(one.get("is_savepoint") and one.get("status") == "IN_PROGRESS" for one in checkpoints.get("history", []))
