"""Starting and stopping jobs. The one place that knows how: another operator of jobs would stand behind the same methods."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import time
import uuid
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from swapstream.jobs.spec import JobSpec
from swapstream.models.errors import ClusterError, UnknownName
from swapstream.scripts.bundled import run_options
from swapstream.scripts.code import shipped
from swapstream.scripts.environment import JARS, ROOT, Environment
from swapstream.scripts.flink_rest import ENDED, FlinkRest
from swapstream.scripts.rendering import flink_home, job_settings, process_environment

JOBS = {job: ROOT / "jobs" / f"{job}.py" for job in ("detect", "rekey")}


class Client:
    """A command that starts a job, under way in a process group of its own; `what` it is called in messages."""

    def __init__(self, arguments: list[str], variables: dict[str, str], log: Path, what: str = "flink run") -> None:
        self._arguments, self._log, self._what = arguments, log, what
        self._output = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        weakref.finalize(self, self._output.close)
        try:
            self._process = subprocess.Popen(arguments, env=variables, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self._output,
                                             stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
        except OSError as error:
            raise ClusterError(f"{what}: {error}") from error

    def wait(self) -> None:
        """Until the JobManager has taken the job; interrupted, it is ended. Raises ClusterError with the cause that Flink gives."""
        try:
            self._process.wait()
        except BaseException:
            self.kill()
            raise
        self.check()

    def check(self) -> bool:
        """Whether it has come to its end. Raises ClusterError where that was a failure."""
        code = self._process.poll()
        if code:
            self._output.seek(0)
            output = self._output.read()
            self._log.write_text(f"{shlex.join(self._arguments)}\n\n{output}")
            raise ClusterError(f"{self._what} failed: {cause(output)}; see {self._log}")
        return code is not None

    def kill(self) -> None:
        """End it, and what it started; a job that it has submitted by then stays."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class FlinkCommandLine:
    """Jobs of one cluster, through `flink run` and the REST interface. With a bundle, workers need nothing of ours."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.rest = FlinkRest(environment.flink.url)

    def arguments(self, job: str, spec: Path, parallelism: int, job_id: str, restore: str | Path | None = None,
                  bundle: Path | None = None, leave_sinks: bool = False, code: Sequence[str] | None = None) -> list[str]:
        """The whole `flink run` command. `restore` is a URI, or a file in which there will be one: the job's graph is built, and the
        job submitted as soon as it is there. With `leave_sinks` state that no operator claims is left behind: only that of sinks may
        be (`swapstream.scripts.state_check`). `code`: digests of users' code that is sent along, None: as the specification says.

        Raises UnknownName, ClusterError, InvalidSettings.
        """
        if job not in JOBS:
            raise UnknownName(f"job {job!r}; known: {', '.join(JOBS)}")
        sent = shipped(self.environment, (JobSpec.read(spec).code if spec.is_file() else ()) if code is None else code)
        later = ["--restore-from", str(restore), *(["--leave-unclaimed"] if leave_sinks else [])] if isinstance(restore, Path) else []
        now = ["-s", restore, *(["-n"] if leave_sinks else [])] if isinstance(restore, str) else []
        return [str(flink_home() / "bin" / "flink"), "run", "-d", f"-D$internal.pipeline.job-id={job_id}", *self._elsewhere(),
                *now, "-p", str(parallelism),
                *(run_options(bundle, job, sent) if bundle else self._here(job, sent)), "--spec", str(spec), *later]

    def _here(self, job: str, sent: Sequence[str]) -> list[str]:
        """Workers on this machine find everything where it lies, but for users' code."""
        more = ["-pyfs", ",".join(sent)] if sent else []
        return ["-C", connector().as_uri(), "-C", python_jar().as_uri(), *more, "-py", str(JOBS[job])]

    def _elsewhere(self) -> list[str]:
        """Where somebody else's cluster is, and what the configuration of ours says about jobs."""
        flink = self.environment.flink
        if not flink.rest:
            return []
        checkpoints = {"execution.checkpointing.dir": flink.checkpoints} if flink.checkpoints else {}
        return ["-m", flink.rest.removeprefix("http://"), *(f"-D{key}={value}" for key, value in (job_settings() | checkpoints).items())]

    def shell_line(self, arguments: list[str]) -> str:
        """The command as it could be typed. It holds no secrets: the job's specification names where they are."""
        if self.environment.flink.rest:
            return shlex.join(arguments)
        return shlex.join(["env", f"FLINK_CONF_DIR={self.environment.path / 'conf' / 'flink'}", *arguments])

    def run(self, arguments: list[str]) -> None:
        """Submit, and return when the JobManager has taken the job. Raises ClusterError with the cause that Flink gives."""
        self.start(arguments).wait()

    def start(self, arguments: list[str]) -> Client:
        """Begin to submit. Raises ClusterError."""
        for part in ("logs", "tmp"):  # `up` makes them, where there is anything to start
            (self.environment.path / part).mkdir(parents=True, exist_ok=True)
        return Client(arguments, process_environment(self.environment, mark=False), self.environment.path / "logs" / "flink-run.log")

    def state(self, job_id: str) -> str | None:
        """The job's state, None when the JobManager does not know it."""
        return self.states().get(job_id)

    def states(self) -> dict[str, str]:
        return {job["jid"]: job["state"] for job in self.rest.jobs()}

    def free_slots(self) -> int:
        return int(self.rest.overview()["slots-available"])

    def is_running(self, job_id: str) -> bool:
        """Whether every task runs, so that records are read. Raises ClusterError when the job has ended instead."""
        job = self.rest.job(job_id)
        if job["state"] in ENDED:
            raise ClusterError(f"job {job_id} is {job['state']}: {self.rest.exception(job_id)}")
        return job["state"] == "RUNNING" and all(vertex["status"] == "RUNNING" for vertex in job["vertices"])

    def cancel(self, job_id: str, seconds: float = 60.0) -> None:
        """Stop the job and wait for its end; a job that has ended or is not known is left alone."""
        if self.state(job_id) in (None, *ENDED):
            return
        self.rest.cancel(job_id)
        deadline = time.monotonic() + seconds
        while self.state(job_id) not in (None, *ENDED):
            if time.monotonic() > deadline:
                raise ClusterError(f"job {job_id} is still {self.state(job_id)} {seconds:.0f} s after it was cancelled")
            time.sleep(0.1)


