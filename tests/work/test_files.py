"""Files that belong together: all of one writing, or no claim that they are."""

import os
from pathlib import Path

import pytest

from circuitkit.errors import OutputError
from circuitkit.work.files import require_writable_file, write_together, write_whole

OLD = {"a": "old a", "b": "old b", "gone": "old gone", "last": "old"}
NEW = {"last": "new", "a": "new a", "b": "new b"}


@pytest.fixture
def folder(tmp_path):
    for name, text in OLD.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def found(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_the_new_files_are_there_and_the_stale_are_not(folder):
    write_together(folder, NEW, last="last", stale=["gone", "never was"])
    assert found(folder) == NEW
    assert [path for path in folder.iterdir() if path.is_dir()] == []


class Killed(BaseException):
    """What ends the process at once, as far as the files can tell."""


@pytest.fixture
def killed_at(monkeypatch):
    """Let the process die at the `n`-th time that a file is written, renamed or removed."""

    def after(n):
        count = 0

        def dying(change):
            def changed(*args, **kwargs):
                nonlocal count
                if count >= n:
                    raise Killed
                count += 1
                return change(*args, **kwargs)

            return changed

        monkeypatch.setattr(os, "replace", dying(os.replace))
        monkeypatch.setattr(Path, "unlink", dying(Path.unlink))

    return after


@pytest.mark.parametrize("n", range(8))
def test_whenever_it_is_killed_the_last_is_there_only_beside_its_own(folder, killed_at, n):
    with pytest.MonkeyPatch.context():
        killed_at(n)
        with pytest.raises(Killed):
            write_together(folder, NEW, last="last", stale=["gone"])
    there = found(folder)
    if "last" in there:
        assert there in (OLD, NEW)


def test_a_write_that_is_never_killed_takes_eight_steps(folder, killed_at):
    killed_at(8)
    write_together(folder, NEW, last="last", stale=["gone"])
    assert found(folder) == NEW


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="must be writable"):
        write_together(tmp_path / "file" / "run", NEW, last="last")
    (tmp_path / "run" / "a").mkdir(parents=True)  # a folder where a file belongs
    with pytest.raises(OutputError, match="must be writable"):
        write_together(tmp_path / "run", NEW, last="last")
    assert not (tmp_path / "run" / "last").exists()


def test_a_directory_is_no_file_to_write(tmp_path):
    with pytest.raises(OutputError, match="must be a file, got a directory"):
        require_writable_file(tmp_path)
    require_writable_file(tmp_path / "new" / "circuit.json")
    assert (tmp_path / "new").is_dir()
    write_whole(tmp_path / "new" / "circuit.json", "x")
    require_writable_file(tmp_path / "new" / "circuit.json")
