"""Kafka's default partitioner, and keys that go where wanted."""

from __future__ import annotations

import pytest

from swapstream.jobs.partitioner import message_keys, partition_of


@pytest.mark.parametrize(
    ("key", "hashed"), [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536)]
)
def test_it_is_that_of_the_java_client(key: bytes, hashed: int) -> None:
    """Figures of UtilsTest.testMurmur2 in Kafka's own tests."""
    assert partition_of(key, 2**31) == hashed & 0x7FFFFFFF


@pytest.mark.parametrize(("partitions", "targets"), [(1, 1), (4, 4), (8, 3), (3, 8)])
def test_each_partition_has_a_key_that_goes_to_the_same_number(partitions: int, targets: int) -> None:
    keys = message_keys(partitions, targets)
    assert [partition_of(keys[p], targets) for p in range(partitions)] == [p % targets for p in range(partitions)]
    assert len(set(keys.values())) == partitions
