"""`python -m circuitkit` is the command line."""

from circuitkit.cli.app import main

main()
