"""Signing keys: files that are one's own, and what a namespace trusts, said on the command line and read from the log."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from swapstream.models.errors import Conflict, InvalidDefinition, InvalidSettings, UnknownName, Untrusted
from swapstream.operators.signing import Signer, public_pem
from swapstream.operators.statement import decode_definition
from swapstream.operators.token import Token
from swapstream.scripts.controller import Controller, swap
from swapstream.scripts.environment import Environment, load_environment
from swapstream.scripts.keyring import Keyring, own_key, own_signer, read_public
from swapstream.scripts.keys import keys_command
from swapstream.scripts.publish import Author, Part, author_of, publish, read_definitions
from swapstream.scripts.trusting import trust, trust_first
from tests.support.shards import deployable
from tests.support.topics import Topics

EVE = Signer.from_seed(b"e" * 32)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topics: Topics) -> Environment:
    monkeypatch.chdir(tmp_path)
    Path("env.yaml").write_text(f"directory: {tmp_path}/run\n")
    return load_environment("env.yaml")


def run(*arguments: str) -> list[dict[str, object]]:
    found = CliRunner().invoke(keys_command, [*arguments, "--json"], obj="env.yaml", catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return [json.loads(line) for line in found.stdout.splitlines()]


def states(*arguments: str) -> list[tuple[object, object]]:
    return [(row["name"], row["state"]) for row in run("list", *arguments)]


# -- files


def test_a_key_is_its_owners_alone(environment: Environment) -> None:
    (row,) = run("new", "ann")
    path = Path(str(row["private"]))
    assert path == environment.keyring / "ann.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    signer = Keyring(environment.keyring).signer("ann")
    assert (signer.id, read_public(Path(str(row["public"])))) == (row["key"], signer.public)
    assert "PRIVATE" not in Path(str(row["public"])).read_text()


def test_keys_are_not_overwritten(environment: Environment) -> None:
    (first,) = run("new", "ann")
    with pytest.raises(Conflict, match=r"^key 'ann' is there already"):
        run("new", "ann")
    assert Keyring(environment.keyring).signer("ann").id == first["key"]


@pytest.mark.parametrize("name", ["../ann", "a/b", "", ".", "é", "x" * 101])
def test_a_name_is_no_path(environment: Environment, name: str) -> None:
    with pytest.raises(InvalidSettings, match=r"^key .*: allowed are letters"):
        run("new", name)


def test_a_key_that_others_may_read_is_not_used(environment: Environment) -> None:
    run("new", "ann")
    (environment.keyring / "ann.pem").chmod(0o640)
    with pytest.raises(InvalidSettings, match=r"others may read it \(mode 640\)"):
        own_signer(environment)


def test_a_file_that_is_no_key_is_refused(environment: Environment) -> None:
    run("new", "ann")
    (environment.keyring / "ann.pem").write_text("a key")
    with pytest.raises(InvalidSettings, match="not an Ed25519 private key"):
        own_signer(environment)
    Path("bob.pub").write_text("a key")
    for name, error in (("bob.pub", InvalidSettings), ("nobody.pub", UnknownName)):
        with pytest.raises(error, match=f"^public key {name}"):
            run("trust", "bob", "--public", name)


def test_the_only_key_signs_and_of_several_the_one_that_is_set(environment: Environment) -> None:
    with pytest.raises(Untrusted, match=r"there is no key to sign with in .*: `swapstream up` makes one"):
        own_key(environment)
    run("new", "ann")
    assert own_key(environment) == "ann"
    run("new", "bob")
    with pytest.raises(InvalidSettings, match="holds the keys ann, bob: say with the environment's setting `key`"):
        own_key(environment)
    with Path("env.yaml").open("a") as file:
        file.write("key: bob\n")
    assert own_key(load_environment("env.yaml")) == "bob"


def test_keys_may_lie_elsewhere(environment: Environment, tmp_path: Path) -> None:
    with Path("env.yaml").open("a") as file:
        file.write(f"keys: {tmp_path}/secret\n")
    run("new", "ann")
    assert (tmp_path / "secret" / "ann.pem").is_file()


# -- trust


def test_the_first_key_trusts_itself_and_then_others(environment: Environment, topics: Topics) -> None:
    run("new", "ann")
    assert states() == [("ann", "not trusted")]
    (row,) = run("trust", "ann", "--why", "begins")
    assert (row["namespace"], row["state"], row["at_hand"]) == ("prod", "trusted", True)
    Path("eve.pub").write_bytes(public_pem(EVE.public))
    rows = run("trust", "eve", "--public", "eve.pub")
    assert [(one["key"], one["state"], one["at_hand"]) for one in rows][1] == (EVE.id, "trusted", False)
    said = [decode_definition(record.value or b"") for record in topics.records[environment.topics.parameters.name]]
    assert [(one.kind, one.why) for one in said] == [("key", "begins"), ("key", "")]
    assert len({record.key for record in topics.records[environment.topics.parameters.name]}) == 2


def test_trusting_again_says_nothing(environment: Environment, topics: Topics) -> None:
    run("new", "ann")
    for _ in range(2):
        assert run("trust")[0]["state"] == "trusted"
    assert len(topics.records[environment.topics.parameters.name]) == 1


def test_revoked_trusted_and_revoked_again(environment: Environment) -> None:
    run("new", "ann")
    run("trust", "ann")
    Path("eve.pub").write_bytes(public_pem(EVE.public))
    for _ in range(2):
        run("trust", "eve", "--public", "eve.pub")
        assert states() == [("ann", "trusted"), ("eve", "trusted")]
        run("revoke", "eve")
        assert states() == [("ann", "trusted"), ("eve", "revoked")]
    with pytest.raises(UnknownName, match=r"key 'eve' in namespace 'prod': not trusted; trusted: .* \(ann\)"):
        run("revoke", "eve")


def test_a_revocation_begins_the_plans_in_force_once_more(environment: Environment, topics: Topics) -> None:
    """Or who has the key could go on writing tokens as of a time when it was trusted."""
    run("new", "ann")
    run("trust")
    Path("eve.pub").write_bytes(public_pem(EVE.public))
    run("trust", "eve", "--public", "eve.pub")
    me, first, second = author_of(environment), deployable("p", champion="a:1"), deployable("p", champion="b:1")
    publish(environment, "prod", [Part(*definition) for definition in first.definitions()], me)
    swap(environment, "prod", "swapped", first.digest, me)
    with Controller(environment, "prod", "updated", me) as controller:
        controller.update(second.plan, [model.encode() for model in second.models])
    run("revoke", "eve")
    definitions = read_definitions(environment)
    revoked = next(offset for offset in range(definitions.position) if not definitions.trusted("prod", EVE.id, offset + 1)
                   and definitions.trusted("prod", EVE.id, offset))
    log = [record.value or b"" for record in topics.records[environment.topics.telemetry.name]]
    found = [Token.open(payload) for payload in log][-4:]
    assert [(token.deployment, token.kind, token.epoch, token.plan) for token, _ in found] == [
        *[("swapped", "swap", 2, first.digest)] * 2, *[("updated", "update", 2, second.digest)] * 2]
    for token, envelope in found:
        assert token.parameters_end > revoked
        definitions.check_token(envelope, "prod", token.parameters_end)
    assert definitions.update_cut("prod", "updated") is not None


def test_the_last_one_stays(environment: Environment, topics: Topics) -> None:
    run("new", "ann")
    run("trust")
    with pytest.raises(Untrusted, match="trust another first; nothing was written"):
        run("revoke", "ann")
    assert len(topics.records[environment.topics.parameters.name]) == 1


def test_who_is_not_trusted_can_trust_nobody(environment: Environment, topics: Topics) -> None:
    run("new", "ann")
    run("trust")
    (environment.keyring / "ann.pem").unlink()
    (environment.keyring / "ann.pub").unlink()
    run("new", "eve")
    with pytest.raises(Untrusted, match=r"^signature: key .* is not trusted in namespace 'prod'; nothing was written"):
        run("trust", "eve")
    assert len(topics.records[environment.topics.parameters.name]) == 1


def test_somebody_elses_key_can_not_be_the_first(environment: Environment) -> None:
    Path("eve.pub").write_bytes(public_pem(EVE.public))
    with pytest.raises(UnknownName, match="key 'eve': there is no"):
        run("trust", "eve", "--public", "eve.pub")
    with pytest.raises(InvalidSettings, match="give the key a NAME as well"):
        run("trust", "--public", "eve.pub")


def test_each_namespace_for_itself(environment: Environment) -> None:
    run("new", "ann")
    run("trust", "--namespace", "alice")
    assert states("--namespace", "alice") == [("ann", "trusted")]
    assert states() == [("ann", "not trusted")]


def test_one_who_is_overtaken_is_told_so(environment: Environment, topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    run("new", "ann")
    run("new", "bob")
    nobody, keyring = read_definitions(environment), Keyring(environment.keyring)
    trust(environment, "prod", "ann", keyring.public("ann"))
    monkeypatch.setattr("swapstream.scripts.trusting.read_definitions", lambda _: nobody)
    with pytest.raises(Conflict, match="somebody else changed the keys of namespace 'prod'"):
        trust(environment, "prod", "bob", keyring.public("bob"))


def test_up_makes_a_key_and_has_it_trusted_once(environment: Environment, topics: Topics) -> None:
    for _ in range(2):
        trust_first(environment)
        assert states() == [("own", "trusted")]
    assert len(topics.records[environment.topics.parameters.name]) == 1
    author_of(environment)


def test_up_takes_the_key_that_is_there(environment: Environment) -> None:
    run("new", "ann")
    trust_first(environment)
    assert states() == [("ann", "trusted")]


def test_up_leaves_a_namespace_alone_that_trusts_somebody(environment: Environment) -> None:
    run("new", "ann")
    run("trust")
    (environment.keyring / "ann.pem").unlink()
    trust_first(environment)
    assert Keyring(environment.keyring).names() == []


# -- publishing

PARTS = [Part("schema", "pumps", b"{}")]


def test_what_is_published_is_signed(environment: Environment, topics: Topics) -> None:
    trust_first(environment)
    definitions = publish(environment, "prod", PARTS, author_of(environment, "for a test"))
    assert definitions.find("prod", "schema", "pumps") is not None


def test_nothing_is_published_where_nobody_is_trusted(environment: Environment, topics: Topics) -> None:
    run("new", "ann")
    with pytest.raises(Untrusted, match=r"namespace 'prod' trusts no key yet: begin with `swapstream keys trust --namespace prod`"):
        publish(environment, "prod", PARTS, author_of(environment))
    assert topics.records == {}


def test_nor_without_a_key_or_with_another(environment: Environment, topics: Topics) -> None:
    trust_first(environment)
    for signer, line in ((None, "and this is not signed"), (EVE, rf"does not trust key {EVE.id}; it trusts .* \(own\)")):
        with pytest.raises(Untrusted, match=line):
            publish(environment, "prod", PARTS, Author("a person", "", signer))
    assert len(topics.records[environment.topics.parameters.name]) == 1


def test_a_name_that_could_be_a_path_is_not_published(environment: Environment, topics: Topics) -> None:
    trust_first(environment)
    with pytest.raises(InvalidDefinition, match=r"^schema '\.\./pumps': name: allowed are"):
        publish(environment, "prod", [Part("schema", "../pumps", b"{}")], author_of(environment))
    assert len(topics.records[environment.topics.parameters.name]) == 1
