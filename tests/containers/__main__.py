"""Build the image and run the Compose file without a container engine, as far as that goes:

    sudo .venv/bin/python -m tests.containers [--root DIRECTORY] [--keep] [--demo] [--application]

The steps of conf/container/Dockerfile run one by one in an empty root that debootstrap makes, in which `swapstream --help` must answer
and a job's graph must build. With --demo the services of compose.yaml run too, and the demo through them; with --application a
FlinkDeployment's job after it. Needs to be root, unshare
and debootstrap (Debian: `apt-get install debootstrap`), 6 GB of disk and the registries; takes about 3 minutes.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import shutil
import socket
import struct
import tempfile
import time
from pathlib import Path

from . import dockerfile
from .application import HOST, run_application
from .compose import Compose
from .graph import job_graph
from .root import Builder, Image

PROJECT = Path(__file__).parents[2]
CONTAINER = PROJECT / "conf" / "container"
MIRROR = "http://deb.debian.org/debian"
NEW_NETWORK, SET_FLAGS, UP = 0x40000000, 0x8914, 0x1
"""CLONE_NEWNET, SIOCSIFFLAGS, IFF_UP."""
BEGAN = time.monotonic()


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--root", type=Path, help="Where to build.  [default: a new directory in /tmp]")
    options.add_argument("--keep", action="store_true", help="Leave what was built.")
    options.add_argument("--demo", action="store_true", help="Run compose.yaml, and the demo in it.")
    options.add_argument("--application", action="store_true", help="And a FlinkDeployment's job after that.")
    options.add_argument("--mirror", default=MIRROR, help="Of Debian's packages.")
    given = options.parse_args()
    directory = given.root or Path(tempfile.mkdtemp(prefix="swapstream-image-"))
    try:
        image = Builder(directory, PROJECT, given.mirror, say).build(dockerfile.read(CONTAINER / "Dockerfile"))
        check(image)
        if given.demo or given.application:
            demo(image, directory, given.application)
    finally:
        if not given.keep:
            shutil.rmtree(directory)
    say("all is well")


def say(words: str) -> None:
    print(f"{time.monotonic() - BEGAN:6.1f} s  {words}", flush=True)


def check(image: Image) -> None:
    """What a container of the image can do by itself."""
    said = image.run([*image.entrypoint, *image.command])
    assert "Usage: swapstream" in said, said
    say("swapstream --help answers")
    say(job_graph(image))


def demo(image: Image, directory: Path, application: bool) -> None:
    """The demo of compose.yaml, and with `application` a FlinkDeployment's job. Raises RuntimeError, AssertionError with what was said."""
    isolate()
    services = Compose(CONTAINER / "compose.yaml", image, directory / "compose", say, [HOST])
    try:
        if code := services.run("demo"):
            raise RuntimeError(f"the demo exited with {code}; logs are in {directory / 'compose'}")
        if application:
            run_application(services, directory / "application", say)
    finally:
        services.stop()


def isolate() -> None:
    """Go on in a network of one's own, with loopback alone: services listen on their usual ports, and reach nobody."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sH14x", b"lo", UP))


if __name__ == "__main__":
    main()
