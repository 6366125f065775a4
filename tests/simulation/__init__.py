"""Random pasts and random lives of shards, against the contracts.

    world.py     what was written: telemetry with tokens, and `parameters`, by controllers and others
    job.py       a deployment that lives through it: workers, frames, checkpoints, crashes, other parallelism
    relay.py     one whose jobs hand over to one another
    observed.py  what it put out, and oracle.py what C1, C4 and C5 say it must be
    life.py      one seed; broken.py, shards that must be caught
    __main__.py  python -m tests.simulation --seeds 0-100000; a seed that fails prints how to replay it
"""
