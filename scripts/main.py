"""The `swapstream` command. Each command lives in the module of its group and is imported only when it is used."""

from __future__ import annotations

import importlib
import signal
import sys
import traceback
from typing import NamedTuple, NoReturn

import click

from swapstream.models.errors import SwapstreamError
from swapstream.scripts.environment import DEFAULT, VARIABLE


class Line(NamedTuple):
    """A command in the overview: its name, the module it is in, what it does."""

    name: str
    module: str
    summary: str


SECTIONS = {
    "See it": [
        Line("demo", "demo", "Cluster, models, telemetry with faults, a swap, a summary"),
    ],
    "Cluster": [
        Line("up", "cluster", "Start the broker and Flink, and create the topics"),
        Line("down", "cluster", "Stop everything that `up` started"),
        Line("status", "cluster", "Show processes, jobs, what their shards do, and topics"),
        Line("topics", "topics", "Create the topics that are missing, and show all"),
        Line("doctor", "doctor", "Look for what would go wrong: versions, topics, rights, keys"),
        Line("keys", "keys", "Make signing keys; trust and revoke them in a namespace"),
        Line("bundle", "bundle", "Pack what a job needs on somebody else's Flink"),
    ],
    "Models and plans, without a cluster": [
        Line("train", "train", "Fit a model to telemetry, once or again and again"),
        Line("pack", "pack", "Take in an ONNX graph as a model"),
        Line("check", "check", "Put a model through the gate, and beside a plan's champion"),
        Line("models", "models", "Show the models in the store, and the kinds there are"),
        Line("plan", "plan", "Check, show and compare plan files"),
        Line("extractors", "extractors", "Show extractors, and put your own to the test"),
        Line("try", "trial", "Run a plan over a telemetry file, here and now"),
    ],
    "Running": [
        Line("submit", "job", "Run a job under a plan"),
        Line("cancel", "job", "Stop a deployment; its state can be resumed"),
        Line("upgrade", "upgrade", "Replace a job by one of other code or settings, with its state"),
        Line("rescale", "upgrade", "Run a deployment with another parallelism"),
        Line("savepoint", "savepoints", "Save the state of a running deployment"),
        Line("savepoints", "savepoints", "Show the state that can be started from"),
        Line("rekey", "rekey", "Write a topic keyed by device of one that is not"),
        Line("push", "push", "Publish a model, or new numbers for one"),
        Line("swap", "swap", "Change the plan of a running deployment"),
        Line("rollback", "rollback", "Go back to the plan before"),
        Line("abort", "abort", "Give up a swap at which shards hold"),
        Line("ledger", "ledger", "Show what happens to deployments"),
    ],
    "Telemetry and what comes of it": [
        Line("simulate", "simulate", "Send telemetry of imitated devices with known faults"),
        Line("feed", "feed", "Send a telemetry file"),
        Line("label", "label", "Say which records were anomalies, and which were none"),
        Line("export", "export", "Write a span of readings with features and labels as Parquet"),
        Line("anomalies", "follow", "Show anomalies as they arrive"),
        Line("scores", "follow", "Show scores as they arrive"),
        Line("verify", "verify", "Compute again what came out, and compare"),
        Line("backfill", "backfill", "Run a plan over telemetry of before, as a job of its own"),
        Line("compare", "compare", "Run two plans over telemetry of before"),
        Line("replay", "replay", "Do again, here, what was done, and show how it came about"),
    ],
}
"""The overview that `--help` shows."""

MODULES = {line.name: line.module for section in SECTIONS.values() for line in section}


class Lazy(click.Group):
    """Finds a command's module by MODULES: `swapstream --help` need not import Kafka, numpy or Flink."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(MODULES)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in MODULES:
            return None
        module = importlib.import_module(f"swapstream.scripts.{MODULES[name]}")
        command: click.Command = getattr(module, f"{name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, lines in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(line.name.ljust(max(map(len, MODULES))), line.summary) for line in lines])


INTERNAL = 70
"""Exit code of a fault of ours (EX_SOFTWARE)."""


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option(
    "--environment",
    "--env",
    envvar=VARIABLE,
    default=DEFAULT,
    show_default=True,
    help="A name in conf/, or a YAML file.",
)
@click.option("--debug", is_flag=True, help="Show stack traces.")
@click.pass_context
def cli(ctx: click.Context, environment: str, debug: bool) -> None:
    """Swapstream: telemetry in, anomalies out, models swapped while it runs.

    `swapstream COMMAND --help` says more. Errors are one line on stderr: exit code 1 for a file that can't be read or written, 2 for
    what is written wrongly, 3 for a name that nobody defined, 4 for one that is taken, 5 for a model or plan that was refused, 6 for a
    broker, Flink or store that is away, 7 for what nobody trusted has signed, 70 for a fault of ours.
    """
    ctx.obj = environment


def main() -> None:
    """The console script: errors are one line on stderr, and an exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup's stays
            signal.signal(number, _end)
    try:
        sys.exit(cli.main(prog_name="swapstream", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "swapstream"
        fail(f"{error.format_message()} (see `{path} --help`)", error.exit_code)
    except click.Abort:
        fail("interrupted", 128 + signal.SIGINT)
    except SwapstreamError as error:
        fail(str(error), error.exit_code)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), SwapstreamError.exit_code)
    except Exception as error:
        fail(f"unexpected {type(error).__name__}: {error} (--debug shows where)", INTERNAL)


def _end(number: int, frame: object) -> NoReturn:
    """A command that is told to end cleans up, as after Ctrl-C."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def fail(message: str, exit_code: int) -> NoReturn:
    """One line; with `--debug` the stack trace as well."""
    if "--debug" in sys.argv:
        traceback.print_exc()
    click.echo(f"swapstream: {' '.join(message.split())}", err=True)
    sys.exit(exit_code)
