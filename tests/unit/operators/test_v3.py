"""Bytes of version 3, as they were once written: every later release reads them (C8).

Made by `python -m tests.unit.operators.test_v3`, once for each format; a file that is there is never written again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from swapstream.operators.plan import Plan, Require
from tests.support.shards import deployable, route

FOLDER = Path(__file__).parent / "v3"
PLAN = deployable(
    "tagged",
    tags={"critical": ("pump-7", "pump-9*"), "idle": ("pump-0",)},
    routes=(route(tag="critical", champion="a:2", on_error="a:1", threshold=4.5),),
    champion="a:1",
    on_error="b:1",
    require=Require(0.5, 0.01, 2.0),
)


def v3(name: str) -> bytes:
    return (FOLDER / f"{name}.msgpack").read_bytes()


EXAMPLES: dict[str, Callable[[], bytes]] = {"plan": PLAN.plan.encode}


def test_plan() -> None:
    plan = Plan.decode(v3("plan"))
    critical, rest = plan.routes
    assert (critical.tag, critical.on_error and critical.on_error.name, critical.threshold) == ("critical", "a:1", 4.5)
    assert [(role, pin.name) for role, pin in rest.roles()] == [("champion", "a:1"), ("on_error", "b:1")]
    assert plan.tags == {"critical": ("pump-7", "pump-9*"), "idle": ("pump-0",)}
    assert plan.require == Require(0.5, 0.01, 2.0)
    assert plan.encode() == v3("plan")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, example in EXAMPLES.items():
        path = FOLDER / f"{name}.msgpack"
        if not path.exists():
            path.write_bytes(example())
