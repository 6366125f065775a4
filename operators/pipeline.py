"""A plan made ready to run: decode, extract, score. The shard, `try` and the trainer all run this very code."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from swapstream.models.errors import UnknownName
from swapstream.models.schema import Schema
from swapstream.operators.decode import Decoders
from swapstream.operators.loaded_input import LoadedInput
from swapstream.operators.loaded_model import LoadedModel
from swapstream.operators.lookup import Lookup
from swapstream.operators.plan import Plan, check_schemas
from swapstream.operators.sessions import Sessions


class Pipeline:
    """One plan, ready. Holds no state of any shard: several shards of a worker share it, and plans share `sessions`.

    `inputs` by schema's name, in the plan's order, which is that of the frames that `decoders` gives. `columnar`: messages may be
    large. `refusal`: why the gate says that the plan should not be swapped to, "" if it may. Raises what `lookup` does, and
    Unavailable.
    """

    def __init__(self, plan: Plan, lookup: Lookup, sessions: Sessions | None = None) -> None:
        self.plan = plan
        self.digest = plan.digest
        sessions = Sessions() if sessions is None else sessions
        loaded = [LoadedInput(plan, part, lookup, sessions) for part in plan.inputs]
        check_schemas(plan.name, [one.schema for one in loaded])
        self.inputs = {one.schema.name: one for one in loaded}
        self.decoders = decoders_of(tuple(one.schema for one in loaded))
        self.columnar = any(one.schema.layout == "columnar" for one in loaded)
        models = [model for one in loaded for route in one.routes for model in route.all_models()]
        self.refusal = next((model.verdict.refusal for model in models if model.verdict.refusal), "")
        warm(models, sessions)

    def input(self, schema: str | None = None) -> LoadedInput:
        """What is done with one schema; None: with the only one. Raises UnknownName."""
        if schema is None and len(self.inputs) == 1:
            return next(iter(self.inputs.values()))
        if schema not in self.inputs:
            said = "none was chosen" if schema is None else f"{schema!r} is none of them"
            raise UnknownName(f"plan {self.plan.name!r} has schemas {', '.join(self.inputs)}; {said}")
        return self.inputs[schema]


def warm(models: Iterable[LoadedModel], sessions: Sessions) -> None:
    """Load what had to make room since the gate saw it, so that a cut finds it there; of a plan for which there is not room
    enough each is loaded when it is asked."""
    able = {model.key: model for model in models if model.verdict.error is None}
    if sum(model.verdict.weight for model in able.values()) <= sessions.room:
        for model in able.values():
            _ = model.session


@lru_cache(64)
def decoders_of(schemas: tuple[Schema, ...]) -> Decoders:
    """The same for the same schemas: each makes types of its own, which would pile up with many plans."""
    return Decoders(schemas)
