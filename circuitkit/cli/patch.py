"""The command `patch`."""

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import FewPairs, HeatMapFile, Machine, Plannable
from circuitkit.cli.sweeps import Sweep


@command
def patch(
    what: FewPairs, sweep: Sweep, machine: Machine, shown: Plannable, output: HeatMapFile = None
) -> None:
    """Measure exact effects by activation patching, as a heat map.

    Example: `circuitkit patch ioi --at heads --by role`
    """
    with loading():
        from circuitkit.cli.actions.patch import patch_everywhere
    patch_everywhere(what, sweep, machine, shown, output)
