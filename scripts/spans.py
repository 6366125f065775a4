"""What part of a topic is meant: offsets, or times, in each of its partitions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import msgspec

from swapstream.models.errors import InvalidSettings, UnknownName
from swapstream.operators.verification import Span
from swapstream.scripts.bounds import Bounds, bounds, offsets_at
from swapstream.scripts.environment import Environment

Place = int | datetime
Command = TypeVar("Command", bound=Callable[..., Any])
BEFORE = 5_000
"""Records that warm devices up: enough for most."""


def span_options(first: str, last: str) -> Callable[[Command], Command]:
    """--from and --to, as the texts that `place_of` reads; what they are where nothing is said."""

    def with_options(command: Command) -> Command:
        to = click.option("--to", "end", help=f"The last record, likewise.  [default: {last}]")
        begin = click.option("--from", "start", help="The first record: an offset in each partition, or a time (UTC) as in "
                             f"2026-01-31T12:00.  [default: {first}]")  # fmt: skip
        return begin(to(command))

    return with_options


def warm_up_option(command: Command) -> Command:
    """--before, for `Memories`."""
    return click.option("--before", type=click.IntRange(0), metavar="RECORDS",
                        help="So many of each partition before the first warm devices up.  [default: none, since devices begin with the "
                             f"state that a deployment has published; {BEFORE:,} where there is none for the plan's extractors]",
                        )(command)  # fmt: skip


def place_of(text: str | None) -> Place | None:
    """An offset, or a time in UTC where it names no zone. Raises InvalidSettings."""
    if text is None:
        return None
    if text.isdecimal():
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidSettings(f"{text!r} is neither an offset nor a time; allowed are numbers and times as in 2026-01-31T12:00") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class Section(msgspec.Struct, frozen=True):
    """What of a partition is meant, and the first offset that is still there."""

    span: Span
    beginning: int

    def warmed(self, before: int) -> int:
        """The first offset to be read, where `before` records ahead of the span warm devices up."""
        return max(self.beginning, self.span.first - before)


def sections(environment: Environment, topic: str, start: Place | None, end: Place | None) -> dict[int, Section]:
    """The records from `start` to `end`, both included, in each partition; None: from the first that is there, to the last answered.

    A time stands for the first record whose timestamp is not before it. Raises ClusterError.
    """
    there = bounds(environment, topic)
    begins, stops = (_resolved(environment, topic, place, there) for place in (start, end))
    return {partition: Section(span_of(one.first, one.end, begins[partition], stops[partition]), one.first)
            for partition, one in there.items()}


def only(found: Mapping[int, Section], topic: str, partitions: Collection[int]) -> dict[int, Section]:
    """The sections of some partitions; of all where none is named. Raises UnknownName."""
    if strange := set(partitions) - found.keys():
        raise UnknownName(f"{topic} has no partition {min(strange)}; its partitions are 0 to {len(found) - 1}")
    return {partition: section for partition, section in found.items() if not partitions or partition in partitions}


def whole_sections(
    environment: Environment, topic: str, start: Place | None, end: Place | None, partitions: Collection[int] = ()
) -> dict[int, Section]:
    """The same, of some partitions. Raises InvalidSettings where retention has deleted some of the records; UnknownName.

    A time that lies before the first record which is left is refused as well, where others were there before it: nobody can tell
    whether these were wanted.
    """
    found = only(sections(environment, topic, start, end), topic, partitions)
    gone = {}
    for partition, section in found.items():
        before = start < section.beginning if isinstance(start, int) else 0 < section.beginning >= section.span.first
        if start is not None and before:
            gone[partition] = section.beginning
    if gone:
        raise deleted(topic, gone)
    return found


def deleted(what: str, firsts: Mapping[int, int]) -> InvalidSettings:
    """For a span that begins before what retention has left: the earliest offset of each partition."""
    left = ", ".join(f"{first} in partition {partition}" for partition, first in firsts.items())
    return InvalidSettings(f"{what}: retention has deleted a part of the span; the earliest offset that is left is {left}")


def _resolved(environment: Environment, topic: str, place: Place | None, there: Mapping[int, Bounds]) -> Mapping[int, int | None]:
    if not isinstance(place, datetime):
        return dict.fromkeys(there, place)
    # What has been written since they were asked for lies behind the ends.
    found = offsets_at(environment, topic, int(place.timestamp() * 1000))
    return {partition: min(found[partition], one.end) for partition, one in there.items()}


def span_of(first: int, end: int, start: int | None, stop: int | None) -> Span:
    """Between the offsets there are, `first` to before `end`."""
    last = end - 1 if stop is None else min(stop, end - 1)
    return Span(first if start is None else max(start, first), last, stop is None)
