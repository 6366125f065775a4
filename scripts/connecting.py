"""A client of kafka-python, connected; where that fails, or the broker refuses something later, the reason in one line."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kafka.errors import (
    AuthorizationError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailedError,
)

from swapstream.models.errors import ClusterError
from swapstream.scripts.environment import Environment

BOOTSTRAP_MS = 5_000


@contextmanager
def broker_errors(environment: Environment) -> Iterator[None]:
    """What kafka-python raises inside becomes ClusterError."""
    try:
        yield
    except AuthorizationError as error:
        raise ClusterError(f"broker at {environment.broker.servers}: {who(environment)} may not do that "
                           f"({type(error).__name__}); `swapstream doctor` names the rights that are missing") from error
    except (KafkaError, OSError) as error:
        # Exceptions with an empty text are common here; the name of the class then says what happened.
        raise ClusterError(f"broker at {environment.broker.servers}: {error or type(error).__name__}") from error


def settings(environment: Environment) -> dict[str, Any]:
    """What every client of the broker is made with. Raises InvalidSettings when a secret or a file is not where it should be."""
    return {"bootstrap_servers": environment.broker.servers, "bootstrap_timeout_ms": BOOTSTRAP_MS,
            **environment.broker.security.python()}


def connect(environment: Environment, client: Any, **more: Any) -> Any:
    """A client of kafka-python, connected. Raises ClusterError in words that tell what to do, InvalidSettings."""
    servers, configured, causes = environment.broker.servers, settings(environment), _Causes()
    try:
        _reach(servers, configured)
        with causes:
            return client(**configured, **more)
    except ssl.SSLError as error:
        raise ClusterError(f"broker at {servers}: TLS fails: {error}; see broker.security in the environment") from error
    except (KafkaError, OSError, ValueError) as error:
        raise ClusterError(_away(environment, error, causes.last)) from error


class _Causes(logging.Handler):
    """kafka-python tells of a refused password in its log alone, among time-outs, and raises a time-out. A context manager;
    `last` is the cause, the most telling one when it tried several times."""

    telling: tuple[type[BaseException], ...] = (SaslAuthenticationFailedError, KafkaConnectionError, BaseException)

    def __init__(self) -> None:
        super().__init__()
        self._found: list[BaseException] = []

    @property
    def last(self) -> BaseException | None:
        return next((one for kind in self.telling for one in reversed(self._found) if isinstance(one, kind)), None)

    def emit(self, record: logging.LogRecord) -> None:
        self._found += [part for part in record.args or () if isinstance(part, BaseException)]

    def __enter__(self) -> None:
        logging.getLogger("kafka.net").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("kafka.net").removeHandler(self)


def who(environment: Environment) -> str:
    """The broker's user, in words."""
    security = environment.broker.security
    return f"user {security.username!r} ({security.mechanism})" if security.sasl else "this client"


def _away(environment: Environment, error: Exception, cause: BaseException | None) -> str:
    broker = environment.broker
    if isinstance(error, OSError) and not broker.bootstrap:
        return f"no broker at {broker.servers}; start one with `swapstream up`"
    if isinstance(error, OSError):
        return f"no broker at {broker.servers}: {error}"
    if isinstance(cause, SaslAuthenticationFailedError):
        return f"broker at {broker.servers} refuses {who(environment)}: {cause}"
    if broker.security.protocol == "SASL_SSL" and isinstance(cause, KafkaConnectionError):
        # Over TLS the connection can be gone before the broker's answer has been read.
        return (f"broker at {broker.servers} refuses {who(environment)}: it closed the connection during the login, as it does after a "
                "wrong name or password")
    return (f"what listens at {broker.servers} does not answer as a broker that speaks {broker.security.protocol}; "
            f"see broker.security in the environment ({cause or error or type(error).__name__})")


def _reach(servers: str, configured: Mapping[str, Any]) -> None:
    """kafka-python tries for the whole timeout where nobody listens or certificates don't fit, and then does not say why."""
    error: OSError | None = None
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=BOOTSTRAP_MS / 1000) as connection:
                if configured.get("security_protocol", "").endswith("SSL"):
                    _tls(configured).wrap_socket(connection, server_hostname=host.strip("[]")).close()
                return
        except OSError as failed:  # ssl.SSLError is one
            error = failed
    raise error or OSError(servers)


def _tls(configured: Mapping[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configured.get("ssl_cafile"))
    context.check_hostname = configured["ssl_check_hostname"]
    if "ssl_certfile" in configured:
        context.load_cert_chain(configured["ssl_certfile"], configured["ssl_keyfile"], configured.get("ssl_password"))
    return context
