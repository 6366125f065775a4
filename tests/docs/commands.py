"""The `swapstream` commands, as click knows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from swapstream.scripts.main import cli


def leaves(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its whole name, as in ("plan check", …)."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, f"{name} is listed and isn't there"
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def parse(arguments: Sequence[str]) -> str:
    """The whole name of the command that these arguments call. Nothing is run.

    Raises click.UsageError for an unknown command or option, and for a missing or wrong value.
    """
    command: click.Command = cli
    context, rest, path = None, list(arguments), []
    while isinstance(command, click.Group):
        context = command.make_context(path[-1] if path else "swapstream", rest, parent=context)
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        assert name is not None
        command, path = found, [*path, name]
    command.make_context(path[-1], rest, parent=context)
    return " ".join(path)


def unknown_options(name: str, words: Sequence[str]) -> list[str]:
    """Of the words after a command's name those that look like an option and aren't one."""
    command = dict(leaves())[name]
    allowed = {option for parameter in (*command.params, *cli.params) for option in (*parameter.opts, *parameter.secondary_opts)}
    return [word for word in words if word.startswith("-") and word.partition("=")[0] not in {*allowed, "-h", "--help"}]
