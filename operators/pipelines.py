"""The pipelines of a worker: one for each plan in use, loaded off the hot path and shared by its shards."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from swapstream.models.errors import Unavailable, UnknownName
from swapstream.models.objects import Objects
from swapstream.models.pacing import Pace, paced
from swapstream.operators.assignment import Inherited
from swapstream.operators.definitions import Definitions
from swapstream.operators.lookup import Carried, DefinitionsLookup, defined, lacking, missing
from swapstream.operators.pipeline import Pipeline
from swapstream.operators.plan import Plan
from swapstream.operators.sessions import Sessions
from swapstream.operators.tables import Outline

KEPT = 8
RETRY = 1.0
"""Seconds after which a store that was away is asked again."""


class Pipelines:
    """Pipelines by plan digest; the ones used last stay. `prepare` works on a thread, so that a cut is a look-up. Models are loaded
    once for all plans (sessions.py).

    Only a worker's own thread may call it. `objects`: where models by reference are fetched.
    """

    def __init__(
        self,
        definitions: Definitions,
        namespace: str,
        objects: Objects | None = None,
        sessions: Sessions | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._definitions, self._namespace = definitions, namespace
        self._objects, self._clock = objects, clock
        self.sessions = Sessions() if sessions is None else sessions
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._loaded: OrderedDict[str, Future[Pipeline]] = OrderedDict()
        self._carried: OrderedDict[str, Carried] = OrderedDict()
        self._away: dict[str, float] = {}
        self._denied: dict[str, float] = {}
        self._hurry = threading.Event()

    def prepare(self, digest: str) -> None:
        """Begin to load a plan's pipeline, once all of its parts are defined; again where a store was away a while ago."""
        if self._wanted(digest) and self._missing(digest) is None:
            self._begin(digest)

    def verdict(self, digest: str) -> str | None:
        """What preparing a plan came to: "" ready to be swapped to, else why not. None: not known yet."""
        future = self._loaded.get(digest)
        if future is None or not future.done():
            return None
        error = future.exception()
        return str(error) if error else future.result().refusal

    def ready(self, digest: str) -> bool:
        """Whether `get` answers at once and not with Unavailable; begins to load where it does not."""
        self.prepare(digest)
        future = self._loaded.get(digest)
        return future is not None and future.done() and not isinstance(future.exception(), Unavailable)

    @property
    def away(self) -> list[str]:
        """What stores did not give, when they were last asked."""
        tried = [self._loaded[digest] for digest in self._away if digest in self._loaded]
        return [str(error) for future in tried if future.done() and (error := future.exception())]

    def get(self, digest: str) -> Pipeline:
        """The pipeline of a plan, loaded now if nobody asked before.

        Raises UnknownName for what is not defined, InvalidDefinition for a plan that can never be run, Unavailable where a
        model lies in a store that is away.
        """
        if self._wanted(digest):
            if absent := self._missing(digest):
                raise UnknownName(absent)
            self._begin(digest)
        future = self._loaded[digest]
        if future.cancel():  # nobody has begun: done here it need not wait for those before it
            self._loaded[digest] = future = Future()
            settle(future, self._work(digest))
        self._loaded.move_to_end(digest)
        self._hurry.set()
        try:
            return future.result()
        finally:
            self._hurry.clear()

    def outline(self, digest: str) -> Outline:
        """What of a plan needs neither its extractors nor its models. Raises UnknownName, InvalidDefinition."""
        carried = self._carried.get(digest)
        plan = (carried.needs if carried else defined(self._definitions, self._namespace, digest)).plan
        lookup = DefinitionsLookup(self._definitions, self._namespace)
        return Outline({pin.name: lookup.schema(pin) for pin in plan.schemas}, plan.devices)

    def carry(self, update: bytes) -> str:
        """Take the plan and the models of an update, which `get` then finds; returns the plan's digest. Raises InvalidDefinition.

        What others need is judged by `missing`, from the update's bytes: that it was carried here once makes nothing defined.
        """
        carried = Carried(update)
        self._carried[carried.digest] = carried
        self._carried.move_to_end(carried.digest)
        if len(self._carried) > KEPT:
            self._carried.popitem(last=False)
        return carried.digest

    def inherited(self, state: Inherited) -> bytes | None:
        """Another shard's state, fetched here and now; None where the store does not give it, which is asked again after a while."""
        if self._objects is None or self._clock() - self._denied.get(state.digest, -RETRY) < RETRY:
            return None
        try:
            return self._objects.get(state.digest, state.size, state.where)
        except Unavailable:
            self._denied[state.digest] = self._clock()
            return None

    def _wanted(self, digest: str) -> bool:
        """Whether loading a plan is to be begun: nobody did, or a store was away and may be back."""
        future = self._loaded.get(digest)
        if future is None:
            return True
        away = self._away.get(digest)
        return away is not None and future.done() and self._clock() - away >= RETRY

    def _missing(self, digest: str) -> str | None:
        carried = self._carried.get(digest)
        if carried:
            return lacking(self._definitions, self._namespace, carried.needs, carried.models)
        return missing(self._definitions, self._namespace, digest)

    def _begin(self, digest: str) -> None:
        self._away.pop(digest, None)
        self._loaded[digest] = self._loading.submit(self._work(digest, beside=True))
        self._loaded.move_to_end(digest)
        if len(self._loaded) > KEPT:
            gone, future = self._loaded.popitem(last=False)
            future.cancel()  # what nobody waits for must not keep others waiting
            self._away.pop(gone, None)

    def _work(self, digest: str, beside: bool = False) -> Callable[[], Pipeline]:
        carried = self._carried.get(digest)
        needed = carried.needs if carried else defined(self._definitions, self._namespace, digest)
        models = carried.models if carried else None
        lookup = DefinitionsLookup(self._definitions, self._namespace, self._objects, models)
        return partial(self._load_beside if beside else self._load, needed.plan, lookup)

    def _load_beside(self, plan: Plan, lookup: DefinitionsLookup) -> Pipeline:
        with paced(Pace(self._hurry)):
            return self._load(plan, lookup)

    def _load(self, plan: Plan, lookup: DefinitionsLookup) -> Pipeline:
        try:
            return Pipeline(plan, lookup, self.sessions)
        except Unavailable:
            self._away[plan.digest] = self._clock()
            raise


def settle(future: Future[Pipeline], work: Callable[[], Pipeline]) -> None:
    """Do it here and now."""
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)