def end_clients(job_id: str) -> None:
    """End every `flink run` of a job that somebody who is gone has left behind: it must not come in late."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(job_id in argument and argument.startswith("-D") for argument in process.cmdline()):
                children = process.children(recursive=True)
                for one in (process, *children):
                    one.kill()
                psutil.wait_procs([process, *children], timeout=10)


def new_job_id() -> str:
    """A Flink job id, chosen before the submission so that it can be recorded first: no job is ever lost track of."""
    return uuid.uuid4().hex


def connector() -> Path:
    """The Kafka connector's jar. Raises ClusterError."""
    return _only(JARS, "flink-sql-connector-kafka-*.jar")


def connector_version() -> str:
    """As in 5.0.0-2.2: the connector's own version, and the Flink that it was made for."""
    return connector().stem.removeprefix("flink-sql-connector-kafka-")


def python_jar() -> Path:
    return _only(flink_home() / "opt", "flink-python-*.jar")


def _only(directory: Path, pattern: str) -> Path:
    found = sorted(directory.glob(pattern))
    if len(found) != 1:
        raise ClusterError(f"{len(found)} files {pattern} in {directory}, not one; run ./scripts/setup")
    return found[0]


def cause(output: str) -> str:
    """The line that tells why, of what `flink run` printed: the last cause that is not just the process's end."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if ("Error" in line or "Exception" in line) and not line.startswith("at ")
               and "ProgramAbortException" not in line and "Python process exits" not in line]
    return (telling or lines or ["it printed nothing"])[-1].removeprefix("Caused by: ")
