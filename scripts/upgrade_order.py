"""What an upgrade was asked for: which deployment, which plan, and which of its job's settings are to change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import click
import msgspec

from swapstream.jobs.spec import MAX_PARALLELISM
from swapstream.scripts.console import json_option
from swapstream.scripts.environment import Environment
from swapstream.scripts.publish import Author


class Settings(msgspec.Struct, frozen=True):
    """What the new job runs with; None: parallelism and delivery stay, the rest is as the environment says."""

    parallelism: int | None = None
    delivery: Literal["exactly_once", "at_least_once"] | None = None
    state_backend: Literal["hashmap", "rocksdb"] | None = None
    frame_ms: int | None = None


class UpgradeOrder(msgspec.Struct, frozen=True):
    """One upgrade. `plan_file` None: the plan in force. `timeout`: seconds for the new job to get ready, and to catch up."""

    environment: Environment
    deployment: str
    author: Author
    plan_file: str | None = None
    settings: Settings = Settings()
    timeout: float = 120.0

    @property
    def namespace(self) -> str:
        return self.environment.job.namespace

    @property
    def full_name(self) -> str:
        return f"{self.namespace}.{self.deployment}"


def upgrade_options(command: Callable[..., None]) -> Callable[..., None]:
    """What every command takes that replaces a running job."""
    for option in (
        json_option,
        click.option("--timeout", type=click.FloatRange(1.0), default=120.0, show_default=True,
                     help="Seconds for the new job to get ready, and then to catch up."),
        click.option("--why", default="", help="The reason, for the ledger."),
    ):  # fmt: skip
        command = option(command)
    return command


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """The settings of a job that a new one can be given."""
    for option in (
        click.option("--frame-ms", type=click.IntRange(1, 10_000), help="How long records are collected.  [default: the environment's]"),
        click.option("--state-backend", type=click.Choice(["hashmap", "rocksdb"]), help="Where state is.  [default: the environment's]"),
        click.option("--delivery", type=click.Choice(["exactly_once", "at_least_once"]), help="[default: as it is]"),
        click.option("--parallelism", type=click.IntRange(1, MAX_PARALLELISM), help="Subtasks.  [default: as many as there are]"),
    ):
        command = option(command)
    return command


def chosen(**options: Any) -> Settings:
    """The settings options of a command."""
    return Settings(**options)
