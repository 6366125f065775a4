"""What the container image holds beside the project: configuration of Flink and the broker, and the jar with what jobs need.

conf/container/Dockerfile runs it once: `python -m swapstream.scripts.image FLINK BROKER JOB`, each a directory to write.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec

from swapstream.scripts.environment import CONF, Environment
from swapstream.scripts.flink_cli import connector, python_jar
from swapstream.scripts.packing import merge_jars
from swapstream.scripts.rendering import KAFKA_LOGGING, broker_script, fill, flink_home, job_settings

OF_ONE_MACHINE = ("jobmanager.rpc.", "jobmanager.bind-host", "jobmanager.memory.", "rest.", "taskmanager.host", "taskmanager.bind-host",
                  "taskmanager.rpc.", "taskmanager.memory.process.", "taskmanager.numberOfTaskSlots", "blob.", "io.tmp.dirs",
                  "execution.checkpointing.dir", "execution.checkpointing.savepoint-dir")
"""Where the local cluster listens, what it may take and where it keeps files: elsewhere others say that."""
SHARED = ("bin", "lib", "opt", "plugins")
"""What of Flink's distribution is used as it is; `conf` and `log` are the image's own."""
JAR = "swapstream.jar"


def flink_settings(python: str = sys.executable) -> dict[str, str]:
    """What Flink runs with wherever it runs: conf/flink/, but for what is one machine's. `python` runs jobs and workers."""
    template = as_text(msgspec.yaml.decode(fill("flink/config.yaml", Environment())))
    found = {key: value for key, value in template.items() if not key.startswith(OF_ONE_MACHINE)}
    return found | {"python.executable": python, "python.client.executable": python} | job_settings()


def as_text(settings: dict[str, Any]) -> dict[str, str]:
    """Settings as Flink takes them from anywhere: true, not True."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}


def write_flink(directory: Path) -> None:
    """A Flink home: the distribution, and a configuration for conf/container/compose.yaml."""
    for part in ("conf", "log"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    for part in SHARED:
        (directory / part).symlink_to(flink_home() / part)
    for script in (flink_home() / "bin").iterdir():
        script.chmod(0o755)  # Python packages come without run bits
    for name in ("log4j-console.properties", "log4j-cli.properties"):
        shutil.copy(CONF / "flink" / name, directory / "conf")
    settings = flink_settings() | as_text(msgspec.yaml.decode((CONF / "container" / "flink.yaml").read_bytes()))
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in settings.items()]
    (directory / "conf" / "config.yaml").write_text("".join(lines))


def write_broker(directory: Path, host: str = "broker") -> None:
    """What starts a broker that listens on `host` and keeps its log in DIRECTORY/kafka."""
    environment = Environment(directory=str(directory))
    conf = directory / "conf" / "broker"
    for part in (conf, directory / "kafka"):
        part.mkdir(parents=True, exist_ok=True)
    shutil.copy(CONF / KAFKA_LOGGING, conf)
    (conf / "server.properties").write_text(fill("broker/server.properties", environment, host))
    (conf / "run.sh").write_text(broker_script(environment))


def write_job(directory: Path) -> None:
    """The jar that Flink's processes have on their class path in the image, and that FlinkDeployments name."""
    directory.mkdir(parents=True, exist_ok=True)
    merge_jars(directory / JAR, [connector(), python_jar()])


def main() -> None:
    flink, broker, job = map(Path, sys.argv[1:])
    write_flink(flink)
    write_broker(broker)
    write_job(job)


if __name__ == "__main__":
    main()
