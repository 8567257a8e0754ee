"""Writing files whole or not at all: to a temporary neighbour, then renamed over the target.

Files that belong together are all written beside first, and then renamed: where this is cut off,
the one that says that they are whole is not there.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from circuitkit.errors import OutputError
from circuitkit.work.text import is_safe, shown


def write_whole(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part.

    Raises:
        OutputError: the directory cannot be made or written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _temporary(path)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error) from error
        raise


def write_together(
    directory: Path,
    files: Mapping[str, str | bytes],
    *,
    last: str,
    stale: Iterable[str] = (),
) -> None:
    """Write files into `directory` so that `last` is there only beside all that belong to it.

    1. all are written into a folder beside
    2. the old `last` goes: from here on the directory does not say that it is whole
    3. the `stale` go, and the new are renamed into place, `last` at the end

    Raises:
        OutputError: the directory cannot be made or written.
    """
    require_writable_directory(directory)
    beside = Path(tempfile.mkdtemp(dir=directory, prefix=".writing."))
    try:
        for name, content in files.items():
            write_whole(beside / name, content)
        (directory / last).unlink(missing_ok=True)
        for name in stale:
            (directory / name).unlink(missing_ok=True)
        for name in sorted(files, key=lambda name: name == last):
            os.replace(beside / name, directory / name)
    except OSError as error:
        raise error if isinstance(error, OutputError) else unwritable(directory, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def is_folder(path: Path) -> bool:
    """Return whether there is a folder; a name that no path can have is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def require_writable_file(path: Path) -> None:
    """Prove that a file can be written at `path`, before any long work starts.

    Raises:
        OutputError: it is a directory or a device, has a name that no terminal can show, or cannot
            be made or written.
    """
    if is_folder(path):
        raise OutputError(
            f"output {shown(str(path))}: must be a file, got a directory. One file is written. "
            "Name it, as circuit.json in that directory."
        )
    _require_plain(path)
    require_writable_directory(path.parent)
    try:
        _require_no_device(path)
        handle, temporary = _temporary(path)
        os.close(handle)
        os.unlink(temporary)
    except OutputError:
        raise
    except OSError as error:  # a name that is too long
        raise unwritable(path, error) from error


def require_writable_directory(path: Path) -> None:
    """Create `path` and prove that a file can be written there, before any long work starts.

    Raises:
        OutputError: it cannot.
    """
    _require_plain(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise unwritable(path, error) from error


def _require_plain(path: Path) -> None:
    if not is_safe(str(path)):
        raise OutputError(
            f"output {shown(str(path))}: must be a name without control characters. No terminal "
            "can show it, and few programs can open it. Choose another with -o / --output."
        )


def _require_no_device(path: Path) -> None:
    """Refuse what is no file: a new file would take the place of /dev/null for all programs."""
    if path.exists() and not path.is_file():
        raise OutputError(
            f"output {shown(str(path))}: must be a file, got a device or a pipe. It would be "
            "replaced by a file. Name another with -o / --output."
        )


def _temporary(path: Path) -> tuple[int, str]:
    return tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")


def unwritable(path: Path, error: OSError) -> OutputError:
    """Return the error for a place that cannot be written."""
    return OutputError(
        f"output {shown(str(path))}: must be writable, got {error.strerror or error}. "
        "Results could not be kept. Choose another place with -o / --output."
    )


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
