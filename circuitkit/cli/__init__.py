"""The command line: one file a command; the only place that imports typer.

A command's file declares its options, and loads what it does from `actions/` when it is given.
"""

import os
import sys

from circuitkit.cli.apart import judged_apart
from circuitkit.cli.loading import leaving, loading

JUDGES = ("check", "validate")  # commands whose exit code 0 says that something holds


def main() -> None:
    """Run the command line."""
    with leaving():
        if sys.argv[1:2] and sys.argv[1] in JUDGES and hasattr(os, "fork"):
            sys.exit(judged_apart(_run))
        _run()


def _run() -> None:
    with loading():
        from circuitkit.cli.app import app
    app()
