"""Judging in a process of its own, whose word counts only if it reached its end.

    parent  waits, and leaves with what the child said
    child   judges, says its exit code through a pipe, and ends

An exit code of 0 guards a merge. A task's code that ends the process (`os._exit(0)`, in a thread or
at exit), and a system that kills it, would otherwise pass for a judgement.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from circuitkit.cli.loading import EXIT_INTERRUPTED, EXIT_NOT_JUDGED

POLL = 0.5  # seconds between looks whether the parent still waits


def judged_apart(run: Callable[[], object]) -> int:
    """Return the exit code with which `run` ends in a process of its own."""
    reader, writer = os.pipe()
    parent, child = os.getpid(), os.fork()
    if child == 0:
        os.close(reader)
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
        code = _code_of(run)
        os.write(writer, str(code).encode())
        raise SystemExit(code)
    os.close(writer)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _passed_on(child))
    _, status = os.waitpid(child, 0)
    os.set_blocking(reader, False)
    try:
        said = os.read(reader, 16)
    except BlockingIOError:  # something that it started holds the pipe
        said = b""
    return int(said) if said.isdigit() else _unsaid(status)


def _code_of(run: Callable[[], object]) -> int:
    try:
        run()
    except SystemExit as end:
        sys.stdout.flush()
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        return EXIT_NOT_JUDGED
    sys.stdout.flush()
    return 0


def _unsaid(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    if code in (EXIT_INTERRUPTED, -signal.SIGINT):
        return EXIT_INTERRUPTED
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    sys.stderr.write(
        f"command: the judging process must say how it ended, got {how} and not a word. Nothing "
        "was judged. A task's code may have ended it, or a lack of memory. Run it where there is "
        "more memory, or mend the task.\n"
    )
    return EXIT_NOT_JUDGED


def _passed_on(child: int) -> Callable[[int, FrameType | None], None]:
    def pass_on(number: int, frame: FrameType | None) -> None:
        os.kill(child, number)

    return pass_on


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: no one waits for what it would say."""
    while os.getppid() == parent:
        time.sleep(POLL)
    os._exit(EXIT_NOT_JUDGED)
