"""Labels: what somebody knows of records, mostly later. JSON on the topic `labels`, of one record or of a device over a span of event time.

Whatever order they arrive in, and however often, one label of a record counts:
- one that names the record before one that names a span;
- of these the newest by `when`; of several at one moment the last in the log.
So a later label corrects an earlier one, one with `label` false takes an anomaly back, and the same label twice changes nothing. A
record that no label is about is unlabelled, which most readers take for normal where others are labelled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.frame import Bool, Int64
from swapstream.operators.wire import check_version

VERSION = 2
FAR = 2**62
"""Times and offsets lie below."""
MAX_INDEX = 2**31
NOBODY = -1
"""The place of the label of a record that none is about."""


class RecordId(NamedTuple):
    """A reading: its message's place in the log, and its own in the message."""

    topic: str
    partition: int
    offset: int
    index: int = 0  # type: ignore[assignment]  # tuple has a method of this name

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}:{self.offset}" + (f"[{self.index}]" if self.index else "")


class DeviceSpan(NamedTuple):
    """A device from one event time to another (µs since 1970), both included."""

    device: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.device} from {self.first} to {self.last}"


class Label(msgspec.Struct, frozen=True):
    """`label`: whether it is an anomaly; `kind` and `fields` say of what sort and where. `when` it was said, in ms since 1970 (0: when its
    message was written), and by whom."""

    about: RecordId | DeviceSpan
    label: bool = True
    kind: str = ""
    fields: tuple[str, ...] = ()
    when: int = 0
    who: str = ""

    def rounded(self, tick: int) -> Label:
        """Its span as the messages have it, whose times are rounded down to `tick` µs."""
        if isinstance(self.about, RecordId):
            return self
        device, first, last = self.about
        return msgspec.structs.replace(self, about=DeviceSpan(device, first - first % tick, last - last % tick))

    def encode(self) -> bytes:
        """A message of `labels`."""
        return msgspec.json.encode({
            **self.about._asdict(), "kind": self.kind, "fields": self.fields, "label": self.label,
            **({"when": self.when} if self.when else {}), **({"who": self.who} if self.who else {}), "v": VERSION,
        })  # fmt: skip

    @property
    def key(self) -> bytes:
        """Of its message: the device, or the partition, so that what is said of a thing stays in order."""
        return (self.about.device if isinstance(self.about, DeviceSpan) else f"{self.about.topic}/{self.about.partition}").encode()


class _Wire(msgspec.Struct, frozen=True):
    """A message: version 1 had device, first, last, kind and fields only. Other keys are passed over."""

    device: str | None = None
    first: int | None = None
    last: int | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    index: int = 0
    kind: str = ""
    fields: tuple[str, ...] = ()
    label: bool = True
    when: int = 0
    who: str = ""
    v: int = 1


_DECODER = msgspec.json.Decoder(_Wire)


def parse(value: bytes, written: int) -> Label:
    """A message of `labels` of any version; `written` is its Kafka timestamp (ms). Raises InvalidDefinition."""
    try:
        wire = _DECODER.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidDefinition(f"not a label: {error}") from error
    check_version(wire.v, VERSION, InvalidDefinition, "label")
    return check(Label(_about(wire), wire.label, wire.kind, wire.fields, wire.when or written, wire.who))


def check(label: Label) -> Label:
    """The label. Raises InvalidDefinition for one that is about nothing that can be."""
    about = label.about
    if isinstance(about, RecordId):
        if not about.topic or not (0 <= about.partition < MAX_INDEX and 0 <= about.offset < FAR and 0 <= about.index < MAX_INDEX):
            raise InvalidDefinition(f"label of record {about!s:.200}: partition, offset and index are numbers from 0 on")
    elif not about.device or not -FAR < about.first <= about.last < FAR:
        raise InvalidDefinition(f"label of {about!s:.200}: a span has a device, and ends when or after it begins")
    return label


def _about(wire: _Wire) -> RecordId | DeviceSpan:
    """A label of a record may name its device as well, and no times."""
    span, record = (wire.first, wire.last), (wire.topic, wire.partition, wire.offset)
    if span == (None, None) and wire.topic is not None and wire.partition is not None and wire.offset is not None:
        return RecordId(wire.topic, wire.partition, wire.offset, wire.index)
    if record == (None, None, None) and wire.device is not None and wire.first is not None and wire.last is not None:
        return DeviceSpan(wire.device, wire.first, wire.last)
    raise InvalidDefinition("not a label: it is about topic, partition and offset (and index), or about device, first and last, not both")


