"""A job's graph, built inside the image from what lies there: its Python, its Flink, and the jar that jobs start from."""

from __future__ import annotations

import json

from swapstream.scripts.environment import Topics
from tests.cluster.test_uids import UIDS

from .root import Image

BUILD = """
import json, sys
from swapstream.jobs import detect
from swapstream.jobs.spec import JobSpec
from swapstream.jobs.uids import set_uids
spec = JobSpec("detect", "prod", "image", "0" * 64, 0, "broker:9092", json.loads(sys.argv[1]), 4, dict.fromkeys(range(4), 0))
detect.environment(spec).add_jars("file:///opt/swapstream/job/swapstream.jar")
print(json.dumps(set_uids(detect.build(spec))))
"""


def job_graph(image: Image) -> str:
    """What was built, in words. Raises RuntimeError, AssertionError."""
    topics = {role: topic.name for role, topic in Topics().by_role().items()}
    said = image.run(["python", "-c", BUILD, json.dumps(topics)])
    found = json.loads(said.splitlines()[-1])
    assert found == UIDS, found
    return f"the graph of detect builds, with its {len(found)} operators"
