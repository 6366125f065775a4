"""Flink's own Java classes, called from here: a JVM that is up in a second and ends with the block that it was asked for in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
from py4j.protocol import Py4JNetworkError

from swapstream.models.errors import ClusterError
from swapstream.scripts.rendering import flink_home, java


@contextmanager
def flink_classes() -> Iterator[Any]:
    """py4j's view of the classes of the Flink distribution. Raises ClusterError where there is no Java."""
    try:
        port, token, process = launch_gateway(
            classpath=str(flink_home() / "lib" / "*"), javaopts=["-Xmx512m"], die_on_exit=True, java_path=java(), enable_auth=True,
            return_proc=True, create_new_process_group=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise ClusterError(f"{java()} does not start: {error}; Java 17 is needed") from error
    # Nothing is collected while it runs, and it runs for a second: a Python object that goes after its end would ask it, and log a trace.
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token, enable_memory_management=False))
    try:
        yield gateway.jvm
    finally:
        with suppress(Py4JNetworkError, OSError):
            gateway.shutdown()
        process.stdin.close()
        process.wait()
