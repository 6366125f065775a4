"""Random pasts, random lives, as many as you like: `python -m tests.simulation --seeds 0-100000`; a failing seed says how to replay it."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from tests.simulation.life import live_through, replay


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0-2000", help="one, or from (inclusive) to (exclusive), as 0-2000")
    parser.add_argument("--keep-going", action="store_true", help="not only up to the first failure")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    seeds, failed, since = range(int(first), int(last or int(first) + 1)), 0, time.monotonic()
    for seed in seeds:
        try:
            live_through(seed)
        except Exception:
            failed += 1
            traceback.print_exc()
            print(f"seed {seed} failed; again: {replay(seed)}", flush=True)
            if not arguments.keep_going:
                return 1
        if seed % 100 == 99 and sys.stderr.isatty():
            print(f"\r{seed + 1 - seeds.start} of {len(seeds)} seeds", end="", file=sys.stderr)
    print(f"{len(seeds)} seeds, {failed} failed, {time.monotonic() - since:.1f} s")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
