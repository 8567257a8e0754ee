"""The command line: one file a command; the only place that imports typer.

A command's file declares its options, and loads what it does from `actions/` when it is given.
"""

import os
import sys

from circuitkit.cli.apart import judged_apart
from circuitkit.cli.loading import loading

JUDGES = ("check", "validate")  # commands whose exit code 0 says that something holds


def main() -> None:
    """Run the command line."""
    with loading():
        if sys.argv[1:2] and sys.argv[1] in JUDGES and hasattr(os, "fork"):
            sys.exit(judged_apart(_run))
        _run()


def _run() -> None:
    from circuitkit.cli.app import app

    app()
