"""Messages to the keys that they belong under: each message's device, found where its schema says.

Nothing else in a message is looked at. It goes on as it is, whatever is wrong with its readings; only what has no device that can
be read is a dead letter. A message of readings of several devices, that belong to different partitions, is split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from swapstream.models.schema import Schema
from swapstream.operators.dead_letters import dead_letter
from swapstream.operators.frame import Int64
from swapstream.operators.readers import MAX_DEVICE_BYTES, Bad, device_detail, devices_good
from swapstream.operators.records import device_record
from swapstream.operators.splitting import CantSplit, split
from swapstream.operators.token import is_token
from swapstream.operators.typed import Typed

MAX_MESSAGE = 12_000_000
"""Bytes of a message that the sink can take: less than the 12 MiB of a request."""

Keys = list[bytes | None]


class Messages(NamedTuple):
    """n messages of one topic, in offset order within a partition: `timestamps` are Kafka's, in ms."""

    payloads: Sequence[bytes | None]
    partitions: Int64
    offsets: Int64
    timestamps: Int64


class Rekeyed(NamedTuple):
    """What becomes of n messages. `keys`: of each the keys under which something is written; none for a token, and None for a dead
    letter. `bodies`: what is written under them, None: the message as it is."""

    keys: list[Keys]
    bodies: list[list[bytes] | None]


class Rekeying:
    """Messages of `topic` to keys, by the `schemas` that it holds. `partition_of`: where a key goes. Dead letters name the deployment.

    A message's type is looked at only where it tells where the device lies. Keys and bodies depend on the message alone.
    """

    def __init__(
        self, schemas: Sequence[Schema], topic: str, partition_of: Callable[[bytes], int], namespace: str = "", deployment: str = ""
    ) -> None:
        found = one_place(schemas) or tuple(schemas)
        self._topic, self._namespace, self._deployment = topic, namespace, deployment
        made = [device_record(schema, tagged=bool(schema.type) and len(found) > 1) for schema in found]
        self._typed = Typed(found, [one.type for one in made])
        self._schemas = {one.type: schema for one, schema in zip(made, found, strict=True)}
        self._device: dict[Any, Callable[[Any], str | list[str]]] = {one.type: attrgetter(one.where["device"]) for one in made}
        self._homes = Homes(partition_of)

    def devices(self, payloads: Sequence[bytes | None]) -> list[list[str]]:
        """The devices that each message names; none where that can't be read."""
        records, places, _ = self._typed.records(payloads, 0)
        found: list[list[str]] = [[] for _ in payloads]
        for record, place in zip(records, places.tolist(), strict=True):
            device = self._device[type(record)](record)
            found[place] = [device] if isinstance(device, str) else device
        return found

    def rekey(self, messages: Messages) -> Rekeyed:
        """Never raises for what a message holds. Reasons of dead letters: as Decoders.decode, and "size"."""
        payloads = messages.payloads
        records, places, bad = self._typed.records(payloads, 0)
        devices = [self._device[type(record)](record) for record in records]
        if not bad and small(payloads) and plain(devices):
            return Rekeyed([[device.encode()] for device in devices], [None] * len(devices))  # type: ignore[union-attr]
        found = Rekeyed([[] for _ in payloads], [None] * len(payloads))
        for record, device, place in zip(records, devices, places.tolist(), strict=True):
            try:
                found.keys[place][:], found.bodies[place] = self._homes_of(record, device, payloads[place] or b"")
            except CantSplit as error:
                bad.append(Bad(place, None, *error.args))
        for entry in bad:
            if not is_token(payloads[entry.place]):
                found.keys[entry.place][:] = [None]
                found.bodies[entry.place] = [self._letter(messages, entry)]
        return found

    def _homes_of(self, record: Any, device: str | list[str], payload: bytes) -> tuple[Keys, list[bytes] | None]:
        """The keys of a message and its parts. Raises CantSplit."""
        if len(payload) > MAX_MESSAGE:
            raise CantSplit("size", f"{len(payload)} bytes; at most {MAX_MESSAGE} are allowed")
        names = [device] if isinstance(device, str) else device
        homes = [self._homes[name] for name in names]
        good = {home.partition: home.key for home in reversed(homes) if home}
        if not good:
            raise CantSplit("device", device_detail(names[0])) if names else CantSplit("empty", "no reading")
        if len(good) == 1:
            return [*good.values()], None
        first = next(home.partition for home in homes if home)  # there what has no good name becomes a dead letter, when it is read
        where = [home.partition if home else first for home in homes]
        return [good[partition] for partition in dict.fromkeys(where)], split(payload, self._schemas[type(record)], names, where)

    def _letter(self, messages: Messages, bad: Bad) -> bytes:
        place = bad.place
        letter = dead_letter(
            self._topic, int(messages.partitions[place]), int(messages.offsets[place]), int(messages.timestamps[place]),
            bad.reason, bad.detail, messages.payloads[place],
        )  # fmt: skip
        return msgspec.structs.replace(letter, namespace=self._namespace, deployment=self._deployment).encode()


class Home(NamedTuple):
    """Where a device belongs."""

    key: bytes
    partition: int


class Homes(dict[str, Home | None]):
    """By name; None for a name that is not good. Remembered, since the hash is slow in Python."""

    MOST = 1_000_000

    def __init__(self, partition_of: Callable[[bytes], int]) -> None:
        self._partition_of = partition_of

    def __missing__(self, name: str) -> Home | None:
        key = name.encode()
        home = Home(key, self._partition_of(key)) if 0 < len(key) <= MAX_DEVICE_BYTES else None
        if len(self) >= self.MOST:
            self.clear()
        self[name] = home
        return home


def one_place(schemas: Sequence[Schema]) -> tuple[Schema] | None:
    """One schema that stands for all, where all have the device in the same place and no message needs to be split."""
    places = {schema.device for schema in schemas}
    if len(places) > 1 or (len(schemas) > 1 and any(schema.layout == "columnar" for schema in schemas)):
        return None
    return (msgspec.structs.replace(schemas[0], type="", type_key=""),)


def small(payloads: Sequence[bytes | None]) -> bool:
    return max(map(len, payloads), default=0) <= MAX_MESSAGE  # type: ignore[arg-type]


def plain(devices: Sequence[Any]) -> bool:
    """Whether every message has one device, with a good name."""
    return set(map(type, devices)) <= {str} and devices_good(devices) is None
