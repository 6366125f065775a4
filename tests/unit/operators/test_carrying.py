"""Swaps that change extractors: what goes on, what is kept, and that neither frames nor failures make a difference.

`python -m tests.unit.operators.test_carrying` wrote devices.v3.msgpack, when version 3 was new.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapstream.models.errors import InvalidDefinition
from swapstream.operators import device_log
from swapstream.operators.device_log import StoredLayout
from swapstream.operators.device_store import BASE
from swapstream.operators.devices import DeviceTable
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.frame import Float64, Frame
from swapstream.operators.retention import DEFAULT_RETENTION, Retention

FIELDS = ("temperature", "flow")
SPECS: list[Any] = [
    ["identity"],
    ["ewm"],
    ["identity", "ewm"],
    [{"ewm": {"halflife": 2, "label": "fast"}}],
    ["elapsed", {"ewm": {"fields": ["flow"]}}],
    [{"lags": {"steps": [1, 3]}}],
    [{"window": {"n": 6}}, "ewm"],
    [{"rolling": {"n": 4, "fields": ["flow"]}}, "elapsed"],
]
BOUNDS = (DEFAULT_RETENTION, Retention(max=4), Retention(evict_after=30), Retention(max=5, evict_after=60))
Stored = dict[str, bytes]
V3 = Path(__file__).with_name("devices.v3.msgpack")
"""Never to be written again."""
SMALL = {"LEAST_BYTES": 600, "LEAST_SLOTS": 2, "BLOCK_BYTES": 1, "MOVED_BYTES": 1}


class Phase(NamedTuple):
    """A plan's extractor, and the devices of its records."""

    spec: Any
    devices: list[str]


