"""Ctrl-C, told apart from a stranger's code that raises KeyboardInterrupt itself.

The command line lets the signal raise `Interrupted`. Where its handler is in place, any other
KeyboardInterrupt was raised by code: no one asked to stop, and what it was part of went wrong.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

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


def is_ctrl_c(error: BaseException) -> bool:
    """Return whether an error is Ctrl-C, as far as that can be told."""
    if not isinstance(error, KeyboardInterrupt):
        return False
    return isinstance(error, Interrupted) or not isinstance(
        signal.getsignal(signal.SIGINT), _Listener
    )
