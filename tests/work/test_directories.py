"""A directory is put in place whole, with what else was there."""

import os
import stat
from pathlib import Path

import pytest

from circuitkit.errors import OutputError
from circuitkit.work import directories
from circuitkit.work.directories import change_places, replace_directory, require_replaceable
from circuitkit.work.files import require_writable_file, write_whole

NEW = {"a": "new a", "last": "new"}


@pytest.fixture(params=["in one step", "in two renames"])
def home(tmp_path, request, monkeypatch):
    """A directory with files of a run, and others; file systems may lack the one step."""
    if request.param == "in two renames":
        monkeypatch.setattr(directories, "exchanged", lambda one, other: False)
    home = tmp_path / "run"
    (home / "folder").mkdir(parents=True)
    (home / "folder" / "deep").write_text("mine")
    (home / "link").symlink_to("nowhere")
    for name in ("a", "last", "gone", "other"):
        (home / name).write_text(f"old {name}")
    return home


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_new_files_take_the_place_of_old_ones_and_others_stay(home):
    home.chmod(0o750)
    before = home.stat().st_ino
    replace_directory(home, NEW, last="last", stale=["gone"])
    assert names(home) == ["a", "folder", "last", "link", "other"]
    assert (home / "a").read_text() == "new a"
    assert (home / "folder" / "deep").read_text() == "mine"
    assert os.readlink(home / "link") == "nowhere"
    assert stat.S_IMODE(home.stat().st_mode) == 0o750
    assert names(home.parent) == ["run"]
    assert home.stat().st_ino != before


def test_a_directory_that_is_not_there_yet_is_made(tmp_path):
    replace_directory(tmp_path / "x" / "run", NEW, last="last")
    assert names(tmp_path / "x" / "run") == ["a", "last"]
    assert names(tmp_path / "x") == ["run"]


def test_a_link_to_a_directory_stays_a_link(home, tmp_path):
    (tmp_path / "named").symlink_to(home)
    replace_directory(tmp_path / "named", NEW, last="last")
    assert (tmp_path / "named").is_symlink()
    assert (home / "a").read_text() == "new a"


def test_the_current_directory_is_written_in_place(home, monkeypatch):
    monkeypatch.chdir(home)
    before = home.stat().st_ino
    replace_directory(Path(), NEW, last="last", stale=["gone"])
    assert names(home) == ["a", "folder", "last", "link", "other"]
    assert (home.stat().st_ino, (home / "a").read_text()) == (before, "new a")


def test_a_failure_leaves_the_old_directory(home, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(directories, "write_whole", full)
    with pytest.raises(OutputError, match="No space left"):
        replace_directory(home, NEW, last="last", stale=["gone"])
    assert (home / "a").read_text() == "old a"
    assert names(home.parent) == ["run"]


def test_a_second_rename_that_fails_is_undone(tmp_path, monkeypatch):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    renamed = os.rename

    def failing(source, target):
        if Path(source).name == "one":
            raise OSError("no")
        renamed(source, target)

    monkeypatch.setattr(directories, "exchanged", lambda one, other: False)
    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match="no"):
        change_places(tmp_path / "one", tmp_path / "other")
    assert names(tmp_path / "other") == ["other"]


def test_proving_that_a_directory_can_be_written_leaves_what_was_there_and_nothing_new(tmp_path):
    (tmp_path / "old").mkdir()
    for directory in (tmp_path / "old", tmp_path / "new" / "newer"):
        require_replaceable(directory)
    assert names(tmp_path) == ["old"]


NAMES = ["a\x1b[31m", "a\x00b", "a\nb", "half \udcff", "x" * 300, "\u202e.json"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_that_cannot_be_held_or_shown_is_refused_before_work(tmp_path, name):
    for require in (require_writable_file, require_replaceable):
        with pytest.raises(OutputError):
            require(tmp_path / name)
    assert names(tmp_path) == []


def test_a_name_that_leaves_no_room_for_what_is_written_beside_is_refused_before_work(tmp_path):
    name = "x" * 250
    with pytest.raises(OutputError, match="File name too long"):
        write_whole(tmp_path / name, "x")
    with pytest.raises(OutputError, match="File name too long"):
        require_writable_file(tmp_path / name)
    with pytest.raises(OutputError, match="File name too long"):
        require_replaceable(tmp_path / name)


def test_a_device_is_not_replaced_by_a_file():
    with pytest.raises(OutputError, match="a device or a pipe"):
        require_writable_file(Path("/dev/null"))
