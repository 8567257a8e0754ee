"""Progress of long work as a plain callback, so that nothing below the command line draws bars."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (units done, units in all), first with 0 done."""


def silent(done: int, total: int) -> None:
    """Report nothing."""
