"""Features of a span of telemetry, computed here by the code that the cluster runs."""

from __future__ import annotations

from collections.abc import Iterator

from swapstream.operators.batches import Batch
from swapstream.operators.extraction import Extraction
from swapstream.scripts.environment import Environment
from swapstream.scripts.reading import Reading
from swapstream.scripts.remembered import Remembered
from swapstream.scripts.rerun import FRAME, frames
from swapstream.scripts.spans import Section
from swapstream.scripts.training import Input


def computed(environment: Environment, topic: str, partition: int, section: Section, given: Input, state: Remembered) -> Iterator[Batch]:
    """The features of a partition's span. `state`: from where on, and with which memory, devices are followed; readings before the
    span only warm them up. Raises ClusterError."""
    extraction = Extraction(given.schemas, given.schema.name, given.extractor, state.tables.get(given.schema.name))
    with Reading(environment, topic, {partition: state.offset}, {partition}, most=FRAME) as reading:
        for raw in frames(reading, partition, section.span.last):
            batch = extraction.take(raw).within(section.span.first, section.span.last)
            if len(batch):
                yield batch
