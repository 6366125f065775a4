"""The `swapstream` command. Each command lives in the module of its group and is imported only when it is used."""

from __future__ import annotations

import importlib
import sys
import traceback

import click

from swapstream.models.errors import SwapstreamError

COMMANDS = {
    "up": "cluster",
    "down": "cluster",
    "status": "cluster",
    "topics": "topics",
    "submit": "job",
    "cancel": "job",
    "simulate": "simulate",
    "feed": "feed",
    "scores": "follow",
    "anomalies": "follow",
    "plan": "plan",
    "train": "train",
    "pack": "train",
    "models": "train",
    "try": "trial",
    "push": "push",
    "swap": "swap",
    "demo": "demo",
}


class Lazy(click.Group):
    """Finds a command's module by COMMANDS: `swapstream --help` need not import Kafka, numpy or Flink."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"swapstream.scripts.{COMMANDS[name]}")
        command: click.Command = getattr(module, f"{name}_command")
        return command


INTERNAL = 70
"""Exit code of a fault of ours (EX_SOFTWARE)."""


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option(
    "--env",
    "environment",
    envvar="SWAPSTREAM_ENV",
    default="local",
    show_default=True,
    help="Environment: a name in conf/ or a YAML file.",
)
@click.option("--debug", is_flag=True, help="Show stack traces.")
@click.pass_context
def cli(ctx: click.Context, environment: str, debug: bool) -> None:
    """Swapstream: telemetry in, anomalies out, models swapped while it runs."""
    ctx.obj = environment


def main() -> None:
    """The console script: errors are one line on stderr, and an exit code."""
    try:
        cli(prog_name="swapstream")
    except SwapstreamError as error:
        fail(str(error), error.exit_code)
    except Exception as error:
        fail(f"unexpected {type(error).__name__}: {error} (--debug shows where)", INTERNAL)


def fail(message: str, exit_code: int) -> None:
    """One line; with `--debug` the stack trace as well."""
    if "--debug" in sys.argv:
        traceback.print_exc()
    click.echo(f"swapstream: {message}", err=True)
    sys.exit(exit_code)
