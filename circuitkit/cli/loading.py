"""Loading the library when a command needs it: help, mistakes and completion never do."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

EXIT_INTERRUPTED = 130


@contextmanager
def loading() -> Iterator[None]:
    """While the library is imported, leave at once on Ctrl-C and say nothing: nothing has begun."""
    if threading.current_thread() is not threading.main_thread():  # has no signals
        yield
        return
    before = signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(EXIT_INTERRUPTED)  # an exception would be shown, or swallowed, by what is imported
