"""Cut maps."""

from __future__ import annotations

import msgspec
import pytest

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.cut import Cut

CUT = Cut("prod", "detect", 3, "d" * 64, "telemetry", {1: 20, 0: 10})


def test_records_after_the_tokens_offset_are_covered() -> None:
    assert [CUT.covers(0, offset) for offset in (9, 10, 11)] == [False, False, True]
    assert CUT.name == "detect:3"


def test_a_partition_that_came_later_is_covered_from_its_first_record() -> None:
    assert CUT.covers(2, 0)


def test_bytes_do_not_depend_on_the_order_of_partitions() -> None:
    other = msgspec.structs.replace(CUT, offsets={0: 10, 1: 20})
    assert CUT.encode() == other.encode()
    assert Cut.decode(CUT.encode()) == CUT


@pytest.mark.parametrize("body", [b"", b"\x80", b"\xa1\xff", b"\x91" * 100_000, b"\xdf\xff\xff\xff\xff"])
def test_other_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidDefinition, match="not a cut map"):
        Cut.decode(body)


def test_another_version_is_refused() -> None:
    later = msgspec.msgpack.encode(msgspec.structs.replace(CUT, v=4))
    with pytest.raises(InvalidDefinition, match="version 4"):
        Cut.decode(later)


def test_one_at_arrival_says_where_in_no_partition() -> None:
    cut = Cut("prod", "detect", 4, "d" * 64, "telemetry", {}, arrival=True)
    assert Cut.decode(cut.encode()) == cut
    assert not cut.covers(0, 10**9)
    with pytest.raises(InvalidDefinition, match="it can't have offsets"):
        Cut.decode(msgspec.structs.replace(cut, offsets={0: 1}).encode())


def test_a_handover_says_which_jobs_answer_before_and_behind_it() -> None:
    cut = msgspec.structs.replace(CUT, predecessor=0, successor=2)
    assert Cut.decode(cut.encode()) == cut
    assert (cut.handover, CUT.handover) == (True, False)
    with pytest.raises(InvalidDefinition, match="it can't be a handover"):
        Cut.decode(msgspec.structs.replace(cut, offsets={}, arrival=True).encode())


def test_what_is_no_handover_is_written_as_ever() -> None:
    assert msgspec.msgpack.decode(CUT.encode()).keys() == {
        "namespace", "deployment", "epoch", "plan", "topic", "offsets", "v", "arrival",
    }  # fmt: skip
    assert msgspec.msgpack.decode(CUT.encode())["v"] == 2
