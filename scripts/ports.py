"""TCP ports on loopback: which are free, and which ones `up` takes where the environment leaves them open."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import msgspec

from swapstream.models.errors import ClusterError
from swapstream.scripts.environment import Environment, Recorded


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Different free ports. Another process may take one before it is used: `up` then fails and can be run again."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def choose(declared: Environment, last: Recorded) -> Recorded:
    """Ports for a cluster that is about to start: fixed ones must be free, open ones stay as last time where they can.

    Raises ClusterError naming the first fixed port that is taken.
    """
    broker, flink = declared.broker, declared.flink
    wanted: dict[str, tuple[str, int]] = {}
    if not flink.rest:
        wanted |= {"rest": ("flink.rest_port", flink.rest_port), "rpc": ("flink.rpc_port", flink.rpc_port)}
    if not broker.bootstrap:
        wanted |= {"broker": ("broker.port", broker.port), "controller": ("broker.controller_port", broker.controller_port)}
    chosen: dict[str, int] = {}
    for (name, (setting, port)), spare in zip(wanted.items(), free_ports(len(wanted)), strict=True):
        if port and not is_free(port):
            raise ClusterError(f"port {port} ({setting}) is in use; stop what uses it, "
                               "or set another one (0 = any free one) in the environment's file")
        before = getattr(last, name)
        chosen[name] = port or (before if before and is_free(before) else spare)
    return msgspec.convert(chosen, Recorded)
