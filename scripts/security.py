"""How clients prove who they are to a broker, and how they know the broker: TLS and SASL, for Python's clients and Flink's.

Secrets are never written anywhere. A setting names where one is found, an environment variable or a file, and each client reads
it there when it connects: Python's clients here, Flink's through Kafka's config providers on the JobManager and the TaskManagers.
What a job's graph, its specification and the `flink run` line hold is that name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from swapstream.models.errors import InvalidSettings

PREFIX = "SWAPSTREAM_KAFKA_"
SHADED = "org.apache.flink.kafka.shaded.org.apache.kafka.common"
"""Where the connector's jar has Kafka's classes; settings that name one need the name it has there."""
LOGIN = {"PLAIN": f"{SHADED}.security.plain.PlainLoginModule", "SCRAM-SHA-256": f"{SHADED}.security.scram.ScramLoginModule",
         "SCRAM-SHA-512": f"{SHADED}.security.scram.ScramLoginModule"}
PROVIDERS = {"config.providers": "env,dir", "config.providers.env.class": f"{SHADED}.config.provider.EnvVarConfigProvider",
             "config.providers.dir.class": f"{SHADED}.config.provider.DirectoryConfigProvider"}
UNQUOTABLE = frozenset('"\\\r\n')
"""A password stands in quotes in Java's login configuration, into which Kafka puts it as it is."""

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class Secret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a secret is: the environment variable `env`, or the file `file`, whose whole content it is."""

    env: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        if (self.env is None) == (self.file is None):
            raise ValueError("a secret is given as {env: VARIABLE} or {file: PATH}")
        if any(character in (self.env or self.file or "") for character in ":{}'"):
            raise ValueError(f"{self.env or self.file!r}: the name of a secret's variable or file holds none of : {{ }} '")
        if not Path(self.file or "/").is_absolute():
            raise ValueError(f"a secret's file is given by an absolute path, not {self.file!r}")

    def __str__(self) -> str:
        return f"environment variable {self.env}" if self.env else f"file {self.file}"

    def read(self) -> str:
        """The secret itself, for a client in this process. Raises InvalidSettings, naming where it should be."""
        if self.file:
            return read_text(self.file)
        value = os.environ.get(self.env or "")
        if not value:
            raise InvalidSettings(f"environment variable {self.env} is not set; it must hold the broker's password or key")
        return value

    @property
    def reference(self) -> str:
        """What Kafka's Java clients replace by the secret."""
        if self.env:
            return f"${{env:{self.env}}}"
        path = Path(self.file or "")
        return f"${{dir:{path.parent}:{path.name}}}"


