"""The topic of labels, read."""

from __future__ import annotations

from swapstream.models.errors import InvalidDefinition
from swapstream.operators.labels import Label, Labels, parse
from swapstream.scripts import kafka
from swapstream.scripts.console import say
from swapstream.scripts.environment import Environment


def read_labels(environment: Environment) -> Labels:
    """Every label there is by now; what is none is passed over, and said. Raises ClusterError."""
    topic = environment.topics.labels.name
    found: list[Label] = []
    for record in kafka.read_to_end(environment, topic):
        try:
            found.append(parse(record.value or b"", record.timestamp))
        except InvalidDefinition as error:
            say(f"{topic} {record.partition}:{record.offset}: {error}")
    return Labels(found)
