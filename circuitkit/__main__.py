"""`python -m circuitkit` is the command line."""

from circuitkit.cli import main

main()
