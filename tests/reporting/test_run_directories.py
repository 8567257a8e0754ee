"""A run directory holds one run: other files are refused, and nothing of an earlier is left."""

import os
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from circuitkit.errors import CircuitFileError
from circuitkit.reporting import write
from circuitkit.reporting.write import FORMATS, save_run, write_report
from circuitkit.study.records import load_record, save_record
from circuitkit.study.run_directory import DRAWN, RUN_FILE
from circuitkit.work import directories

# what is written where pictures cannot be drawn belongs together as well
pytestmark = pytest.mark.filterwarnings("ignore::circuitkit.errors.PictureWarning")
DATA = ("circuit.json", "scores.parquet", "validation.json", "patching.json", "interpretation.json")


class Killed(BaseException):
    """What ends the process at once, as far as the files can tell."""


@pytest.fixture(scope="session")
def other(record):
    """Another run of the same kind: fewer edges, other words, no interpretation."""
    fewer = record.circuit.with_edges(record.graph.mask_of(["input->m0", "m0->logits"]))
    return replace(record, circuit=fewer, info=replace(record.info, description="other"))


@pytest.fixture(scope="session")
def two_runs(interpreted, other, tmp_path_factory):
    """The directory of each of two runs, with its report."""
    folders = []
    for name, record in (("old", interpreted), ("new", other)):
        folders.append(tmp_path_factory.mktemp(name))
        save_record(record, folders[-1])
        write_report(record, folders[-1], ("html",))
    return folders


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


STEPS = (
    (os, "replace"),
    (os, "link"),
    (os, "rename"),
    (Path, "unlink"),
    (shutil, "rmtree"),
    (directories, "write_whole"),
    (directories, "exchanged"),
)


@pytest.fixture
def killed_at():
    """Let the process die before the `n`-th step that changes a file, or just after it."""

    def after(patch, n, *, is_done):
        left = n

        def dying(change):
            def changed(*args, **kwargs):
                nonlocal left
                left -= 1
                if left == 0 and is_done:
                    change(*args, **kwargs)
                if left <= 0:
                    raise Killed
                return change(*args, **kwargs)

            return changed

        for place, name in STEPS:
            patch.setattr(place, name, dying(getattr(place, name)))

    return after


@pytest.fixture
def drawn_once(other, monkeypatch):
    """Draw the report once, not at each try."""
    drawn = write._drawn(other, ("html",))
    monkeypatch.setattr(write, "_drawn", lambda record, formats: drawn)


@pytest.mark.parametrize("is_done", [False, True], ids=["before a step", "after a step"])
@pytest.mark.usefixtures("drawn_once")
def test_a_run_killed_at_any_step_over_an_old_one_leaves_the_old_or_the_new(
    other, two_runs, tmp_path, killed_at, monkeypatch, is_done
):
    old, new = ({**content(folder)} for folder in two_runs)
    for n in range(1, 200):
        folder = tmp_path / str(n) / "run"
        shutil.copytree(two_runs[0], folder)
        (folder / "notes.txt").write_text("mine")
        with monkeypatch.context() as patch:
            killed_at(patch, n, is_done=is_done)
            try:
                save_run(other, folder, ("html",))
                ended = True
            except Killed:
                ended = False
        there = content(folder)
        assert there.pop("notes.txt") == b"mine"
        assert there in (old, new)
        load_record(folder)
        if ended:
            assert there == new
            assert n > 15
            assert [path.name for path in folder.parent.iterdir()] == ["run"]
            return
    pytest.fail("the run never ended")


def test_what_dead_processes_left_goes_with_the_next_run(other, two_runs, tmp_path):
    folder, dead = tmp_path / "run", tmp_path / ".run.writing-dead"
    for place in (folder, dead, tmp_path / ".other.writing-dead"):
        shutil.copytree(two_runs[0], place)
    save_run(other, folder, ("html",))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.writing-dead", "run"]


