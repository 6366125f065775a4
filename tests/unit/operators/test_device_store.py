"""The bytes of device tables: snapshots, blocks and journals that outlive the process that wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.models.errors import InvalidDefinition
from swapstream.operators import device_log
from swapstream.operators.device_store import BASE, JournalV1, read_table
from swapstream.operators.devices import DeviceTable
from swapstream.operators.layout import Layout, Part
from swapstream.operators.retention import Retention

FOLDER = Path(__file__).parent
# Written once by the release that had this format first; never to be written again.
V1 = (FOLDER / "devices.v1.msgpack").read_bytes()
V1_LAYOUT = Layout((Part("ewm", "ewm", 1, 1, "{}", {"mean": 2, "count": 1}),))
LAYOUT = Layout((Part("r", "readings", 1, 1, "{}", {"count": 1}, {"values": (3, 2)}),))
BOUNDS = Retention(max=5, evict_after=9)
Stored = dict[str, bytes]

frames_of_devices = st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6), max_size=12)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one or two slots, folded every other frame."""
    monkeypatch.setattr(device_log, "LEAST_BYTES", 600)


def apply(stored: Stored, changes: dict[str, bytes | None]) -> Stored:
    return {key: entry for key, entry in (stored | changes).items() if entry is not None}


def visit(table: DeviceTable, devices: list[str], time: int) -> None:
    """What a frame does to a table with a ring: each reading is (time, its number)."""
    for number, slot in enumerate(table.slots(devices, np.full(len(devices), time)).tolist()):
        count, ring = table.columns["r.count"], table.rings["r.values"]
        reading = [time, number]
        if not count[slot]:
            ring[slot] = reading
        ring[slot, int(count[slot, 0]) % 3] = reading
        count[slot] += 1


def filled(frames: list[list[str]], slots: int = 2) -> tuple[DeviceTable, list[Stored]]:
    """A table after frames, and what was stored of it after each."""
    table = DeviceTable(LAYOUT, BOUNDS, capacity=1)
    table._log.slots = slots
    stored = [apply({}, table.rebase())]
    for number, devices in enumerate(frames):
        visit(table, devices, 3 * number)
        stored.append(apply(stored[-1], table.changes()))
    return table, stored


@given(frames_of_devices, st.integers(1, 3), st.data())
def test_entries_rebuild_the_table_and_go_on(frames: list[list[str]], slots: int, data: st.DataObject) -> None:
    table, stored = filled(frames, slots)
    assert read_table(stored[-1], BOUNDS).snapshot() == table.snapshot()
    cut = data.draw(st.integers(0, len(frames)))
    rebuilt, entries = read_table(stored[cut], BOUNDS), stored[cut]
    assert not rebuilt.needs_rebase
    for number, devices in enumerate(frames[cut:], cut):
        visit(rebuilt, devices, 3 * number)
        entries = apply(entries, rebuilt.changes())
    assert rebuilt.snapshot() == table.snapshot() == read_table(entries, BOUNDS).snapshot()


@given(frames_of_devices)
def test_a_snapshot_rebuilds_the_table_and_disturbs_nothing(frames: list[list[str]]) -> None:
    table, stored = filled(frames)
    rebuilt = read_table({BASE: table.snapshot()}, BOUNDS)
    assert rebuilt.needs_rebase
    assert rebuilt.snapshot() == table.snapshot()
    visit(table, ["a", "z"], 100)
    visit(rebuilt, ["a", "z"], 100)
    assert rebuilt.snapshot() == table.snapshot() == read_table(apply(stored[-1], table.changes()), BOUNDS).snapshot()


def test_journals_are_folded_into_blocks_one_by_one() -> None:
    table = DeviceTable(LAYOUT, Retention(), capacity=1)
    table._log.slots = 4
    visit(table, [f"d{i}" for i in range(40)], 0)
    stored, blocks, kept = apply({}, table.rebase()), [], []
    for number in range(200):
        visit(table, [f"d{number * 7 % 40}", f"d{number * 11 % 40}"], number)
        changes = table.changes()
        blocks.append([key for key in changes if key.startswith("block/")])
        stored = apply(stored, changes)
        kept.append(sum(key.startswith("journal/") for key in stored))
    assert max(map(len, blocks)) == 1
    assert {key for found in blocks for key in found} == {f"block/{number:06}" for number in range(10)}
    assert max(kept) < 60
    assert read_table(stored).snapshot() == table.snapshot()


