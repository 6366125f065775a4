"""Every error a person can meet, with one line that names the thing, the value and what is allowed.

    SwapstreamError
    ├── InvalidDefinition      a schema, manifest, plan, token or setting that breaks its own rules
    │   ├── InvalidSchema
    │   ├── InvalidArtifact
    │   ├── InvalidPlan
    │   ├── InvalidToken
    │   └── InvalidSettings
    ├── UnknownName            a model, extractor, kind, plan, schema, topic or job that nobody has defined
    ├── Conflict               the name is taken by other bytes, or somebody else got there first
    ├── Rejected               the gate refused a model: which check, which value
    ├── Untrusted              nobody whom the namespace trusts has signed this, or nobody at hand can
    ├── Unavailable            a store is away, or gives other bytes than were defined: later it may answer
    ├── OutOfOrder             a frame that does not follow the shard's last offset; the job restarts from its checkpoint
    └── ClusterError           a broker, Flink cluster or process that is missing, away or refuses
"""


class SwapstreamError(Exception):
    """The root: the command line prints it as one line and exits with `exit_code`."""

    exit_code = 1


class InvalidDefinition(SwapstreamError):
    """A described thing breaks its own rules."""

    exit_code = 2


class InvalidSchema(InvalidDefinition):
    """A telemetry schema that can't be used."""


class InvalidArtifact(InvalidDefinition):
    """Bytes that are not a model artifact, or one that contradicts its manifest.

    `check`: which of the gate's found it, "" where that follows from where it was raised.
    """

    def __init__(self, line: str, check: str = "") -> None:
        super().__init__(line)
        self.check = check


class InvalidPlan(InvalidDefinition):
    """A plan that can't be deployed."""


class InvalidToken(InvalidDefinition):
    """Bytes that start like a token and are none."""


class InvalidSettings(InvalidDefinition):
    """A configuration value outside what is allowed."""


class UnknownName(SwapstreamError):
    """Nobody has defined this name."""

    exit_code = 3


class Conflict(SwapstreamError):
    """The name is taken by other bytes, or another controller was first."""

    exit_code = 4


class Rejected(SwapstreamError):
    """The gate refused a model."""

    exit_code = 5


class Untrusted(SwapstreamError):
    """Nobody whom the namespace trusts has signed this, or nobody at hand can."""

    exit_code = 7


class Unavailable(SwapstreamError):
    """A store is away, or gives other bytes than were defined."""

    exit_code = 6


class OutOfOrder(SwapstreamError):
    """A frame that does not follow the shard's last offset."""


class ClusterError(SwapstreamError):
    """A broker, a Flink cluster or a process is missing, away or refuses."""

    exit_code = 6