class Security(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An environment's `broker.security`. Paths are of PEM files; `key` must be PKCS#8, and lie at the same path on Flink's hosts.

    Without `ca` each client trusts what its platform does. `certificate` and `key` are for brokers that ask clients for theirs.
    """

    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism | None = None
    username: str | None = None
    password: Secret = Secret(env=f"{PREFIX}PASSWORD")
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    key_password: Secret | None = None
    check_hostname: bool = True

    def __post_init__(self) -> None:
        if self.sasl and not (self.mechanism and self.username):
            raise ValueError(f"protocol {self.protocol} needs `mechanism` ({', '.join(LOGIN)}) and `username`")
        if not self.sasl and (self.mechanism or self.username):
            raise ValueError(f"`mechanism` and `username` are for SASL; protocol is {self.protocol}, not SASL_SSL or SASL_PLAINTEXT")
        if not self.tls and (self.ca or self.certificate or self.key):
            raise ValueError(f"`ca`, `certificate` and `key` are for TLS; protocol is {self.protocol}, not SSL or SASL_SSL")
        if bool(self.certificate) != bool(self.key):
            raise ValueError("`certificate` and `key` come together")
        for name in ("ca", "certificate", "key"):
            if not Path(getattr(self, name) or "/").is_absolute():
                raise ValueError(f"`{name}` is {getattr(self, name)!r}; it must be an absolute path")
        if UNQUOTABLE & set(self.username or ""):
            raise ValueError("`username` holds no quotes, backslashes or line breaks")

    @property
    def sasl(self) -> bool:
        return self.protocol.startswith("SASL_")

    @property
    def tls(self) -> bool:
        return self.protocol.endswith("SSL")

    @property
    def variables(self) -> list[str]:
        """The environment variables that hold its secrets: Flink's processes need them, too."""
        secrets = [self.password if self.sasl else None, self.key_password]
        return [secret.env for secret in secrets if secret and secret.env]

    def python(self) -> dict[str, Any]:
        """Settings of kafka-python's clients, secrets read. Raises InvalidSettings."""
        settings: dict[str, Any] = {} if self.protocol == "PLAINTEXT" else {"security_protocol": self.protocol}
        if self.sasl:
            settings |= {"sasl_mechanism": self.mechanism, "sasl_plain_username": self.username,
                         "sasl_plain_password": self._password()}
        if self.tls:
            found = {"ssl_cafile": self.ca, "ssl_certfile": self.certificate, "ssl_keyfile": self._key(),
                     "ssl_password": self.key_password.read() if self.key_password else None}
            for path in filter(None, (self.ca, self.certificate)):
                read_text(path)
            settings |= {key: value for key, value in found.items() if value} | {"ssl_check_hostname": self.check_hostname}
        return settings

    def java(self) -> dict[str, str]:
        """Properties of Flink's Kafka clients. CA and certificate are public and stand in them; secrets are named.

        Raises InvalidSettings when a file that is read here is not there.
        """
        if self.protocol == "PLAINTEXT":
            return {}
        found = {"security.protocol": self.protocol, **PROVIDERS}
        if self.sasl:
            found |= {"sasl.mechanism": str(self.mechanism), "sasl.jaas.config": self._login()}
        return found | (self._java_tls() if self.tls else {})

    def _java_tls(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self.ca:
            found |= {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": read_text(self.ca)}
        if self.certificate and self.key:
            found |= {"ssl.keystore.type": "PEM", "ssl.keystore.certificate.chain": read_text(self.certificate),
                      "ssl.keystore.key": Secret(file=self.key).reference}
        if self.key_password:
            found["ssl.key.password"] = self.key_password.reference
        return found if self.check_hostname else {**found, "ssl.endpoint.identification.algorithm": ""}

    def _login(self) -> str:
        module = LOGIN[self.mechanism or ""]
        return f'{module} required username="{self.username}" password="{self.password.reference}";'

    def _password(self) -> str:
        found = self.password.read()
        if UNQUOTABLE & set(found):
            raise InvalidSettings(f"the password in {self.password} holds a quote, a backslash or a line break, which Kafka's Java "
                                  "clients can't take (a file must not end with a line break: write it with printf)")
        return found

    def _key(self) -> str | None:
        if self.key and not {"BEGIN PRIVATE KEY", "BEGIN ENCRYPTED PRIVATE KEY"} & set(read_text(self.key).split("-----")):
            raise InvalidSettings(f"broker.security.key: {self.key} is not a PKCS#8 key; "
                                  "`openssl pkcs8 -topk8 -nocrypt` makes one")
        return self.key


def read_text(path: str) -> str:
    """Raises InvalidSettings."""
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"broker.security: {path} can't be read: {error}") from error


def from_variables(declared: dict[str, Any], variables: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """A `security` section with what SWAPSTREAM_KAFKA_PROTOCOL, _MECHANISM, _USERNAME, _CA, _CERTIFICATE and _KEY say instead.

    The password is in _PASSWORD unless the section (or _PASSWORD_FILE) says where it is; that of the key is in _KEY_PASSWORD.
    """
    plain = ("protocol", "mechanism", "username", "ca", "certificate", "key")
    found: dict[str, Any] = {name: variables[PREFIX + name.upper()] for name in plain if variables.get(PREFIX + name.upper())}
    if variables.get(f"{PREFIX}PASSWORD_FILE"):
        found["password"] = {"file": variables[f"{PREFIX}PASSWORD_FILE"]}
    if variables.get(f"{PREFIX}KEY_PASSWORD"):
        found["key_password"] = {"env": f"{PREFIX}KEY_PASSWORD"}
    return declared | found