def test_nothing_new_is_nothing_to_write() -> None:
    table, _ = filled([["a", "b"]])
    assert table.changes() == {}


def test_a_journal_holds_only_the_new_readings_of_a_ring() -> None:
    layout = Layout((Part("r", "readings", 1, 1, "{}", {"count": 1}, {"values": (1_000, 8)}),))
    table = DeviceTable(layout)
    table.rebase()
    table.slots([f"device-{i}" for i in range(100)], np.arange(100))
    table.columns["r.count"][:100] = 5_000
    assert len(table.changes()["journal/000000000001"] or b"") > 100 * 1_000 * 8 * 8
    slots = table.slots(["device-7", "device-8"], np.array([1_000, 1_001]))
    table.columns["r.count"][slots] += 1
    assert len(table.changes()["journal/000000000002"] or b"") < 600


def test_a_missing_journal_layout_or_block_is_refused() -> None:
    _, stored = filled([["a"], ["b"], ["c"], ["d"]], slots=100)
    entries = {key: entry for key, entry in stored[-1].items() if not key.startswith("block/")}
    journals = sorted(key for key in entries if key.startswith("journal/"))
    with pytest.raises(InvalidDefinition, match="no layout"):
        read_table({key: entry for key, entry in entries.items() if key != "layout"})
    with pytest.raises(InvalidDefinition, match="one is missing"):
        read_table({key: entry for key, entry in entries.items() if key != journals[1]})
    other = msgspec.msgpack.encode(device_log.StoredLayout.of(V1_LAYOUT, 100))
    with pytest.raises(InvalidDefinition, match="another layout"):
        read_table(entries | {"layout": other})


def test_a_journal_that_a_block_needs_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_log, "LEAST_BYTES", 10**9)
    table, stored = filled([["a"], ["a"], ["a"]], slots=100)
    block = _with(table._log._encode_block(table, 0), number=1)
    last = {key: entry for key, entry in stored[-1].items() if key in ("layout", "journal/000000000003")}
    with pytest.raises(InvalidDefinition, match="begin at 3, a block needs those from 2"):
        read_table(last | {"block/000000": block})


def _with(data: bytes, **changes: Any) -> bytes:
    return msgspec.msgpack.encode({**msgspec.msgpack.decode(data), **changes})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slots": np.array([1, 0], "<i4").tobytes()}, "slots out of order"),
        ({"slots": np.array([-1, 0], "<i4").tobytes()}, "slots out of order or below 0"),
        ({"slots": np.array([0, 2**30], "<i4").tobytes()}, "outside 0 to 1"),
        ({"devices": ["a"]}, "names 1 devices, allowed is 2"),
        ({"devices": ["a", "a"]}, "a device is there twice"),
        ({"seen": b"1234567"}, "7 bytes"),
        ({"columns": {}}, "columns"),
        ({"columns": {"r.count": b""}}, "0 bytes, allowed is 16"),
        ({"fresh": {"r.count": np.array([-1, 2], "<i4").tobytes()}}, "below 0"),
        ({"fresh": {"r.count": np.array([9, 9], "<i4").tobytes()}}, "allowed is 96"),
        ({"removed": np.array([2**30], "<i4").tobytes()}, "outside 0 to 2"),
        ({"more": 1}, "more"),
        ({"v": 3}, "can't be read"),
    ],
)
def test_a_journal_that_contradicts_itself_is_refused(change: dict[str, Any], message: str) -> None:
    table = DeviceTable(LAYOUT)
    stored = apply({}, table.rebase())
    visit(table, ["a", "b"], 0)
    table._log.slots = 10**6
    journal = table.changes()["journal/000000000001"] or b""
    with pytest.raises(InvalidDefinition, match=message):
        read_table(stored | {"journal/000000000001": _with(journal, **change)})


# -- version 1


