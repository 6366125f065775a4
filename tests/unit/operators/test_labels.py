"""Labels: what is one, and which of several counts for a record, against the plain way of asking each."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.labels import NOBODY, DeviceSpan, Label, Labels, RecordId, parse

DEVICES = ("a", "b", "c")
V1 = b'{"device":"pump-1","first":1000,"last":2000,"kind":"spike","fields":["flow"]}'
"""As the first release wrote them."""

moments = st.integers(0, 5)
abouts = st.one_of(
    st.builds(lambda d, f, n: DeviceSpan(d, f, f + n), st.sampled_from(DEVICES), st.integers(0, 12), st.integers(0, 8)),
    st.builds(RecordId, st.sampled_from(["t", "u"]), st.integers(0, 1), st.integers(0, 8), st.integers(0, 2)),
)
some_labels = st.lists(st.builds(Label, abouts, st.booleans(), when=moments), max_size=25)
Reading = tuple[int, int, str, int]
readings = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.sampled_from(DEVICES), st.integers(-1, 22)), max_size=30)


def arrays(some: list[Reading]) -> tuple[Any, ...]:
    """As `places` and `said` take them."""
    offsets, index, devices, times = zip(*some, strict=True) if some else ((), (), (), ())
    names = sorted(set(devices))
    codes = np.array([names.index(device) for device in devices], np.int64)
    return np.array(offsets, np.int64), np.array(index, np.int64), names, codes, np.array(times, np.int64)


def join(labels: Labels, some: list[Reading], topic: str = "t", partition: int = 0) -> list[int]:
    return labels.places(topic, partition, *arrays(some)).tolist()


def plainly(labels: list[Label], reading: Reading, topic: str, partition: int) -> int:
    """The rule as the documentation has it."""
    offset, index, device, time = reading
    found = []
    for place, label in enumerate(labels):
        if isinstance(label.about, RecordId):
            if label.about == (topic, partition, offset, index):
                found.append((1, label.when, place))
        elif label.about.device == device and label.about.first <= time <= label.about.last:
            found.append((0, label.when, place))
    return max(found)[2] if found else NOBODY


@given(labels=some_labels, some=readings, topic=st.sampled_from(["t", "u"]), partition=st.integers(0, 1))
def test_the_newest_counts_and_one_of_the_record_before_one_of_a_span(
    labels: list[Label], some: list[Reading], topic: str, partition: int
) -> None:
    assert join(Labels(labels), some, topic, partition) == [plainly(labels, one, topic, partition) for one in some]


@given(labels=some_labels, some=readings, order=st.randoms())
def test_delay_and_repeats_change_nothing_but_ties(labels: list[Label], some: list[Reading], order: Any) -> None:
    """When no two are of one moment, any order of arrival, and every label twice, gives the same."""
    apart = [Label(label.about, label.label, when=moment) for moment, label in enumerate(labels)]
    late = apart * 2
    order.shuffle(late)
    before, after = Labels(apart), Labels(late)
    found = [[label.all[place] if place != NOBODY else None for place in join(label, some)] for label in (before, after)]
    assert found[0] == found[1]


def test_what_is_said() -> None:
    labels = Labels([Label(DeviceSpan("a", 0, 9)), Label(RecordId("t", 0, 4), False)])
    there, anomalous = labels.said("t", 0, *arrays([(3, 0, "a", 5), (4, 0, "a", 5), (5, 0, "b", 5)]))
    assert (there.tolist(), anomalous.tolist()) == ([True, True, False], [True, False, False])
    there, anomalous = Labels([]).said("t", 0, *arrays([(3, 0, "a", 5)]))
    assert (there.tolist(), anomalous.tolist()) == ([False], [False])


def test_far_offsets_are_told_apart() -> None:
    far = [2**40, 2**61, 2**61 + 1]
    labels = Labels([Label(RecordId("t", 0, offset, 2**31 - 1)) for offset in far])
    assert join(labels, [(offset, 2**31 - 1, "a", 0) for offset in [*far, 2**61 + 2, 0]]) == [0, 1, 2, NOBODY, NOBODY]
    assert join(labels, [(2**61, 0, "a", 0)]) == [NOBODY]


def test_version_1_is_read_and_was_said_when_it_was_written() -> None:
    assert parse(V1, 77) == Label(DeviceSpan("pump-1", 1000, 2000), True, "spike", ("flow",), 77)


@pytest.mark.parametrize("about", [DeviceSpan("p", -5, 5), RecordId("t", 1, 2, 3)])
def test_what_is_written_is_read(about: Any) -> None:
    label = Label(about, False, "drift", ("flow",), 12, "me")
    assert parse(label.encode(), 99) == label
    assert json.loads(label.encode())["v"] == 2


def test_a_label_of_a_record_may_name_its_device() -> None:
    """So that a row of `anomalies` makes one."""
    row = b'{"topic":"t","partition":0,"offset":7,"index":1,"device":"p","time":5,"score":3.5,"v":2}'
    assert parse(row, 9).about == RecordId("t", 0, 7, 1)


@pytest.mark.parametrize(("value", "said"), [
    (b"", "not a label"),
    (b"[1]", "not a label"),
    (b'{"device":"a","first":"x","last":1}', "not a label: Expected `int | null`"),
    (b'{"device":"a","first":2,"last":1}', "label of a from 2 to 1: a span has a device, and ends when or after it begins"),
    (b'{"device":"","first":1,"last":1}', "a span has a device"),
    (b'{"device":"a","first":1}', "about topic, partition and offset"),
    (b'{"device":"a","first":1,"last":2,"topic":"t","partition":0,"offset":1}', "not both"),
    (b'{"topic":"t","partition":0,"offset":-1}', "label of record t-0:-1: partition, offset and index are numbers from 0 on"),
    (b'{"topic":"t","partition":0,"offset":1,"index":2147483648}', "numbers from 0 on"),
    (b'{"device":"a","first":1,"last":9223372036854775807}', "a span has"),
    (b'{"device":"a","first":1,"last":2,"v":3}', "label of version 3: this release reads versions 1 to 2"),
    (b'\xff', "not a label"),
])  # fmt: skip
def test_what_is_no_label(value: bytes, said: str) -> None:
    with pytest.raises(InvalidDefinition, match=said):
        parse(value, 0)


def test_a_span_is_rounded_as_the_times_of_messages_are() -> None:
    assert Label(DeviceSpan("p", 1_999, 2_001)).rounded(1_000).about == DeviceSpan("p", 1_000, 2_000)
