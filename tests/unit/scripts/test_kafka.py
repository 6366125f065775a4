"""What is said when a broker can't be reached; clients themselves are tested on a real one."""

from __future__ import annotations

import logging
import socket
import threading

import pytest
from crc32c import crc32c
from kafka.errors import KafkaTimeoutError, SaslAuthenticationFailedError
from kafka.record import util

from swapstream.models.errors import ClusterError
from swapstream.scripts import connecting, kafka
from swapstream.scripts.environment import Broker, Environment
from swapstream.scripts.security import Secret, Security

SASL = Security("SASL_SSL", "PLAIN", "me", Secret(env="SECRET"))


@pytest.fixture
def deaf():
    """The port of a server that answers every connection with something that is neither TLS nor Kafka."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(5)

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.recv(10)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_checksums_are_not_computed_in_python():
    """That would cost twice as much as all the rest of reading."""
    assert util.calc_crc32c(b"123456789") == 0xE3069283
    assert util._crc32c is crc32c


def test_our_own_broker_that_is_away_is_to_be_started():
    with pytest.raises(ClusterError, match=r"no broker at 127\.0\.0\.1:1; start one with `swapstream up`"):
        kafka.partition_count(Environment(broker=Broker(port=1)), "t")


def test_somebody_elses_is_just_away():
    with pytest.raises(ClusterError, match=r"no broker at 127\.0\.0\.1:1: .*refused"):
        kafka.partition_count(Environment(broker=Broker(bootstrap="127.0.0.1:1")), "t")


def test_what_is_wrong_with_tls_is_told_at_once(deaf):
    environment = Environment(broker=Broker(bootstrap=f"127.0.0.1:{deaf}", security=Security("SSL")))
    with pytest.raises(ClusterError, match=rf"broker at 127\.0\.0\.1:{deaf}: TLS fails: .*; see broker\.security"):
        kafka.partition_count(environment, "t")


def test_a_refused_password_that_is_only_logged_is_told():
    causes = connecting._Causes()
    with causes:
        logging.getLogger("kafka.net.manager").warning("failed: %s", SaslAuthenticationFailedError("no such user"))
    said = connecting._away(Environment(broker=Broker(bootstrap="k:1", security=SASL)), KafkaTimeoutError("late"), causes.last)
    assert said.startswith("broker at k:1 refuses user 'me' (PLAIN): ")
    assert "no such user" in said


def test_a_protocol_that_does_not_fit_is_named():
    said = connecting._away(Environment(broker=Broker(bootstrap="k:1")), KafkaTimeoutError("late"), None)
    assert said.startswith("what listens at k:1 does not answer as a broker that speaks PLAINTEXT; see broker.security")
