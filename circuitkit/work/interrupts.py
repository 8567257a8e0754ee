"""Ctrl-C, told apart from a stranger's code that raises KeyboardInterrupt itself.

The command line lets the signal raise `Interrupted`. Where its handler is in place, any other
KeyboardInterrupt was raised by code: no one asked to stop, and what it was part of went wrong.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from circuitkit.errors import CircuitkitError

QUIET = 1.0  # seconds in which a second signal is the same key: a terminal reaches all processes


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, while the command line listens for it."""


class _Listener:
    def __init__(self) -> None:
        self._last = -QUIET

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        is_same, self._last = now - self._last < QUIET, now
        if not is_same:
            raise Interrupted


@contextmanager
def listening() -> Iterator[None]:
    """Let Ctrl-C raise `Interrupted` in the block; threads other than the main one have none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _Listener())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def strangers_code(broken: Callable[[BaseException], CircuitkitError]) -> Iterator[None]:
    """Run a stranger's code in the block, which may raise anything, SystemExit too.

    Errors of ours and Ctrl-C pass; of any other, `broken` makes the error that is raised instead.
    """
    try:
        yield
    except CircuitkitError:
        raise
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        raise broken(error) from error


def is_ctrl_c(error: BaseException) -> bool:
    """Return whether an error is Ctrl-C, as far as that can be told."""
    if not isinstance(error, KeyboardInterrupt):
        return False
    return isinstance(error, Interrupted) or not isinstance(
        signal.getsignal(signal.SIGINT), _Listener
    )
