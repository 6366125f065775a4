"""Whether state is of the job that is to start from it, operator by operator; known before anything starts."""

from __future__ import annotations

from swapstream.jobs.spec import MAX_PARALLELISM, JobSpec
from swapstream.jobs.stateful import stateful_uids
from swapstream.models.errors import InvalidSettings
from swapstream.scripts.state_file import COMMITTER, StateFile, is_sink


def check_state(state: StateFile, after: JobSpec, leave_sinks: bool = False) -> None:
    """Raises InvalidSettings naming what does not fit. With `leave_sinks` state of the output's sink, and of nothing else, may be such
    that no operator takes it over."""
    _same_deployment(state, after)
    _same_operators(state, after, leave_sinks)
    strange = sorted(state.positions.keys() - after.start_offsets.keys())
    if strange:
        raise InvalidSettings(f"{state.uri} has positions in partitions {strange} of {after.topics['telemetry']}, "
                              f"and the deployment was submitted with {len(after.start_offsets)} partitions")  # fmt: skip


def _same_deployment(state: StateFile, after: JobSpec) -> None:
    """Sinks under exactly_once have it in their state."""
    others = state.writers - {after.name}
    if others:
        raise InvalidSettings(f"{state.uri} is of deployment {', '.join(sorted(others))}, not of {after.name}")


def _same_operators(state: StateFile, after: JobSpec, leave_sinks: bool) -> None:
    known = stateful_uids(after.line, after.job)
    there = {operator.uid.removeprefix(COMMITTER) for operator in state.operators if operator.stateful}
    left = sorted(uid for uid in there - known if not (leave_sinks and is_sink(uid)))
    if left:
        raise InvalidSettings(f"{state.uri} is of another job: it has state of {', '.join(map(repr, left))}, and {after.job} "
                              f"({after.name}, line {after.line}) has no such operator")  # fmt: skip
    absent = sorted(uid for uid in known - there if uid in ("telemetry-source", "parameters-source"))
    if absent:
        raise InvalidSettings(f"{state.uri} is of another job: it has no state of {', '.join(map(repr, absent))}")
    other = sorted(operator.uid for operator in state.operators if operator.stateful and operator.max_parallelism != MAX_PARALLELISM)
    if other:
        raise InvalidSettings(f"{state.uri}: {', '.join(map(repr, other))} has another maximum parallelism than {MAX_PARALLELISM}")
