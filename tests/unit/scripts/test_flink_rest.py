"""What Flink's REST interface says, in words."""

from __future__ import annotations

import pytest

from swapstream.scripts.flink_rest import cause

PYTHON = """java.lang.RuntimeException: Error while processing
\tat org.apache.flink.streaming.runtime.tasks.StreamTask.invoke(StreamTask.java:900)
Caused by: java.lang.RuntimeException: Error received from SDK harness for instruction 2: Traceback (most recent call last):
  File "/operators/shard.py", line 183, in _entered
    found = entrance(offset)
swapstream.models.errors.InvalidPlan: the upgrade to plan 4289913df095…: no extractor: KeyError: 'HERE'

\tat org.apache.beam.runners.fnexecution.control.FnApiControlClient.handle(FnApiControlClient.java:180)
\t... 1 more
"""
JAVA = "java.lang.Exception: a\n\tat x.Y\nCaused by: java.io.IOException: disk full\n\tat x.Z\n\t... 3 more\n"


@pytest.mark.parametrize(("trace", "said"), [
    (PYTHON, "swapstream.models.errors.InvalidPlan: the upgrade to plan 4289913df095…: no extractor: KeyError: 'HERE'"),
    (JAVA, "java.io.IOException: disk full"),
    ("", ""),
])  # fmt: skip
def test_of_a_failure_its_cause_is_told(trace: str, said: str) -> None:
    assert cause(trace) == said
