"""What a deployment was computed with, where that is not what is installed here: equal bytes are promised for the same (C6)."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from swapstream.operators.computing import Computed
from swapstream.scripts.acknowledge import rows_to_end
from swapstream.scripts.environment import Environment


def unlike_here(environment: Environment, namespace: str, deployment: str) -> list[str]:
    """Libraries and processors of the deployment's workers that are others here, as "numpy 2.1.3, not 2.1.2"; each once."""
    here, found = Computed.here(), dict[str, None]()
    for row in rows_to_end(environment):
        if (row.get("event"), row.get("namespace"), row.get("deployment")) == ("computing", namespace, deployment):
            with suppress(msgspec.ValidationError):
                found |= dict.fromkeys(msgspec.convert(row, Computed).unlike(here))
    return list(found)
