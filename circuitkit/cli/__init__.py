"""The command line: one file a command; the only place that imports typer.

A command's file declares its options, and loads what it does from `actions/` when it is given.
"""

from circuitkit.cli.loading import loading


def main() -> None:
    """Run the command line."""
    with loading():
        from circuitkit.cli.app import app
    app()
