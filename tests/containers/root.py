"""Building an image's stages in directories instead of an engine: each a root of its own, in which steps run by chroot.

Needs to be root, and debootstrap for the base, which is what Debian's own images are made with. Registries are reached as on this
machine: its certificates, proxies and pip's settings go along, as build arguments would.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from .dockerfile import Stage, Step, variables

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOCAL_CERTIFICATES = Path("/usr/local/share/ca-certificates")
BUILD_ARGUMENTS = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "PIP_CERT", "PIP_INDEX_URL",
                   "PIP_TRUSTED_HOST")
DEBIAN = "debian:bookworm-slim"
INSIDE = """set -e
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -t tmpfs tmpfs "$1/tmp" -o mode=1777
root=$1 user=$2 directory=$3
hostname "$4"
shift 4
while [ "$1" != -- ]; do
    mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    shift 2
done
shift
exec chroot --userspec="$user" "$root" /usr/bin/env -i --chdir="$directory" "$@"
"""


@dataclass(frozen=True)
class Image:
    """A root, and what a container of it starts with. `mounts`: folders of this machine, and where they lie inside."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    directory: str = "/"
    user: str = "0:0"
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    mounts: tuple[tuple[Path, str], ...] = ()
    hostname: str = "image"

    def arguments(self, words: Iterable[str], env: dict[str, str] | None = None) -> list[str]:
        """A command of this machine that runs `words` in the root, with /proc, /dev and /tmp; what it started ends with it."""
        mounts = [str(part) for pair in self.mounts for part in pair]
        home = {"HOME": "/root" if self.user == "0:0" else "/home/swapstream"}
        given = [f"{key}={value}" for key, value in (home | self.env | (env or {})).items()]
        return ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "sh", "-c", INSIDE, "inside", str(self.root), self.user,
                self.directory, self.hostname, *mounts, "--", *given, *words]

    def run(self, words: Iterable[str], env: dict[str, str] | None = None) -> str:
        """What it prints. Raises CalledProcessError, with the end of that."""
        done = subprocess.run(self.arguments(words, env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)} exited with {done.returncode}:\n{done.stdout[-4000:]}")
        return done.stdout


def end(process: subprocess.Popen[bytes]) -> None:
    """End what runs in a root: all of it goes with its first process. That one does not notice when `unshare` is killed, since it
    has become another user."""
    with suppress(psutil.NoSuchProcess):
        for first in psutil.Process(process.pid).children():
            first.kill()
    process.wait()


class Builder:
    """Builds the stages of a Dockerfile below `directory` from the files in `context`."""

    def __init__(self, directory: Path, context: Path, mirror: str, say: Callable[[str], None]) -> None:
        self.directory, self.context, self.mirror, self.say = directory, context, mirror, say
        self.built: dict[str, Image] = {}

    def build(self, stages: list[Stage]) -> Image:
        """All stages in order; returns the last."""
        for stage in stages:
            self.built[stage.name] = self._stage(stage)
        return self.built[stages[-1].name]

    def _stage(self, stage: Stage) -> Image:
        root = self.directory / stage.name
        if stage.base in self.built:
            subprocess.run(["cp", "-a", "--reflink=auto", self.built[stage.base].root, root], check=True)
            image = replace(self.built[stage.base], root=root)
        else:
            image = self._base(stage.base, root)
        for step in stage.steps:
            self.say(f"{stage.name}: {step.word} {step.rest[:120]}")
            image = self._step(image, step)
        return image

    def _base(self, name: str, root: Path) -> Image:
        """Debian as debootstrap makes it; the only image that can be made of packages here."""
        if name != DEBIAN:
            raise ValueError(f"FROM {name}: only {DEBIAN} can be made without an engine")
        self.say(f"{name}: debootstrap")
        subprocess.run(["debootstrap", "--variant=minbase", "bookworm", root, self.mirror], check=True, stdout=subprocess.DEVNULL)
        shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
        if LOCAL_CERTIFICATES.is_dir():
            shutil.copytree(LOCAL_CERTIFICATES, root / LOCAL_CERTIFICATES.relative_to("/"), dirs_exist_ok=True)
        return Image(root)

    def _step(self, image: Image, step: Step) -> Image:
        match step.word:
            case "ENV":
                return replace(image, env=image.env | variables(step))
            case "WORKDIR":
                self._inside(image, step.rest).mkdir(parents=True, exist_ok=True)
                return replace(image, directory=step.rest)
            case "RUN":
                image.run(["/bin/sh", "-c", step.rest], {name: os.environ[name] for name in BUILD_ARGUMENTS if name in os.environ})
            case "COPY":
                self._copy(image, step)
            case "USER":
                return replace(image, user=image.run(["sh", "-c", f"echo $(id -u {step.rest}):$(id -g {step.rest})"]).strip())
            case "ENTRYPOINT":
                return replace(image, entrypoint=tuple(step.words))
            case "CMD":
                return replace(image, command=tuple(step.words))
        return image

    def _copy(self, image: Image, step: Step) -> None:
        """A folder's content goes into the target, as Docker has it."""
        *sources, target = step.words
        of = self.built[step.flags["from"]].root if "from" in step.flags else self.context
        to = self._inside(image, target)
        for source in (Path(found) for pattern in sources for found in glob.glob(f"{of}/{pattern.lstrip('/')}")):
            if source.is_dir():
                to.mkdir(parents=True, exist_ok=True)
                self._cp(f"{source}/.", to)
            else:
                (to if target.endswith("/") else to.parent).mkdir(parents=True, exist_ok=True)
                self._cp(str(source), to)
        for flag, command in (("chown", "chown"), ("chmod", "chmod")):
            if flag in step.flags:
                image.run([command, "-R", "-h" if flag == "chown" else "--", step.flags[flag], str(Path(image.directory, target))])

    @staticmethod
    def _cp(source: str, to: Path) -> None:
        """Files belong to root unless --chown says otherwise."""
        subprocess.run(["cp", "-a", "--no-preserve=ownership", source, to], check=True)

    @staticmethod
    def _inside(image: Image, path: str) -> Path:
        """A path of the image on this machine."""
        inside = Path(image.directory, path)
        return image.root / inside.relative_to("/")
