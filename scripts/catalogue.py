"""Where names in a plan file are looked up: schemas in conf/schemas/ or beside the plan, models in the store."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from swapstream.models.artifact import Artifact
from swapstream.models.errors import UnknownName
from swapstream.models.schema import Schema, load_schema
from swapstream.models.store import Store
from swapstream.operators.pipeline import Pipeline
from swapstream.operators.plan import Pin, Plan
from swapstream.operators.plan_file import PlanFile, load_plan_file, resolve
from swapstream.scripts.code import look_into
from swapstream.scripts.environment import CONF, Environment


def find_schema(name: str, beside: Path | None = None) -> Schema:
    """A schema by name (conf/schemas/NAME.yaml) or by file, relative to here or to `beside`. Raises UnknownName, InvalidSchema."""
    if not name.endswith((".yaml", ".yml")):
        path = CONF / "schemas" / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
            raise UnknownName(f"schema {name!r} is not in conf/schemas/ (there: {known}); a file's name ends in .yaml")
        return load_schema(path)
    near = beside / name if beside and not Path(name).is_file() else Path(name)
    return load_schema(near)


class Files:
    """A catalogue over files: schemas as found by `find_schema`, models from the environment's store."""

    def __init__(self, environment: Environment, beside: Path | None = None) -> None:
        self.store = Store(environment.store)
        self.beside = beside
        look_into(environment)

    def schema(self, name: str) -> Schema:
        return find_schema(name, self.beside)

    def model(self, ref: str) -> Artifact:
        return self.store.get(ref)


class Resolved:
    """The parts of a plan that was resolved from files, for running it here: a pipeline's look-up."""

    def __init__(self, schemas: Iterable[Schema], store: Store) -> None:
        self._schemas, self._store = {schema.name: schema for schema in schemas}, store

    def schema(self, pin: Pin) -> Schema:
        return self._schemas[pin.name]

    def model(self, pin: Pin) -> Artifact:
        return self._store.get(pin.name)


def read_plan(environment: Environment, path: str) -> tuple[PlanFile, Plan]:
    """A plan file, and what it resolves to. Raises UnknownName, InvalidPlan, Rejected."""
    file = load_plan_file(path)
    return file, resolve(file, Files(environment, Path(path).parent))


def local_pipeline(environment: Environment, path: str) -> Pipeline:
    """A plan file's pipeline, to run here without a cluster."""
    file, plan = read_plan(environment, path)
    files = Files(environment, Path(path).parent)
    return Pipeline(plan, Resolved(map(files.schema, file.schemas), files.store))
