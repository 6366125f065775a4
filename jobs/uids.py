"""Fixed uids for every operator, SQL's included: state is found by them, so they never change silently.

SQL's own uids hold a counter: one statement more, and a savepoint's offsets would vanish without a word. Here an operator is
named after the table or operator its chain belongs to and after what it does: telemetry-windowaggregate, output-sink. Of the output's
sink each line of jobs has its own, output-sink-3: no job takes over the transactions of another that still runs.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from pyflink.datastream import StreamExecutionEnvironment

from swapstream.jobs.stateful import OUTPUT_SINK, sink_uid
from swapstream.models.errors import InvalidSettings

ENDS = {"SourceTransformation": "source", "SinkTransformation": "sink"}
WITHOUT_STATE = ("PartitionTransformation", "SideOutputTransformation")


def set_uids(env: StreamExecutionEnvironment, line: int = 0) -> list[str]:
    """Give every operator of a job of this line its uid and return them, sorted. Raises InvalidSettings if two would be the same."""
    every = transformations(env)
    named = {t.getId(): t.getUid() for t in every if kind(t).startswith("Python")}
    chains = [upwards(t, named) for t in every if kind(t) == "SinkTransformation"]
    chains += [upwards(source, named) for t in every if t.getId() in named for source in t.getInputs()]
    for chain in chains:
        name_chain(chain, named, line)
    uids = sorted(named.values())
    if len(set(uids)) < len(uids):
        twice = Counter(uids).most_common(1)[0][0]
        raise InvalidSettings(f"operator uid {twice!r} is used twice: uids must differ")
    return uids


def name_chain(chain: list[Any], named: dict[int, str], line: int) -> None:
    """Name a chain's operators after its table, which stands in the name of its source or its sink; a chain from one to the other
    is the source's."""
    ends = [end for end in (chain[-1], chain[0]) if kind(end) in ENDS]
    seen: Counter[str] = Counter()
    for transformation in chain:
        end = ENDS.get(kind(transformation))
        uid = f"{table_of(transformation if end else ends[0])}-{end or slug(transformation)}"
        seen[uid] += 1
        uid = uid if seen[uid] == 1 else f"{uid}-{seen[uid]}"
        uid = sink_uid(line) if uid == OUTPUT_SINK else uid
        transformation.setUid(uid)
        named[transformation.getId()] = uid


def table_of(end: Any) -> str:
    """The table of a source or sink."""
    return slug(end).split("default-database-")[-1]


def upwards(transformation: Any, stop: dict[int, str]) -> list[Any]:
    """An operator and those before it, up to one that is named or a source. Partitioning has no state and no uid."""
    chain = []
    while transformation.getId() not in stop:
        if kind(transformation) not in WITHOUT_STATE:
            chain.append(transformation)
        if not transformation.getInputs():
            break
        transformation = transformation.getInputs()[0]
    return chain


def transformations(env: StreamExecutionEnvironment) -> list[Any]:
    """Every Java transformation of the job, each once, in the order they were made."""
    found: dict[int, Any] = {}
    waiting = list(env._j_stream_execution_environment.getTransformations())
    while waiting:
        transformation = waiting.pop()
        if transformation.getId() not in found:
            found[transformation.getId()] = transformation
            waiting.extend(transformation.getInputs())
    return [found[key] for key in sorted(found)]


def kind(transformation: Any) -> str:
    """Its class, without the package."""
    return str(transformation.getClass().getSimpleName())


def slug(transformation: Any) -> str:
    """Its name in lower case, without SQL's counters."""
    return re.sub(r"[^a-z]+", "-", re.sub(r"\[\d+\]", "", transformation.getName()).lower()).strip("-")