phases = st.lists(st.tuples(st.sampled_from(SPECS), st.lists(st.sampled_from("abcdefgh"), max_size=14)).map(lambda p: Phase(*p)),
                  min_size=1, max_size=6)  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of two slots, one of which moves with a frame."""
    for name, value in SMALL.items():
        monkeypatch.setattr(device_log, name, value)


def frame(devices: list[str], first: int) -> Frame:
    """Record n has the values n² and n³ mod 17, at second and log time 7 n."""
    n = np.arange(first, first + len(devices))
    values = np.stack([n**2 % 97, n**3 % 17], axis=1).astype(float)
    return Frame(0, n, 7 * n, 1_000_000 * n, devices, values)


class Life:
    """A table through the swaps of its plans, as a shard has it: written after each frame, read again after a crash."""

    def __init__(self, retention: Retention = DEFAULT_RETENTION) -> None:
        self.retention = retention
        self.number = 0
        self.composite: Composite | None = None
        self.table: DeviceTable | None = None
        self.stored: Stored = {}
        self.features: list[bytes] = []

    def swap(self, spec: Any) -> None:
        self.composite = Composite.parse(spec, FIELDS, self.retention)
        self.table = self.composite.table() if self.table is None else self.composite.carry(self.table)

    def see(self, devices: list[str]) -> tuple[Float64, Any]:
        assert self.composite is not None
        assert self.table is not None
        found = self.composite.extract(frame(devices, self.number), self.table)
        self.number += len(devices)
        self.features += [row.tobytes() + bool(cold).to_bytes() for row, cold in zip(*found, strict=True)]
        return found

    def write(self) -> dict[str, bytes | None]:
        assert self.table is not None
        whole = self.table.needs_rebase
        changes = self.table.rebase() if whole else self.table.changes()
        self.stored = {key: entry for key, entry in (({} if whole else self.stored) | changes).items() if entry is not None}
        return changes

    def crash(self) -> None:
        assert self.composite is not None
        self.table = self.composite.restore(self.stored)

    def snapshot(self) -> bytes:
        assert self.table is not None
        return self.table.snapshot()


def plain(some: list[Phase], retention: Retention) -> tuple[list[bytes], bytes]:
    """Record by record, never written."""
    life = Life(retention)
    for spec, devices in some:
        life.swap(spec)
        for device in devices:
            life.see([device])
    return life.features, life.snapshot()


@settings(max_examples=300)
@given(phases, st.sampled_from(BOUNDS), st.data())
def test_neither_frames_nor_crashes_make_a_difference(some: list[Phase], retention: Retention, data: st.DataObject) -> None:
    life = Life(retention)
    for spec, devices in some:
        life.swap(spec)
        cuts = sorted(data.draw(st.sets(st.integers(0, len(devices)))))
        for first, last in zip([0, *cuts], [*cuts, len(devices)], strict=True):
            life.see(devices[first:last])
            if data.draw(st.integers(0, 3)):
                life.write()  # else the swap that comes next may lie in the middle of a frame
                if not data.draw(st.integers(0, 2)):
                    life.crash()
    assert (life.features, life.snapshot()) == plain(some, retention)
    life.write()
    life.crash()
    assert life.snapshot() == plain(some, retention)[1]


def test_a_device_comes_to_the_last_free_slot_while_the_table_moves() -> None:
    life = Life(Retention(max=5, evict_after=60))
    life.swap(["ewm"])
    life.see(["d", "b", "a", "c", "b", "d"])
    life.number += 8  # all of them are forgotten
    life.see(["a", "c"])
    life.write()
    life.swap(SPECS[3])
    life.see(["b"])
    life.write()
    before = life.snapshot()
    life.crash()
    assert life.snapshot() == before


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=12), min_size=3, max_size=3), st.sampled_from(SPECS[1:5]))
def test_a_swap_back_goes_on_from_the_cut(devices: list[list[str]], other: Any) -> None:
    """What a swap back finds is what would be there, had the readings between not been."""
    life, alone = Life(), Composite.parse(["ewm"], FIELDS)
    table = alone.table()
    for spec, some in zip((["ewm"], other, ["ewm"]), devices, strict=True):
        life.swap(spec)
        used, first = "ewm" in spec, life.number
        found = life.see(some)
        if used:
            wanted = alone.extract(frame(some, first), table)
            columns = [life.composite.features.index(name) for name in alone.features]  # type: ignore[union-attr]
            assert found[0][:, columns].tobytes() == wanted[0].tobytes()


def test_devices_are_warm_after_a_swap_back_but_for_those_that_are_new() -> None:
    life = Life()
    life.swap([{"ewm": {"halflife": 2, "warmup": 3}}])
    life.see(["a"] * 5)
    life.swap(["identity", {"ewm": {"halflife": 3, "warmup": 1}}])
    life.see(["a", "b", "b", "b", "b"])
    life.swap([{"ewm": {"halflife": 2, "warmup": 3}}])
    assert life.see(["a", "b"])[1].tolist() == [False, True]


def test_of_readings_those_count_of_which_there_are_more() -> None:
    """Of a device that is new since the cut only the few that the plan between has kept."""
    life = Life()
    life.swap([{"lags": {"steps": [4]}}])
    life.see(["a"] * 6)
    life.swap([{"lags": {"steps": [2]}}])
    life.see(["b", "b", "b", "a"])
    life.swap([{"lags": {"steps": [4]}}])
    features, warming = life.see(["a", "b", "b"])
    assert warming.tolist() == [False, True, True]
    assert features[0].tolist() == [2**2, 2**3]
    life.swap([{"lags": {"steps": [9]}}])
    assert len(life.table.layout.kept) == 0, "a longer look back holds all that the shorter one did"  # type: ignore[union-attr]


def test_what_is_kept_is_dropped_by_the_next_swap_of_extractors_and_by_no_other() -> None:
    life = Life()
    life.swap(["ewm"])
    life.see(["a", "b"])
    life.swap(["elapsed"])
    keys = [part.key for part in life.table.layout.kept]  # type: ignore[union-attr]
    assert keys == ["kept/ewm"]
    life.swap(["elapsed", "identity"])
    assert [part.key for part in life.table.layout.kept] == keys  # type: ignore[union-attr]
    life.swap([{"ewm": {"halflife": 9}}])
    assert [part.key for part in life.table.layout.kept] == ["kept/elapsed"]  # type: ignore[union-attr]


def test_the_first_reading_stands_in_for_earlier_ones_after_a_crash_too() -> None:
    """Of a device that was there before readings were kept at all."""
    life = Life()
    life.swap(["ewm"])
    life.see(["a"])
    life.swap([{"lags": {"steps": [3]}}])
    life.write()
    life.see(["a"])
    life.write()
    life.crash()
    assert life.see(["a"])[0].tolist() == [[1, 1]]


def test_a_plan_without_state_keeps_that_of_the_one_before() -> None:
    life = Life()
    life.swap([{"ewm": {"warmup": 1}}])
    life.see(["a", "a", "b"])
    life.swap(["identity"])
    life.see(["a", "c"])
    life.write()
    life.crash()
    life.swap([{"ewm": {"warmup": 1}}])
    assert life.see(["a", "b", "c"])[1].tolist() == [False, False, True]


def test_one_that_was_forgotten_meanwhile_starts_anew() -> None:
    life = Life(Retention(max=2))
    life.swap([{"ewm": {"warmup": 1}}])
    life.see(["a", "b"])
    life.swap([{"ewm": {"halflife": 3}}])
    life.see(["c", "a"])
    life.swap([{"ewm": {"warmup": 1}}])
    assert life.see(["a", "c"])[1].tolist() == [True, True]


def test_rows_move_a_few_with_each_frame_and_what_is_kept_is_not_written_with_them() -> None:
    life, devices = Life(), [f"d{number}" for number in range(40)]
    life.swap([{"window": {"n": 50}}])
    life.see(devices * 20)
    life.write()
    whole = sum(map(len, life.stored.values()))
    life.swap(["ewm"])
    sizes, moved = [], []
    for number in range(60):
        life.see([devices[number % 40]])
        changes = life.write()
        sizes.append(sum(len(entry or b"") for entry in changes.values()))
        moved += [key for key in changes if key.startswith("moved/")]
    assert sorted(moved[:20]) == [f"moved/{number:06}" for number in range(20)]
    assert max(sizes) < whole / 5
    assert max(sizes[30:]) < whole / 5
    assert not [key for key in life.stored if key.startswith("block/")]
    life.swap([{"window": {"n": 50}}])
    life.see(devices[:1])
    assert "block/000000" in life.write()
    life.crash()


def test_a_second_swap_in_the_middle_of_a_move_writes_all_at_once() -> None:
    life = Life()
    life.swap(["ewm"])
    life.see([f"d{number}" for number in range(9)])
    life.write()
    life.swap(["elapsed"])
    life.see(["d1"])
    life.write()
    life.swap(["identity", {"ewm": {"halflife": 7}}])
    assert life.table.needs_rebase  # type: ignore[union-attr]
    life.write()
    life.crash()


def test_a_table_without_kept_parts_is_written_as_ever() -> None:
    life = Life()
    life.swap(["ewm"])
    life.see(["a"])
    life.write()
    said = msgspec.msgpack.decode(life.stored["layout"])
    assert said == {"kind": "layout", "layout": {"parts": said["layout"]["parts"]}, "slots": 2, "v": 2}
    assert msgspec.msgpack.decode(life.snapshot())["v"] == 2
    life.swap(["identity", {"ewm": {"halflife": 3}}])
    assert msgspec.msgpack.decode(life.snapshot())["v"] == 3


def test_bytes_of_a_later_release_and_of_two_layouts_that_do_not_belong_together_are_refused() -> None:
    life = Life()
    life.swap(["ewm"])
    life.see(["a", "b", "c"])
    life.write()
    life.swap(["elapsed"])
    life.see(["a"])
    life.write()
    head = msgspec.msgpack.decode(life.stored["layout"], type=StoredLayout)
    later = msgspec.structs.replace(head, v=4)
    with pytest.raises(InvalidDefinition, match="version 4: this release reads versions 1 to 3"):
        Composite.parse(["elapsed"], FIELDS).restore(life.stored | {"layout": msgspec.msgpack.encode(later)})
    other = msgspec.structs.replace(head, layout=msgspec.structs.replace(head.layout, kept=()))
    with pytest.raises(InvalidDefinition, match="one does not follow from the other"):
        Composite.parse(["elapsed"], FIELDS).restore(life.stored | {"layout": msgspec.msgpack.encode(other)})
    snapshot = msgspec.msgpack.decode(life.snapshot())
    with pytest.raises(InvalidDefinition, match="version 4"):
        Composite.parse(["elapsed"], FIELDS).restore({BASE: msgspec.msgpack.encode({**snapshot, "v": 4})})


# -- version 3


def moving() -> Life:
    """From a window to an average, and one of three blocks has moved."""
    life = Life()
    life.swap([{"window": {"n": 3}}, "elapsed"])
    life.see(["a", "b", "c", "d", "e", "a", "b", "a"])
    life.write()
    life.see(["c"])
    life.swap(["identity", {"ewm": {"halflife": 2, "warmup": 1}}])
    life.see(["a", "f"])
    life.write()
    life.see(["b"])
    return life


def test_what_was_kept_and_half_moved_is_read_for_ever() -> None:
    entries, snapshot = msgspec.msgpack.decode(V3.read_bytes())
    smooth, before = (Composite.parse(spec, FIELDS) for spec in (
        ["identity", {"ewm": {"halflife": 2, "warmup": 1}}], [{"window": {"n": 3}}, "elapsed"]))  # fmt: skip
    table = smooth.restore(entries)
    assert [part.key for part in table.layout.kept] == ["kept/elapsed", "kept/readings"]
    smooth.extract(frame(["b"], 11), table)
    assert table.snapshot() == snapshot == smooth.restore({BASE: snapshot}).snapshot()
    table = before.carry(smooth.restore({BASE: snapshot}))
    features, warming = before.extract(frame(["a", "f"], 12), table)
    assert warming.tolist() == [False, True]
    assert features[0].tolist() == [25.0, 6.0, 49.0, 3.0, 47.0, 11.0, 5.0]


def write_examples() -> None:
    for name, value in SMALL.items():
        setattr(device_log, name, value)
    life = moving()
    V3.write_bytes(msgspec.msgpack.encode([life.stored, life.snapshot()]))


if __name__ == "__main__":
    write_examples()
