"""The command `circuits`."""

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import ShownAtOnce


@command
def circuits(shown: ShownAtOnce) -> None:
    """List the circuits of papers that can be named as published:NAME, each with its source.

    Such a name works wherever a circuit file does: `circuitkit validate published:ioi-wang`.
    """
    with loading():
        from circuitkit.cli.actions.circuits import list_circuits
    list_circuits(shown)
