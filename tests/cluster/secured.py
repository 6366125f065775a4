"""A broker that lets nobody in without a certificate, a password and rights: TLS both ways, SASL, StandardAuthorizer."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
)

from swapstream.scripts.access import Right
from swapstream.scripts.environment import JARS, Broker, Environment
from swapstream.scripts.launch import PATIENCE
from swapstream.scripts.ports import free_ports, is_free
from swapstream.scripts.rendering import CLUSTER_ID, java
from swapstream.scripts.security import Secret, Security

ADMIN = ("admin", "adm1n of the test")
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=OUT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=OUT://127.0.0.1:{port}
listener.security.protocol.map=OUT:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=OUT
controller.listener.names=CONTROLLER
log.dirs={home}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
message.max.bytes=12582912
transaction.max.timeout.ms=900000
ssl.keystore.type=PEM
ssl.keystore.location={home}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={home}/ca.crt
listener.name.out.ssl.client.auth=required
listener.name.out.ssl.principal.mapping.rules=DEFAULT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.out.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  username="{admin[0]}" password="{admin[1]}" user_{admin[0]}="{admin[1]}" user_plain="pl4in secret";
listener.name.out.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.out.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{admin[0]};User:ANONYMOUS
"""
"""ANONYMOUS is the broker itself, on the controller's listener."""


def openssl(home: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def certificate(home: Path, name: str, *, authority: bool = False) -> None:
    """NAME.key (PKCS#8) and NAME.crt, for 127.0.0.1, signed by ca.crt; or the authority itself."""
    (home / f"{name}.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=critical,CA:"
                                      + ("TRUE" if authority else "FALSE"))
    openssl(home, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    signer = ["-signkey", "ca.key"] if authority else ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"]
    openssl(home, "x509", "-req", "-in", f"{name}.csr", *signer, "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.crt")


class SecuredBroker:
    """Running after `start`; `stop` ends it. Users are made before it starts, with SCRAM-SHA-512."""

    def __init__(self, home: Path, users: dict[str, str]) -> None:
        self.home, self.users = home, users
        self.port, self.controller = free_ports(2)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        certificate(self.home, "ca", authority=True)
        for name in ("broker", "client"):
            certificate(self.home, name)
        (self.home / "broker.pem").write_text((self.home / "broker.key").read_text() + (self.home / "broker.crt").read_text())
        properties = self.home / "server.properties"
        properties.write_text(PROPERTIES.format(port=self.port, controller=self.controller, home=self.home, admin=ADMIN))
        scrams = [part for user, password in self.users.items()
                  for part in ("--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]")]
        with (self.home / "broker.log").open("wb") as log:
            subprocess.run([*self._java(), "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties), *scrams],
                           stdout=log, stderr=log, check=True)
            self.process = subprocess.Popen([*self._java(), "-Xmx384m", "kafka.Kafka", str(properties)], stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while is_free(self.port):
            assert self.process.poll() is None, (self.home / "broker.log").read_text()[-3000:]
            assert time.monotonic() < deadline, "the broker does not listen"
            time.sleep(0.2)

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def security(self, user: str, mechanism: str, variable: str) -> dict[str, Any]:
        """The `security` section of an environment; the password is in an environment variable."""
        return {"protocol": "SASL_SSL", "mechanism": mechanism, "username": user, "password": {"env": variable},
                "ca": f"{self.home}/ca.crt", "certificate": f"{self.home}/client.crt", "key": f"{self.home}/client.key"}

    def admin(self) -> Any:
        """The admin client of one who may do everything."""
        password = self.home / "admin.password"
        password.write_text(ADMIN[1])
        found = msgspec.convert(self.security(ADMIN[0], "PLAIN", "-"), Security)
        found = msgspec.structs.replace(found, password=Secret(file=str(password)))
        return KafkaAdminClient(bootstrap_servers=self.servers, **found.python())

    def allow(self, user: str, rights: Iterable[Right]) -> None:
        """Give exactly these rights."""
        kinds = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP, "transactional id": ResourceType.TRANSACTIONAL_ID}
        with self.admin() as client:
            client.create_acls([ACL(f"User:{user}", "*", ACLOperation[operation.upper()], ACLPermissionType.ALLOW, ResourcePattern(
                kinds[right.resource], right.name,
                ACLResourcePatternType.PREFIXED if right.prefixed else ACLResourcePatternType.LITERAL))
                for right in rights for operation in right.operations])

    def _java(self) -> list[str]:
        return [java(), f"-Dlog4j2.configurationFile={Path(__file__).parents[2]}/conf/broker/log4j2.properties", "-cp", f"{JARS}/*"]


def environment(broker: SecuredBroker, user: str, mechanism: str, variable: str) -> Environment:
    security = msgspec.convert(broker.security(user, mechanism, variable), Security)
    return Environment(broker=Broker(bootstrap=broker.servers, security=security))
