"""Sessions: loaded models, shared by all plans and routes of a worker, in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec

from swapstream.models.artifact import Artifact
from swapstream.models.errors import Rejected, SwapstreamError, Unavailable
from swapstream.models.gate import check, check_budget
from swapstream.models.kinds import Scorer, scorer
from swapstream.models.manifest import Manifest

ROOM = 256 * 2**20
LEAST = 8 * 2**10
GRAPH_LEAST = 2**19
"""What a session takes besides its numbers: bytes of a native one (measured: 2 to 6 kB), and of one of ONNX Runtime (0.4 to 0.6 MB)."""
VERDICTS = 20_000
MAX_REASON = 200

Find = Callable[[], Artifact]


class Session(msgspec.Struct, frozen=True):
    """A model that is ready to score; `weight` about how many bytes it takes."""

    scorer: Scorer
    manifest: Manifest
    weight: int


class Verdict(msgspec.Struct, frozen=True):
    """What the gate says of a model over certain features.

    `refusal`: why it may not be swapped to, "" if it may. `error`: with which reason it answers every record all the same, None
    where it can score; a model that is only slower than its budget can, since what answers a record must not depend on how
    busy a worker is. `weight`: its session's.
    """

    refusal: str = ""
    error: str | None = None
    threshold: float = float("inf")
    weight: int = 0


class Sessions:
    """Models by what they are known by: a text that stands for digest, name and features.

    A gate's verdict is remembered, so that what had to make room costs no more than loading when it is asked for again. Callers
    on several threads may ask.
    """

    def __init__(self, room: int = ROOM) -> None:
        self.room, self._taken = room, 0
        self._loaded: OrderedDict[str, Session] = OrderedDict()
        self._verdicts: OrderedDict[str, Verdict] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._loaded)

    def verdict(self, key: str, features: Sequence[str], find: Find) -> Verdict:
        """What the gate says, asked once. The session is kept. Raises Unavailable."""
        with self._lock:
            known = self._verdicts.get(key)
        if known is None:
            known, session = examine(features, find)
            with self._lock:
                self._verdicts[key] = known
                if len(self._verdicts) > VERDICTS:
                    self._verdicts.popitem(last=False)
            if session is not None:
                self._keep(key, session)
        return known

    def get(self, key: str, find: Find) -> Session:
        """The session of a model that the gate let pass: loaded now where it had to make room. Raises Unavailable."""
        with self._lock:
            found = self._loaded.get(key)
            if found is not None:
                self._loaded.move_to_end(key)
                return found
        artifact = find()
        return self._keep(key, session_of(artifact, scorer(artifact)))

    def _keep(self, key: str, session: Session) -> Session:
        """Of two that were loaded at the same time the first stays."""
        with self._lock:
            kept = self._loaded.setdefault(key, session)
            self._loaded.move_to_end(key)
            if kept is session:
                self._taken += session.weight
            while self._taken > self.room and len(self._loaded) > 1:
                self._taken -= self._loaded.popitem(last=False)[1].weight
        return kept


def examine(features: Sequence[str], find: Find) -> tuple[Verdict, Session | None]:
    """Load a model and ask the gate. Raises Unavailable, which says nothing of the model."""
    try:
        artifact = find()
        loaded, refusal = passed(artifact, features)
    except Unavailable:
        raise
    except Exception as error:  # whatever a model's library raises must not stop the job
        return Verdict(said(error), reason(error)), None
    session = session_of(artifact, loaded)
    return Verdict(refusal, None, artifact.manifest.threshold, session.weight), session


def passed(artifact: Artifact, features: Sequence[str]) -> tuple[Scorer, str]:
    """The scorer, and why the gate refuses it for its time. Raises Rejected for all else, which follows from the model alone."""
    loaded = check(artifact, features, budget=float("inf"))
    try:
        check_budget(artifact, loaded)
    except Rejected as error:
        return loaded, str(error)
    return loaded, ""


def session_of(artifact: Artifact, loaded: Scorer) -> Session:
    numbers = sum(array.nbytes for array in artifact.parameters.values())
    weight = LEAST + 2 * numbers if artifact.graph is None else GRAPH_LEAST + 2 * len(artifact.graph)
    return Session(loaded, artifact.manifest, weight)


def said(error: Exception) -> str:
    return str(error) if isinstance(error, SwapstreamError) else f"{type(error).__name__}: {error}"


def reason(error: Exception) -> str:
    """Why a model failed, short enough to stand beside each score."""
    return said(error)[:MAX_REASON]
