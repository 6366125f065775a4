"""The demo's models: trained once on healthy simulated devices, through the very extractor that serves them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from swapstream.models.build import train
from swapstream.models.errors import UnknownName
from swapstream.models.lineage import array_source, lineage
from swapstream.models.schema import Schema
from swapstream.models.store import Store
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.frame import Float64, Frame
from swapstream.operators.plan_file import load_plan_file
from swapstream.scripts.catalogue import find_schema
from swapstream.scripts.console import say
from swapstream.scripts.environment import Environment
from swapstream.scripts.simulation import Chunk, Simulation

RECORDS, DEVICES, SEED = 80_000, 40, 20_260_101
ALARM_RATE = 0.0002
KINDS: tuple[tuple[str, dict[str, int | float | str]], ...] = (("zscore", {}), ("pca", {"variance": 0.99}))
"""The kind and settings of each plan's champion."""


def store_models(environment: Environment, plans: Sequence[Path]) -> None:
    """Put each plan's champion into the store where it is not there yet."""
    store = Store(environment.store)
    for path, (kind, settings) in zip(plans, KINDS, strict=True):
        file = load_plan_file(path)
        assert file.champion is not None
        name, _, version = file.champion.partition(":")
        if is_there(store, file.champion):
            continue
        ((schema, extractor),) = file.inputs(find_schema)
        rows = healthy_features(schema, extractor)
        made = lineage(command="swapstream demo", data=[array_source(rows, "simulation")], seed=SEED, settings=settings,
                       extractor=extractor.ref)
        store.put(train(kind, rows, extractor.features, name=name, version=int(version), alarm_rate=ALARM_RATE,
                        settings=settings, lineage=made))
        say(f"trained {file.champion}: {kind} on {len(rows):,} healthy records")


def is_there(store: Store, ref: str) -> bool:
    """Whether the store has name:version."""
    try:
        store.resolve(ref)
    except UnknownName:
        return False
    return True


def healthy_features(schema: Schema, extractor: Composite) -> Float64:
    """Features [n, K] of devices without faults, but for readings that are still warming."""
    table, parts, first = extractor.table(), [], 0
    for chunk in Simulation(schema.names, RECORDS, DEVICES, SEED, kinds=()).chunks():
        features, warming = extractor.extract(frame_of(chunk, first), table)
        parts.append(features[~warming])
        first += len(chunk)
    return np.concatenate(parts)


def frame_of(chunk: Chunk, first: int) -> Frame:
    """A chunk as if it lay in one partition from offset `first` on."""
    offsets = np.arange(first, first + len(chunk))
    return Frame(0, offsets, chunk.times // 1000, chunk.times, chunk.devices, chunk.values)
