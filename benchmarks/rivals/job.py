"""What a rival is told: one JSON file. Everything in this folder is written against msgspec and the rival's own package alone,
since each runs in an environment of its own."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Job(msgspec.Struct, frozen=True):
    """Read `source` from its beginning, score, write to `sink`.

    - stop: partition → offset to stop at, for those that can.
    - parallelism: processes or subtasks; addresses: where processes listen that talk to each other.
    - settings: of the framework, as it calls them. directory: for its files.
    - mean, deviation [3·values]: the z-score's; halflife: of the weighted means; threshold, warmup: what makes an anomaly.
    - graph: file of an ONNX graph that scores instead, "" for none.
    """

    bootstrap: str
    group: str
    source: str
    sink: str
    stop: dict[int, int]
    parallelism: int
    directory: str = ""
    addresses: list[str] = []
    checkpoint_ms: int = 2000
    settings: dict[str, str] = {}
    mean: list[float] = []
    deviation: list[float] = []
    halflife: float = 20.0
    threshold: float = 0.0
    warmup: int = 0
    graph: str = ""

    def write(self, path: Path) -> None:
        path.write_bytes(msgspec.json.encode(self))

    @classmethod
    def read(cls, path: str) -> Job:
        return msgspec.json.decode(Path(path).read_bytes(), type=cls)
