"""What Swapstream's FlinkDeployments are known by, and what their status says."""

from __future__ import annotations

from typing import Any

PART_OF = {"app.kubernetes.io/part-of": "swapstream"}
JOB, RESOURCE, NAME = "swapstream/job", "swapstream/resource", "swapstream/deployment"
"""Labels: the id of the Flink job that is meant to run, the FlinkDeployment's name, and what Swapstream calls the deployment."""
NOT_YET = "INITIALIZING"


def state_of(found: dict[str, Any]) -> str:
    """Of the job that a FlinkDeployment is meant to run, in Flink's words. Its status may still be that of the job before."""
    status = found.get("status") or {}
    job = status.get("jobStatus") or {}
    if job.get("jobId") != found["metadata"]["labels"][JOB]:
        return "FAILED" if status.get("lifecycleState") == "FAILED" else NOT_YET
    return str(job.get("state") or NOT_YET)
