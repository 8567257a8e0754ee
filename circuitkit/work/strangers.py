"""Whose code raised an error: ours, or that of a task.

circuitkit_task_file_NAME   the module of a task's file
a package that offers tasks by an entry point, and is not circuitkit
"""

import traceback
from importlib import import_module
from pathlib import Path

TASK_FILE = "circuitkit_task_file_"  # how the module of a task's file is called
ENTRY_POINT_GROUP = "circuitkit.tasks"
OWN = "circuitkit"


def place_in_task(error: BaseException) -> str:
    """Return the last place in a task's own code that an error came through; empty if none."""
    metadata = import_module("importlib.metadata")  # slow, and only errors need it
    points = metadata.entry_points(group=ENTRY_POINT_GROUP)
    packages = {point.value.partition(":")[0].partition(".")[0] for point in points} - {OWN}
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith(TASK_FILE) or module.partition(".")[0] in packages:
            code = frame.f_code
            found = f"{code.co_qualname} in {Path(code.co_filename).name}, line {line}"
    return found