@pytest.mark.usefixtures("drawn_once")
def test_a_run_written_in_place_and_killed_leaves_no_mixture_that_says_it_is_whole(
    other, two_runs, tmp_path, monkeypatch
):
    """A directory that cannot be moved: no file of one run lies beside one of the other while
    run.toml is there.
    """
    old, new = map(content, two_runs)
    replaced, unlinked = os.replace, Path.unlink
    monkeypatch.setattr(directories, "_can_move", lambda home: False)
    for n in range(100):
        folder = tmp_path / str(n)
        shutil.copytree(two_runs[0], folder)
        left = n

        def dying(change):
            def changed(*args, **kwargs):
                nonlocal left
                if left == 0:
                    raise Killed
                left -= 1
                return change(*args, **kwargs)

            return changed

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", dying(replaced))
            patch.setattr(Path, "unlink", dying(unlinked))
            is_done = False
            try:
                save_run(other, folder, ("html",))
                is_done = True
            except Killed:
                pass
        there = content(folder)
        if RUN_FILE in there:
            assert there in (old, new)
            load_record(folder)
        else:
            with pytest.raises(CircuitFileError):
                load_record(folder)
        if is_done:
            assert there == new
            assert n > 10
            return
    pytest.fail("the run never ended")


def test_data_of_another_run_is_refused_with_the_name_of_the_file(two_runs, tmp_path):
    for name in DATA[:-1]:
        folder = tmp_path / name
        shutil.copytree(two_runs[0], folder)
        shutil.copy(two_runs[1] / name, folder / name)
        is_same = content(two_runs[0])[name] == content(two_runs[1])[name]
        if is_same:
            load_record(folder)
            continue
        with pytest.raises(CircuitFileError, match=f"'{name}' must be the one that run.toml"):
            load_record(folder)


def test_a_missing_interpretation_is_noticed(two_runs, tmp_path):
    shutil.copytree(two_runs[0], tmp_path / "run")
    (tmp_path / "run" / "interpretation.json").unlink()
    with pytest.raises(CircuitFileError, match="got none. The files would be of different runs"):
        load_record(tmp_path / "run")


def test_a_run_of_an_earlier_version_has_no_digests_and_loads(two_runs, tmp_path):
    shutil.copytree(two_runs[0], tmp_path / "run")
    text = (tmp_path / "run" / RUN_FILE).read_text()
    (tmp_path / "run" / RUN_FILE).write_text(text[: text.index("[files]")])
    assert load_record(tmp_path / "run").interpretation is not None


@pytest.mark.parametrize("files", ['"../x" = "1"', '"/etc/passwd" = "1"', '"" = "1"', '"." = ""'])
def test_a_digest_of_a_file_elsewhere_is_refused(two_runs, tmp_path, files):
    shutil.copytree(two_runs[0], tmp_path / "run")
    with (tmp_path / "run" / RUN_FILE).open("a") as file:
        file.write(files + "\n")
    with pytest.raises(CircuitFileError, match="must be the one"):
        load_record(tmp_path / "run")


def test_every_file_that_a_report_draws_goes_with_its_run(interpreted, tmp_path):
    write_report(interpreted, tmp_path / "drawn", list(FORMATS))
    drawn = {path.name for path in (tmp_path / "drawn").iterdir()}
    known = {path.name for pattern in DRAWN for path in (tmp_path / "drawn").glob(pattern)}
    assert drawn == known
    save_record(interpreted, tmp_path / "drawn")
    (tmp_path / "drawn" / "notes.txt").write_text("mine")
    write_report(interpreted, tmp_path / "drawn", list(FORMATS))
    save_record(interpreted, tmp_path / "drawn")
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {*DATA, RUN_FILE, "notes.txt"}


def test_pictures_in_a_folder_that_is_no_run_are_left_alone(record, tmp_path):
    (tmp_path / "circuit.svg").write_text("mine")
    save_record(record, tmp_path)
    assert (tmp_path / "circuit.svg").read_text() == "mine"
    assert tomllib.loads((tmp_path / RUN_FILE).read_text())["files"].keys() == {*DATA[:-1]}
