"""Running a Compose file without an engine: each service by chroot into the image, all in one network of their own.

Inside there is loopback and nothing else; service names lead there. Volumes are folders, which begin with what the image has at their
place and belong to whom that belongs to, as Docker has it. What a service needs runs and is well before it starts.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from .root import Image, end

PATIENCE = 240.0
"""Seconds until a service must be well."""


class Compose:
    """The services of a file, to be used in a network of their own. `more`: names that lead there as well."""

    def __init__(self, file: Path, image: Image, directory: Path, say: Callable[[str], None],
                 more: Iterable[str] = ()) -> None:  # fmt: skip
        self.services: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text())["services"]
        self.image, self.directory, self.say = image, directory, say
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        (image.root / "etc" / "hosts").write_text(f"127.0.0.1 localhost {' '.join([*self.services, *more])}\n")

    def run(self, name: str) -> int:
        """Start what a service needs, run it to its end with its output on ours, and return its exit code."""
        for needed, condition in self._needs(name):
            self._start(needed, condition)
        self.say(f"{name} runs")
        return subprocess.run(self._arguments(name), check=False).returncode

    def _start(self, name: str, condition: str) -> None:
        if name in self.running:
            return
        for needed, of_that in self._needs(name):
            self._start(needed, of_that)
        with self.log(name).open("wb") as log:
            self.running[name] = subprocess.Popen(self._arguments(name), stdout=log, stderr=subprocess.STDOUT)
        began = time.monotonic()
        while not self._is(name, condition):
            if time.monotonic() > began + PATIENCE:
                raise RuntimeError(f"{name} is not {condition} after {PATIENCE:.0f} s:\n{self.log(name).read_text()[-4000:]}")
            time.sleep(0.5)
        self.say(f"{name}: {condition} after {time.monotonic() - began:.1f} s")

    def _is(self, name: str, condition: str) -> bool:
        code = self.running[name].poll()
        if code or (code == 0 and condition != "service_completed_successfully"):
            raise RuntimeError(f"{name} exited with {code}:\n{self.log(name).read_text()[-4000:]}")
        if condition == "service_healthy":
            return self._well(name)
        return code == 0 if condition == "service_completed_successfully" else True

    def _well(self, name: str) -> bool:
        kind, *words = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        done = subprocess.run(self.container(name).arguments(words), capture_output=True, check=False)
        return done.returncode == 0

    def log(self, name: str) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        return self.directory / f"{name}.log"

    def _needs(self, name: str) -> list[tuple[str, str]]:
        return [(needed, given["condition"]) for needed, given in self.services[name].get("depends_on", {}).items()]

    def _arguments(self, name: str) -> list[str]:
        service = self.services[name]
        entrypoint = service.get("entrypoint", self.image.entrypoint)
        return self.container(name).arguments([*entrypoint, *service["command"]], service.get("environment"))

    def container(self, name: str) -> Image:
        """What a service's container is, for commands beside what it runs."""
        return replace(self.image, mounts=tuple(self._volumes(name)), hostname=name)

    def _volumes(self, name: str) -> Iterator[tuple[Path, str]]:
        for each in self.services[name].get("volumes", []):
            volume, _, inside = each.partition(":")
            folder, there = self.directory / "volumes" / volume, self.image.root / inside.lstrip("/")
            if not folder.exists():
                folder.parent.mkdir(parents=True, exist_ok=True)
                subprocess.run(["cp", "-a", there, folder], check=True) if there.exists() else folder.mkdir()
            yield folder, inside

    def stop(self) -> None:
        """End everything that runs."""
        for process in self.running.values():
            end(process)
