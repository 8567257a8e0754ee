"""What `new-task` does: write a task to fill in, and its test, where nothing is lost by it."""

import re
import sys
from pathlib import Path

from circuitkit.cli.actions.new_task_text import TASK, TEST
from circuitkit.cli.options import ShownAtOnce
from circuitkit.cli.terminal import NOTES, OUT, show_json
from circuitkit.errors import OutputError, TaskError
from circuitkit.task import installed_names
from circuitkit.work.files import require_writable_directory, write_whole
from circuitkit.work.text import shown as shown_text

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST = 50


def write_task(name: str, directory: Path, shown: ShownAtOnce) -> None:
    """Write the task and its test, and say how to run both."""
    _require_name(name)
    stem = name.replace("-", "_")
    files = {directory / f"{stem}.py": TASK, directory / f"test_{stem}.py": TEST}
    taken = next((path for path in files if path.exists() or path.is_symlink()), None)
    if taken is not None:
        raise OutputError(
            f"new-task: the files must not exist yet, got {shown_text(str(taken))}. What is in it "
            "would be lost. Choose another name or another -o / --output."
        )
    require_writable_directory(directory)
    words = {
        "@NAME@": name,
        "@FILE@": stem,
        "@CLASS@": "".join(part.capitalize() for part in name.split("-")),
        "@TITLE@": name.replace("-", " ").capitalize(),
    }
    for path, text in files.items():
        for mark, word in words.items():
            text = text.replace(mark, word)
        write_whole(path, text)
    task, test = files
    if shown.as_json:
        show_json({"task": str(task), "test": str(test)})
        return
    OUT.print(f"{task}\n{test}", soft_wrap=True)
    NOTES.print(
        f"Try it: pytest {test}, then circuitkit run {task}:{words['@CLASS@']}", soft_wrap=True
    )


def _require_name(name: str) -> None:
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise TaskError(
            f"new-task: the name must be small letters and digits with hyphens between, as "
            f"my-task, and at most {LONGEST} long, got {shown_text(name)}. Files and a class are "
            "called after it. Choose another."
        )
    if name.replace("-", "_") in sys.stdlib_module_names:
        raise TaskError(
            f"new-task: the name must be none of a module of Python, got {shown_text(name)}. "
            "Beside such a file, Python would import it instead of its own. Choose another."
        )
    if name in installed_names():
        raise TaskError(
            f"new-task: the name must be free, got {shown_text(name)}, which an installed task "
            "has. `circuitkit run` would find that one. Choose another."
        )
