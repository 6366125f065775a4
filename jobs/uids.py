"""Fixed uids for every operator, SQL's included: state is found by them, so they never change silently.

SQL's own uids hold a counter: one statement more and a savepoint's offsets would vanish. They are replaced by what an operator is.
"""

from __future__ import annotations

from typing import Any

from pyflink.datastream import StreamExecutionEnvironment



def transformations(env: StreamExecutionEnvironment) -> list[Any]:
    """Every Java transformation of the job, each once, by id."""
    found: dict[int, Any] = {}
    waiting = list(env._j_stream_execution_environment.getTransformations())
    while waiting:
        transformation = waiting.pop()
        if transformation.getId() not in found:
            found[transformation.getId()] = transformation
            waiting.extend(transformation.getInputs())
    return [found[key] for key in sorted(found)]


def describe(env: StreamExecutionEnvironment) -> list[tuple[str, str, str | None]]:
    """(class, name, uid) of every transformation."""
    return [(t.getClass().getSimpleName(), t.getName(), t.getUid()) for t in transformations(env)]
