"""Choosing ports."""

from __future__ import annotations

import socket

import pytest

from swapstream.models.errors import ClusterError
from swapstream.scripts.environment import Broker, Environment, Flink, Recorded
from swapstream.scripts.ports import choose, free_ports, is_free

OPEN = Environment(broker=Broker(port=0, controller_port=0), flink=Flink(rest_port=0, rpc_port=0))


@pytest.fixture
def taken():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_open_ports_become_different_free_ones():
    found = choose(OPEN, Recorded())
    ports = {found.broker, found.controller, found.rest, found.rpc}
    assert len(ports) == 4
    assert all(is_free(port) for port in ports)


def test_a_fixed_port_that_is_taken_is_named_with_its_setting(taken):
    environment = Environment(broker=Broker(port=0, controller_port=0), flink=Flink(rest_port=taken, rpc_port=0))
    with pytest.raises(ClusterError, match=rf"port {taken} \(flink\.rest_port\) is in use"):
        choose(environment, Recorded())


def test_open_ports_stay_what_they_were_unless_taken_meanwhile(taken):
    last = free_ports(3)
    found = choose(OPEN, Recorded(broker=last[0], controller=taken, rest=last[1], rpc=last[2]))
    assert (found.broker, found.rest, found.rpc) == tuple(last)
    assert found.controller not in (taken, *last)


def test_ports_of_a_broker_that_is_not_ours_do_not_matter(taken):
    environment = Environment(broker=Broker(port=taken, controller_port=taken, bootstrap="kafka:9092"),
                              flink=Flink(rest_port=0, rpc_port=0))
    assert choose(environment, Recorded()).rest > 0


def test_ports_of_a_flink_that_is_not_ours_do_not_matter(taken):
    environment = Environment(broker=Broker(port=0, controller_port=0), flink=Flink(rest="http://flink:8081", rest_port=taken))
    found = choose(environment, Recorded())
    assert (found.broker > 0, found.rest) == (True, 0)
