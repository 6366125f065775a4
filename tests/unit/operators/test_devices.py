"""Device tables: slots, growth, and bytes that outlive the process that wrote them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.devices import DeviceTable, Layout, Part, read_table

LAYOUT = Layout((Part("ewm", "ewm", 1, 1, "{}", {"mean": 2, "count": 1}),))
# Written once by the first release that had this format; never to be written again.
V1 = (Path(__file__).parent / "devices.v1.msgpack").read_bytes()

frames_of_devices = st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6), max_size=8)


def visit(table: DeviceTable, devices: list[str], time: int) -> None:
    """What a frame does to a table: here each reading adds 1 to all columns."""
    slots = table.slots(devices, np.arange(time, time + len(devices)))
    for array in table.columns.values():
        np.add.at(array, slots, 1.0)


def filled(frames: list[list[str]]) -> tuple[DeviceTable, list[bytes]]:
    """A table after frames, and the journal of each."""
    table, journals = DeviceTable(LAYOUT, capacity=1), []
    for number, devices in enumerate(frames):
        visit(table, devices, 10 * number)
        journals.append(table.take_journal())
    return table, journals


def example() -> DeviceTable:
    return filled([["pump-1", "pump-2"], ["ventil-Ü", "pump-1"]])[0]


def test_slots_are_numbered_by_first_appearance_and_survive_growth() -> None:
    table = DeviceTable(LAYOUT, capacity=1)
    assert table.slots(["b", "a", "b"], np.array([1, 2, 3])).tolist() == [0, 1, 0]
    table.columns["ewm.mean"][:2] = [[1, 2], [3, 4]]
    assert table.slots([f"d{i}" for i in range(100)], np.arange(100)).tolist() == list(range(2, 102))
    assert len(table) == 102
    assert table.columns["ewm.mean"][:3].tolist() == [[1, 2], [3, 4], [0, 0]]
    assert table.devices[:3] == ["b", "a", "d0"]


def test_seen_is_the_log_time_of_the_last_record() -> None:
    table = DeviceTable(LAYOUT)
    table.slots(["a", "b", "a", "a"], np.array([5, 6, 7, 9]))
    assert table.seen[:2].tolist() == [9, 6]


@given(frames_of_devices)
def test_journals_alone_rebuild_the_table(frames: list[list[str]]) -> None:
    table, journals = filled(frames)
    rebuilt = DeviceTable(LAYOUT)
    for journal in journals:
        rebuilt.apply_journal(journal)
    assert rebuilt.snapshot() == table.snapshot()


@given(frames_of_devices, st.integers(0, 8))
def test_snapshot_and_the_journals_after_it_rebuild_the_table(frames: list[list[str]], cut: int) -> None:
    table, journals = filled(frames)
    base = filled(frames[:cut])[0].snapshot()
    rebuilt = read_table(base, journals[cut:])
    assert rebuilt.snapshot() == table.snapshot()
    visit(table, ["a", "new"], 500)
    visit(rebuilt, ["a", "new"], 500)
    assert rebuilt.take_journal() == table.take_journal()


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30), st.data())
def test_the_same_records_give_the_same_bytes_however_they_were_cut(records: list[str], data: st.DataObject) -> None:
    def after(cuts: list[int]) -> bytes:
        table = DeviceTable(LAYOUT)
        for first, last in zip([0, *cuts], [*cuts, len(records)], strict=True):
            visit(table, records[first:last], first)
            table.take_journal()
        return table.snapshot()

    cuts = sorted(data.draw(st.sets(st.integers(1, len(records)))))
    assert after(cuts) == after([])


def test_a_journal_holds_only_what_changed() -> None:
    table = DeviceTable(LAYOUT)
    visit(table, [f"device-{i}" for i in range(1_000)], 0)
    assert len(table.take_journal()) > 1_000 * 8 * 3
    visit(table, ["device-7"], 1_000)
    assert len(table.take_journal()) < 200
    assert len(table.take_journal()) < 150


def test_a_snapshot_between_does_not_disturb_journals_and_rebase_starts_them_anew() -> None:
    table = DeviceTable(LAYOUT)
    visit(table, ["a", "b"], 0)
    table.snapshot()
    first = table.take_journal()
    visit(table, ["b", "c"], 10)
    base = table.rebase()
    visit(table, ["c"], 20)
    last = table.take_journal()
    rebuilt = DeviceTable(LAYOUT)
    rebuilt.apply_journal(first)
    assert rebuilt.devices == ["a", "b"]
    assert read_table(base, [last]).snapshot() == table.snapshot()


def test_a_missing_repeated_or_foreign_journal_is_refused_and_changes_nothing() -> None:
    _, (first, second) = filled([["a"], ["b"]])
    table = DeviceTable(LAYOUT)
    with pytest.raises(InvalidDefinition, match="one is missing"):
        table.apply_journal(second)
    table.apply_journal(first)
    before = table.snapshot()
    with pytest.raises(InvalidDefinition, match="follows a table of 0 devices, this one has 1"):
        table.apply_journal(first)
    other = DeviceTable(Layout((Part("ewm", "ewm", 1, 2, "{}", {"mean": 2, "count": 1}),)))
    with pytest.raises(InvalidDefinition, match="another layout"):
        other.apply_journal(first)
    assert table.snapshot() == before


def test_a_snapshot_of_version_1_is_read_for_ever() -> None:
    table = read_table(V1)
    assert table.devices == ["pump-1", "pump-2", "ventil-Ü"]
    assert table.seen[:3].tolist() == [11, 1, 10]
    assert table.columns["ewm.mean"][:3].tolist() == [[2.0, 2.0], [1.0, 1.0], [1.0, 1.0]]
    assert table.layout == LAYOUT
    assert table.snapshot() == V1 == example().snapshot()


def test_another_version_is_refused() -> None:
    raw = msgspec.msgpack.decode(V1)
    with pytest.raises(InvalidDefinition, match="version 1"):
        read_table(msgspec.msgpack.encode({**raw, "v": 2}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"devices": ["a", "a", "b"]}, "a device twice"),
        ({"devices": ["a"]}, "allowed is 8"),
        ({"seen": b"1234567"}, "7 bytes"),
        ({"columns": {}}, "columns"),
        ({"columns": {"ewm.mean": b"", "ewm.count": b""}}, "0 bytes, allowed is 48"),
        ({"more": 1}, "more"),
        ({"devices": None}, "devices"),
    ],
)
def test_a_snapshot_that_contradicts_itself_is_refused(change: dict[str, object], message: str) -> None:
    raw = msgspec.msgpack.decode(V1)
    with pytest.raises(InvalidDefinition, match=message):
        read_table(msgspec.msgpack.encode({**raw, **change}))


@pytest.mark.parametrize("slots", [[1, 0], [0, 0], [-1, 0], [0, 9]])
def test_a_journal_with_impossible_slots_is_refused(slots: list[int]) -> None:
    table = DeviceTable(LAYOUT)
    visit(table, ["a", "b"], 0)
    raw = msgspec.msgpack.decode(table.take_journal())
    raw["slots"] = np.array(slots, "<i8").tobytes()
    with pytest.raises(InvalidDefinition, match="slots out of order or beyond 2"):
        DeviceTable(LAYOUT).apply_journal(msgspec.msgpack.encode(raw))


def test_truncated_bytes_are_refused_wherever_they_end() -> None:
    for end in range(len(V1)):
        with pytest.raises(InvalidDefinition):
            read_table(V1[:end])


@given(st.lists(st.tuples(st.integers(0, len(V1) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_bytes_are_read_or_refused_but_never_crash(damage: list[tuple[int, int]]) -> None:
    data = bytearray(V1)
    for place, byte in damage:
        data[place] = byte
    try:
        table = read_table(bytes(data))
    except InvalidDefinition:
        return
    assert len(table) == 3


@given(st.binary(max_size=64))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidDefinition):
        read_table(data)
    with pytest.raises(InvalidDefinition):
        DeviceTable(LAYOUT).apply_journal(data)


@pytest.mark.parametrize("header", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91" * 100_000])
def test_headers_that_promise_too_much_are_refused(header: bytes) -> None:
    with pytest.raises(InvalidDefinition):
        read_table(header)
    with pytest.raises(InvalidDefinition):
        read_table(b"\x82\xa4kind\xa7devices\xa7devices" + header)
