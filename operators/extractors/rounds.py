"""Rounds: the k-th readings of all devices in a frame, so that arithmetic can run over devices, reading by
reading."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import msgspec
import numpy as np

from swapstream.operators.frame import Int64


class Rounds(msgspec.Struct, frozen=True, gc=False):
    """Records of a frame, reordered so that round k holds the k-th reading of each device that has so many.

    Devices with more readings come first, so each round's devices are the first ones of the round before: its state
    is a slice, no gather. Iterating yields (first, last) of each round.

    - order [n]: record in the frame at each place. rank [n]: round of each place. device [n]: row of its device.
    - slots [m], counts [m]: slot and number of readings of each device, a row each, in the order of the first round.
    - bounds [rounds + 1]: where each round starts.
    """

    order: Int64
    rank: Int64
    device: Int64
    slots: Int64
    counts: Int64
    bounds: Int64

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return pairwise(self.bounds.tolist())

    @property
    def single(self) -> bool:
        """Whether no device has two readings: the order is the frame's own."""
        return len(self.bounds) == 2

    @property
    def before(self) -> Int64:
        """[n]: where each place's device had its reading before, in rows of state [m] followed by places [n]."""
        sizes = np.diff(self.bounds)
        places: Int64 = (
            np.arange(len(self.order)) + len(self.slots) - np.concatenate((sizes[:1], sizes[:-1]))[self.rank]
        )
        return places

    @property
    def final(self) -> Int64:
        """[m]: place of each device's last reading."""
        places: Int64 = self.bounds[self.counts - 1] + np.arange(len(self.counts))
        return places


def rounds_of(slots: Int64) -> Rounds:
    """Rounds of a frame's slots [n], n ≥ 1. Readings of one device keep their order."""
    n = len(slots)
    by_device = _stable_order(slots)
    grouped = slots[by_device]
    starts = np.flatnonzero(np.concatenate(([True], grouped[1:] != grouped[:-1])))
    if len(starts) == n:
        return single_round(slots)
    counts = np.diff(starts, append=n)
    busiest = np.argsort(-counts, kind="stable")
    row = np.empty_like(busiest)
    row[busiest] = np.arange(len(busiest))
    rank = np.arange(n) - np.repeat(starts, counts)
    sizes = np.bincount(rank)
    bounds = np.concatenate(([0], np.cumsum(sizes)))
    order = np.empty(n, np.int64)
    order[bounds[rank] + np.repeat(row, counts)] = by_device
    ranks = np.repeat(np.arange(len(sizes)), sizes)
    return Rounds(order, ranks, np.arange(n) - bounds[ranks], grouped[starts[busiest]], counts[busiest], bounds)


def _stable_order(slots: Int64) -> Int64:
    """Slots (below 2³²) in ascending order, equal ones in the order given. numpy sorts 16 bit integers by radix, five times as
    fast as others; more bits are sorted by the lower ones first."""
    order: Int64 = np.argsort((slots & 0xFFFF).astype(np.uint16), kind="stable")
    if slots.max() >= 65_536:
        order = order[np.argsort((slots[order] >> 16).astype(np.uint16), kind="stable")]
    return order


def single_round(slots: Int64) -> Rounds:
    """Rounds where every device occurs once: one, in the frame's own order."""
    places = np.arange(len(slots))
    zeros = np.zeros_like(places)
    return Rounds(places, zeros, places, slots, zeros + 1, np.array([0, len(slots)]))