class Labels:
    """Labels, looked up. `all` is in the log's order."""

    def __init__(self, labels: Iterable[Label]) -> None:
        self.all = tuple(labels)
        records: dict[tuple[str, int], list[tuple[Rank, RecordId]]] = defaultdict(list)
        spans: dict[str, list[tuple[Rank, DeviceSpan]]] = defaultdict(list)
        for place, label in enumerate(self.all):
            about, rank = label.about, Rank(label.when, place)
            if isinstance(about, RecordId):
                records[about.topic, about.partition].append((rank, about))
            else:
                spans[about.device].append((rank, about))
        self._records = {where: _Records(sorted(found)) for where, found in records.items()}
        self._spans = {device: _Spans(sorted(found)) for device, found in spans.items()}

    def __len__(self) -> int:
        return len(self.all)

    def places(self, topic: str, partition: int, offsets: Int64, index: Int64, devices: Sequence[str], codes: Int64,
               times: Int64) -> Int64:
        """int64[n]: the place in `all` of the label that counts for each reading, NOBODY where there is none.

        A reading is known by its offset and index in a partition; its device is `devices[codes[i]]`, its event time in µs.
        """
        found = np.full(len(offsets), NOBODY)
        if self._spans:
            order = np.argsort(codes, kind="stable")
            edges = np.searchsorted(codes[order], np.arange(len(devices) + 1))
            for code, device in enumerate(devices):
                if device in self._spans and edges[code] < edges[code + 1]:
                    rows = order[edges[code] : edges[code + 1]]
                    found[rows] = self._spans[device].places(times[rows])
        if records := self._records.get((topic, partition)):
            said = records.places(offsets, index)
            found = np.where(said == NOBODY, found, said)
        return found

    def said(self, topic: str, partition: int, offsets: Int64, index: Int64, devices: Sequence[str], codes: Int64,
             times: Int64) -> tuple[Bool, Bool]:
        """Whether each reading has a label, and whether that says that it is an anomaly; readings as in `places`."""
        places = self.places(topic, partition, offsets, index, devices, codes, times)
        values = np.array([*(label.label for label in self.all), False])  # NOBODY is the last place
        return places != NOBODY, values[places]


class Rank(NamedTuple):
    """What decides which of several labels counts: the highest does."""

    when: int
    place: int


class _Records:
    """Labels of records of one partition, the one that counts most last."""

    def __init__(self, labels: Sequence[tuple[Rank, RecordId]]) -> None:
        newest = {(about.offset, about.index): rank.place for rank, about in labels}
        ids = np.array(sorted(newest), np.int64)
        self._offsets = np.unique(ids[:, 0])
        self._keys = self._key(ids[:, 0], ids[:, 1])
        self._places = np.array([newest[offset, index] for offset, index in ids.tolist()], np.int64)

    def _key(self, offsets: Int64, index: Int64) -> Int64:
        """An offset's rank and an index as one number: offsets are too large to hold both."""
        return np.asarray(np.searchsorted(self._offsets, offsets) * MAX_INDEX + index)

    def places(self, offsets: Int64, index: Int64) -> Int64:
        rank = np.minimum(np.searchsorted(self._offsets, offsets), len(self._offsets) - 1)
        keys = self._key(offsets, index)
        found = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        there = (self._offsets[rank] == offsets) & (self._keys[found] == keys)
        return np.where(there, self._places[found], NOBODY)


class _Spans:
    """Labels of one device, the one that counts most last: event time cut where one begins or has ended, and what counts in between."""

    def __init__(self, labels: Sequence[tuple[Rank, DeviceSpan]]) -> None:
        ends = np.array([(about.first, about.last + 1) for _, about in labels], np.int64)
        self._cuts = np.unique(ends)
        self._places = np.full(len(self._cuts) + 1, NOBODY)  # before the first cut, and behind each
        for (rank, _), (begin, end) in zip(labels, np.searchsorted(self._cuts, ends).tolist(), strict=True):
            self._places[begin + 1 : end + 1] = rank.place

    def places(self, times: Int64) -> Int64:
        return self._places[np.searchsorted(self._cuts, times, side="right")]
