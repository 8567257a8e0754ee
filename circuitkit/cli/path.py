"""The command `path`."""

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import FewPairs, HeatMapFile, Machine, Plannable
from circuitkit.cli.sweeps import Paths


@command
def path(
    what: FewPairs, paths: Paths, machine: Machine, shown: Plannable, output: HeatMapFile = None
) -> None:
    """Measure what senders do to receivers along given paths, other heads frozen.

    Example: `circuitkit path ioi --from heads --to 'a3.h0<q>'`
    """
    with loading():
        from circuitkit.cli.actions.patch import patch_along
    patch_along(what, paths, machine, shown, output)