def journal_v1(base: int, devices: list[str], slots: list[int], layout: Layout = V1_LAYOUT) -> bytes:
    n = len(slots)
    columns = {"ewm.mean": np.full((n, 2), 7.0).tobytes(), "ewm.count": np.full(n, 9.0).tobytes()}
    seen = np.arange(100, 100 + n).tobytes()
    return msgspec.msgpack.encode(JournalV1(layout.digest, base, devices, np.array(slots).tobytes(), seen, columns))


def test_a_snapshot_of_version_1_is_read_for_ever() -> None:
    table = read_table({BASE: V1})
    assert table.layout == V1_LAYOUT
    assert table.names == ["pump-1", "pump-2", "ventil-Ü"]
    assert table.columns["ewm.mean"][:3].tolist() == [[2.0, 2.0], [1.0, 1.0], [1.0, 1.0]]
    assert (table.devices, table.seen.tolist()) == (["pump-2", "ventil-Ü", "pump-1"], [1, 10, 11])
    assert table.needs_rebase
    again = read_table(apply({}, table.rebase()))
    assert again.snapshot() == table.snapshot()


def test_journals_of_version_1_are_read_for_ever() -> None:
    table = read_table({BASE: V1, "journal/0": journal_v1(3, ["new"], [1, 3]), "journal/1": journal_v1(4, [], [0])})
    assert table.names == ["pump-1", "pump-2", "ventil-Ü", "new"]
    assert table.columns["ewm.count"][:4, 0].tolist() == [9, 9, 1, 9]
    assert table.devices == ["ventil-Ü", "pump-1", "pump-2", "new"]


@pytest.mark.parametrize(
    ("journal", "message"),
    [
        (journal_v1(2, [], [0]), "follows 2 devices, there are 3: one is missing"),
        (journal_v1(3, [], [0], LAYOUT), "another layout"),
        (journal_v1(3, [], [1, 0]), "out of order"),
        (journal_v1(3, [], [3]), "outside 0 to 2"),
        (journal_v1(3, ["pump-1"], [3]), "twice"),
        (b"\x80", "can't be read"),
    ],
)
def test_other_journals_of_version_1_are_refused(journal: bytes, message: str) -> None:
    with pytest.raises(InvalidDefinition, match=message):
        read_table({BASE: V1, "journal/0": journal})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"devices": ["a", "a", "b"]}, "twice"),
        ({"devices": ["a"]}, "allowed is 8"),
        ({"seen": b"1234567"}, "7 bytes"),
        ({"columns": {}}, "columns"),
        ({"more": 1}, "more"),
        ({"devices": None}, "devices"),
        ({"v": 2}, "can't be read"),
    ],
)
def test_a_snapshot_that_contradicts_itself_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidDefinition, match=message):
        read_table({BASE: _with(V1, **change)})


# -- any bytes


def today() -> bytes:
    return filled([["pump-1", "pump-2"], ["ventil-Ü", "pump-1"]])[0].snapshot()


@pytest.mark.parametrize("data", [V1, today()], ids=["v1", "today"])
def test_truncated_bytes_are_refused_wherever_they_end(data: bytes) -> None:
    for end in range(len(data)):
        with pytest.raises(InvalidDefinition):
            read_table({BASE: data[:end]})


@pytest.mark.parametrize("data", [V1, today()], ids=["v1", "today"])
@given(damage=st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_bytes_are_read_or_refused_but_never_crash(data: bytes, damage: list[tuple[int, int]]) -> None:
    changed = bytearray(data)
    for place, byte in damage:
        changed[place % len(data)] = byte
    try:
        table = read_table({BASE: bytes(changed)})
    except InvalidDefinition:
        return
    assert len(table) == 3


@given(st.binary(max_size=64))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    for entries in ({BASE: data}, {BASE: V1, "journal/0": data}, {"layout": data}):
        with pytest.raises(InvalidDefinition):
            read_table(entries)


@pytest.mark.parametrize("header", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91" * 100_000])
def test_headers_that_promise_too_much_are_refused(header: bytes) -> None:
    with pytest.raises(InvalidDefinition):
        read_table({BASE: header})
    with pytest.raises(InvalidDefinition):
        read_table({BASE: b"\x82\xa4kind\xa7devices\xa7devices" + header})
