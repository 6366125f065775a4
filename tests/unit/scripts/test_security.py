"""TLS and SASL: what may be said, what Python's clients and Flink's get, and where a secret never is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swapstream.models.errors import InvalidSettings
from swapstream.scripts.environment import Environment, load_environment, with_variables
from swapstream.scripts.security import Secret, Security, from_variables

SASL = {"protocol": "SASL_SSL", "mechanism": "SCRAM-SHA-512", "username": "me", "password": {"env": "SECRET"}}


@pytest.fixture
def files(tmp_path) -> dict[str, str]:
    """Files of a client that shows a certificate."""
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nca's\n-----END CERTIFICATE-----\n")
    (tmp_path / "me.crt").write_text("-----BEGIN CERTIFICATE-----\nmine\n-----END CERTIFICATE-----\n")
    (tmp_path / "me.key").write_text("-----BEGIN PRIVATE KEY-----\nmine\n-----END PRIVATE KEY-----\n")
    return {"ca": f"{tmp_path}/ca.pem", "certificate": f"{tmp_path}/me.crt", "key": f"{tmp_path}/me.key"}


def security(**settings: Any) -> Security:
    return msgspec.convert({**SASL, **settings}, Security)


@pytest.mark.parametrize(("broker", "message"), [
    ({"security": SASL}, "name it with `bootstrap`"),
    ({"bootstrap": "k:1", "security": {"protocol": "TLS"}}, "TLS"),
    ({"bootstrap": "k:1", "security": {"protocol": "SASL_SSL"}}, "needs `mechanism`"),
    ({"bootstrap": "k:1", "security": {"protocol": "SSL", "username": "me"}}, "are for SASL; protocol is SSL"),
    ({"bootstrap": "k:1", "security": {**SASL, "protocol": "SASL_PLAINTEXT", "ca": "/a"}}, "are for TLS; protocol is SASL_PLAINTEXT"),
    ({"bootstrap": "k:1", "security": {**SASL, "certificate": "/a"}}, "come together"),
    ({"bootstrap": "k:1", "security": {**SASL, "ca": "ca.pem"}}, "`ca` is 'ca.pem'; it must be an absolute path"),
    ({"bootstrap": "k:1", "security": {**SASL, "password": {"file": "p"}}}, "absolute path, not 'p'"),
    ({"bootstrap": "k:1", "security": {**SASL, "password": "hunter2"}}, "object"),
    ({"bootstrap": "k:1", "security": {**SASL, "password": {"env": "A}"}}}, "holds none of"),
])
def test_what_does_not_fit_together_is_said(broker, message):
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert({"broker": broker}, Environment)


def test_pythons_clients_get_the_secret(monkeypatch, files):
    monkeypatch.setenv("SECRET", "s3cret")
    assert security(**files).python() == {
        "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": "me",
        "sasl_plain_password": "s3cret", "ssl_cafile": files["ca"], "ssl_certfile": files["certificate"],
        "ssl_keyfile": files["key"], "ssl_check_hostname": True}


def test_flinks_clients_get_the_names_of_what_holds_the_secrets(monkeypatch, files):
    monkeypatch.setenv("SECRET", "s3cret")
    found = security(**files, key_password={"file": "/run/secrets/key.password"}).java()
    assert found["sasl.jaas.config"].endswith('ScramLoginModule required username="me" password="${env:SECRET}";')
    assert found["ssl.keystore.key"] == f"${{dir:{files['key'].removesuffix('/me.key')}:me.key}}"
    assert found["ssl.key.password"] == "${dir:/run/secrets:key.password}"
    assert "ca's" in found["ssl.truststore.certificates"]
    assert not any("s3cret" in value or "PRIVATE KEY" in value for value in found.values())


def test_without_security_nothing_is_said():
    assert (Security().python(), Security().java()) == ({}, {})


def test_a_password_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("SECRET", raising=False)
    with pytest.raises(InvalidSettings, match="environment variable SECRET is not set"):
        security().python()
    with pytest.raises(InvalidSettings, match="none can't be read"):
        security(password={"file": f"{tmp_path}/none"}).python()


@pytest.mark.parametrize("bad", ['a"b', "a\\b", "secret\n"])
def test_a_password_that_java_would_read_otherwise_is_refused_without_being_shown(tmp_path, bad):
    (tmp_path / "password").write_text(bad)
    with pytest.raises(InvalidSettings, match=r"password in file .*/password holds a quote, a backslash or a line break") as caught:
        security(password={"file": f"{tmp_path}/password"}).python()
    assert bad not in str(caught.value)


def test_a_key_of_another_format_is_refused(monkeypatch, files, tmp_path):
    monkeypatch.setenv("SECRET", "s")
    (tmp_path / "me.key").write_text("-----BEGIN RSA PRIVATE KEY-----\nmine\n-----END RSA PRIVATE KEY-----\n")
    with pytest.raises(InvalidSettings, match=r"me\.key is not a PKCS#8 key"):
        security(**files).python()


def test_variables_say_what_the_file_does_not_and_win_over_it():
    variables = {"SWAPSTREAM_KAFKA_BOOTSTRAP": "k:9093", "SWAPSTREAM_KAFKA_PROTOCOL": "SASL_SSL", "SWAPSTREAM_KAFKA_MECHANISM": "PLAIN",
                 "SWAPSTREAM_KAFKA_USERNAME": "you", "SWAPSTREAM_KAFKA_CA": "/ca.pem", "SWAPSTREAM_KAFKA_KEY_PASSWORD": "x"}
    broker = msgspec.convert(with_variables({"broker": {"security": {"username": "me"}}}, variables), Environment).broker
    assert broker.servers == "k:9093"
    assert broker.security == Security("SASL_SSL", "PLAIN", "you", Secret(env="SWAPSTREAM_KAFKA_PASSWORD"), ca="/ca.pem",
                                       key_password=Secret(env="SWAPSTREAM_KAFKA_KEY_PASSWORD"))
    assert from_variables({}, {"SWAPSTREAM_KAFKA_PASSWORD_FILE": "/p"}) == {"password": {"file": "/p"}}
    assert with_variables({"broker": {"port": 1}}, {}) == {"broker": {"port": 1}}


def test_an_environments_file_and_variables_are_read_together(tmp_path, monkeypatch):
    (tmp_path / "e.yaml").write_text("broker: {bootstrap: 'k:1', security: {protocol: SSL}}")
    monkeypatch.setenv("SWAPSTREAM_KAFKA_BOOTSTRAP", "other:2")
    assert load_environment(str(tmp_path / "e.yaml")).broker.servers == "other:2"
