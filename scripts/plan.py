"""`swapstream plan check | show | diff`."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from swapstream.models.gate import check
from swapstream.operators.plan import FOR_EVER, Plan
from swapstream.scripts.catalogue import Files, read_plan
from swapstream.scripts.console import json_option, show
from swapstream.scripts.environment import load_environment


@click.group("plan")
def plan_command() -> None:
    """Check, show and compare plan files."""


@plan_command.command("check")
@click.argument("path", type=click.Path())
@json_option
@click.pass_obj
def check_command(name: str, path: str, as_json: bool) -> None:
    """Resolve the plan in PATH and put each of its models through the gate."""
    environment = load_environment(name)
    _, plan = read_plan(environment, path)
    files = Files(environment)
    for pin in sorted(plan.models(), key=str):
        check(files.model(pin.name))
    row = {"plan": plan.name, "digest": plan.digest, "models": len(plan.models()), "verdict": "can be deployed"}
    show([row], list(row), as_json)


@plan_command.command("show")
@click.argument("path", type=click.Path())
@json_option
@click.pass_obj
def show_command(name: str, path: str, as_json: bool) -> None:
    """Show what the plan in PATH resolves to: every name with its digest."""
    _, plan = read_plan(load_environment(name), path)
    described = flat(plan)
    show(
        [described] if as_json else [{"part": key, "value": value} for key, value in described.items()],
        ["part", "value"],
        as_json,
    )


@plan_command.command("diff")
@click.argument("before", type=click.Path())
@click.argument("after", type=click.Path())
@json_option
@click.pass_obj
def diff_command(name: str, before: str, after: str, as_json: bool) -> None:
    """Show what a swap from plan BEFORE to plan AFTER would change."""
    environment = load_environment(name)
    old, new = (flat(read_plan(environment, path)[1]) for path in (before, after))
    rows = [
        {"part": part, "before": old.get(part), "after": new.get(part)}
        for part in {**old, **new}
        if old.get(part) != new.get(part)
    ]
    show(rows, ["part", "before", "after"], as_json)


def flat(plan: Plan) -> dict[str, Any]:
    """A plan as one level of names and values, for people to compare."""
    described: dict[str, Any] = {"name": plan.name, "digest": plan.digest}
    for part in plan.inputs:
        of = f" of {part.schema.name}" if len(plan.inputs) > 1 else ""
        described[f"schema{of}"] = str(part.schema)
        for place, member in enumerate(part.extractor):
            described[f"extractor{of}.{place}"] = member if isinstance(member, str) else msgspec.json.encode(member).decode()
    for route in plan.routes:
        which = f"{route.type}/{route.devices}" if route.type else route.devices
        for place, (role, pin) in enumerate(route.roles()):
            described[f"{which}: {role}" + (f".{place}" if role == "challenger" else "")] = str(pin)
        if route.threshold is not None:
            described[f"{which}: threshold"] = route.threshold
        if route.decoy:
            described[f"{which}: decoy"] = True
    if plan.devices != FOR_EVER:
        described |= {"devices.max": plan.devices.max, "devices.evict_after": f"{plan.devices.evict_after} ms"}
    return described
