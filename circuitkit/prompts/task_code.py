"""Running a task's own code: a stranger's Python, which may raise, return or yield anything.

Whatever it raises leaves as a TaskCodeError, SystemExit too: a task that calls `sys.exit(0)` would
otherwise end a check as if all had been judged. Ctrl-C passes, and so does an error of ours.
"""

import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType

from circuitkit.errors import TaskCodeError
from circuitkit.prompts.pair_checks import require_pair
from circuitkit.prompts.pairs import PromptPair
from circuitkit.work.interrupts import strangers_code
from circuitkit.work.text import error_text, shown

NONE_LEFT = object()


def task_code(claim: str) -> AbstractContextManager[None]:
    """Run code of a task in the block; `claim` is the sentence that an error breaks.

    Raises:
        TaskCodeError: the code raised anything but an error of circuitkit. Ctrl-C passes.
    """
    return strangers_code(
        lambda error: TaskCodeError(
            f"{claim}, got {error_text(error)}{_place(error)}. Without it there is nothing to "
            "measure. Mend the task."
        )
    )


def drawn_pairs(
    name: object, draw: Callable[[], Iterable[PromptPair]], called: str = "pairs()"
) -> Iterator[PromptPair]:
    """Yield what `draw` of the task `name` yields, each pair checked.

    Raises:
        TaskCodeError: the code raised, or yields nothing that can be iterated.
        PromptError: it yields what is no usable prompt pair, with its number.
    """
    where = f"task {shown(name)}"
    claim = f"{where}: {called} must yield prompt pairs without error"
    with task_code(claim):
        stream = iter(draw())
    number = 0
    while True:
        number += 1
        with task_code(claim):
            drawn: object = next(stream, NONE_LEFT)
            if drawn is NONE_LEFT:
                return
            pair = require_pair(drawn, f"{where}, pair {number}{_yielded_at(stream)}")
        yield pair


def _yielded_at(stream: object) -> str:
    """Return the method, file and line that yielded last; empty where no generator did."""
    frame = getattr(stream, "gi_frame", None)
    if not isinstance(frame, FrameType):
        return ""
    code = frame.f_code
    return f" ({code.co_qualname} in {Path(code.co_filename).name}, line {frame.f_lineno})"


def _place(error: BaseException) -> str:
    """Return where it was raised: the last place that is not in an installed package.

    Packages wrap what a task calls (a logger may wrap `sys.exit`); the fault is where it is called.
    """
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is where we called
    own = [frame for frame in frames if "site-packages" not in Path(frame.filename).parts]
    last = (own or frames)[-1:]
    return f" ({last[0].filename}, line {last[0].lineno})" if last else ""
