"""Writing files whole or not at all: to a temporary neighbour, then renamed over the target."""

import os
import tempfile
from pathlib import Path

from circuitkit.errors import OutputError


def write_whole(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part.

    Raises:
        OutputError: the directory cannot be made or written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
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


def require_writable_directory(path: Path) -> None:
    """Create `path` and prove that a file can be written there, before any long work starts.

    Raises:
        OutputError: it cannot.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> OutputError:
    """Return the error for a place that cannot be written."""
    return OutputError(
        f"output {str(path)!r}: must be writable, got {error.strerror or error}. "
        "Results could not be kept. Choose another place with -o / --output."
    )


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
