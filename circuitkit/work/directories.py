"""Writing a directory whole or not at all: made beside, then put in place of the old one at once.

    1. all files are written into a neighbour, `.NAME.writing-XXXX`
    2. what else lies in the old directory is linked there too
    3. the two change places in one step of the file system (renameat2, renamex_np), or in two
       renames where there is no such step
    4. the neighbour, which is the old directory now, goes

A process that is killed leaves the old directory or the new one. Its neighbour is locked while it
works; one that is not is a dead process's, and goes with the next writing. A directory that cannot
be moved (a mount, the current one, one in a folder that cannot be written) is written in place.
"""

import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from circuitkit.errors import OutputError
from circuitkit.work.files import (
    require_writable_directory,
    unwritable,
    write_together,
    write_whole,
)

try:
    import fcntl
except ImportError:  # Windows: nothing is locked, and nothing of a dead process goes
    fcntl = None  # type: ignore[assignment]

HERE = -100  # AT_FDCWD
EXCHANGE = 2  # RENAME_EXCHANGE, and RENAME_SWAP


def replace_directory(
    directory: Path,
    files: Mapping[str, str | bytes],
    *,
    last: str,
    stale: Collection[str] = (),
) -> None:
    """Put a directory of `files` in place; what else was there stays, but for the `stale`.

    `last` is the file that says that the others are whole, where it must be written in place.

    Raises:
        OutputError: it cannot be made or written.
    """
    require_writable_directory(directory)
    home = directory.resolve()
    if not _can_move(home):
        write_together(directory, files, last=last, stale=stale)
        return
    try:
        _sweep(home)
        with _neighbour(home) as beside:
            for name, content in files.items():
                write_whole(beside / name, content)
            for path in sorted(home.iterdir()):
                if path.name not in files and path.name not in stale:
                    _link(path, beside / path.name)
            os.chmod(beside, home.stat().st_mode & 0o7777)
            change_places(beside, home)
    except OSError as error:
        raise error if isinstance(error, OutputError) else unwritable(directory, error) from error


def require_replaceable(directory: Path) -> None:
    """Prove that a directory can be written and moved, before any long work starts.

    One that was not there is gone again afterwards: work that fails leaves no empty directory.

    Raises:
        OutputError: it cannot.
    """
    new = [path for path in (directory, *directory.parents) if not os.path.exists(path)]
    require_writable_directory(directory)
    home = directory.resolve()
    try:
        if _can_move(home):
            with _neighbour(home):
                pass
    except OSError as error:
        raise unwritable(directory, error) from error
    finally:
        with suppress(OSError):  # another process may have filled it meanwhile
            for path in new:
                path.rmdir()


def change_places(beside: Path, home: Path) -> None:
    """Let two directories change places, in one step where the system has it."""
    if exchanged(beside, home):
        return
    old = beside.with_name(f"{beside.name}-old")
    os.rename(home, old)
    try:
        os.rename(beside, home)
    except OSError:
        os.rename(old, home)
        raise
    os.rename(old, beside)


def exchanged(one: Path, other: Path) -> bool:
    """Return whether two paths have changed places in one step; False where that cannot be."""
    paths = os.fsencode(one), os.fsencode(other)
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "linux":
            return bool(library.renameat2(HERE, paths[0], HERE, paths[1], EXCHANGE) == 0)
        if sys.platform == "darwin":
            return bool(library.renamex_np(*paths, EXCHANGE) == 0)
    return False


def _can_move(home: Path) -> bool:
    """Return whether a directory may be another one at the same path."""
    here = Path.cwd()
    is_used = home == here or home in here.parents or os.path.ismount(home)
    return not is_used and os.access(home.parent, os.W_OK | os.X_OK)


@contextmanager
def _neighbour(home: Path) -> Iterator[Path]:
    """Yield a new, locked directory beside, and remove what it is at the end."""
    beside = Path(tempfile.mkdtemp(dir=home.parent, prefix=_prefix(home)))
    lock = os.open(beside, os.O_RDONLY)
    try:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        os.close(lock)


def _sweep(home: Path) -> None:
    """Remove what dead processes left beside a directory."""
    for path in home.parent.glob(f"{_escaped(_prefix(home))}*"):
        if fcntl is None or not path.is_dir():
            continue
        with suppress(OSError):
            lock = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _prefix(home: Path) -> str:
    return f".{home.name}.writing-"


def _escaped(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def _link(path: Path, place: Path) -> None:
    """Let a file or a directory be at another place too; copied where it cannot be linked."""
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, place, symlinks=True, copy_function=_link_file)
    else:
        _link_file(str(path), str(place))


def _link_file(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
