"""Where the command `circuitkit` starts: from here on Ctrl-C ends it with 130.

A module beside the package, not in it: importing anything of circuitkit first runs circuitkit's own
`__init__`, and a key pressed meanwhile would be shown as a traceback.
"""

import os
import signal
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGINT, _leave)
    from circuitkit.cli import main as run

    run()


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)  # an exception would be shown, or swallowed, by what is imported
