"""Results come back as they were kept, for the same work alone, and from a sound file alone."""

import contextlib
import os
import random
import sqlite3
import struct
import sys
import tempfile
from pathlib import Path

import pytest

from circuitkit.errors import CheckpointError
from circuitkit.work.checkpoint import open_checkpoint

WORK = {"method": "ACDC(threshold=0.1)", "model": "toy, weights 12ab", "seed": "0"}
EXTREMES = [
    0.1 + 0.2,
    -0.0,
    5e-324,
    -5e-324,
    sys.float_info.min,
    sys.float_info.max,
    -1e308,
    float("inf"),
    1 / 3,
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "work.sqlite"


def fill(path, n_items=3, length=2):
    """Keep some results, and return them."""
    drawn = random.Random(0)
    results = {f"item {i}": [drawn.gauss(0, 1) for _ in range(length)] for i in range(n_items)}
    with open_checkpoint(path, WORK) as done:
        done.plan({"n_pairs": 5})
        for key, values in results.items():
            done.keep(key, values)
    return results


def n_kept(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM results").fetchone()[0]


def bits(values):
    return [struct.pack(">d", value) for value in values]


def refusal(path, work=WORK):
    """Return what is said where a file is refused as it is opened, before any work."""
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path, work).__enter__()
    return str(caught.value)


@pytest.mark.parametrize("reopened", [False, True])
def test_results_come_back_to_the_last_bit(path, reopened):
    with open_checkpoint(path, WORK) as done:
        done.keep("extremes", EXTREMES)
        done.keep("nothing", [])
        if not reopened:
            assert bits(done.result("extremes")) == bits(EXTREMES)
    with open_checkpoint(path, WORK) as done:
        assert bits(done.result("extremes")) == bits(EXTREMES)
        assert done.result("nothing") == []
        assert done.result("another") is None
    assert n_kept(path) == 2


def test_what_is_kept_is_in_the_file_before_it_is_closed(path):
    with open_checkpoint(path, WORK) as done:
        for n in (1, 2, 3):
            done.keep(f"item {n}", [n / 7])
            with open_checkpoint(path, WORK) as other:
                assert n_kept(path) == n
                assert other.result(f"item {n}") == [n / 7]


def test_what_was_kept_outlives_an_interruption(path):
    with contextlib.suppress(KeyboardInterrupt), open_checkpoint(path, WORK) as done:
        done.keep("first", [1.5])
        raise KeyboardInterrupt
    with open_checkpoint(path, WORK) as done:
        assert done.result("first") == [1.5]


def test_the_same_result_may_be_kept_twice_but_no_other(path):
    with open_checkpoint(path, WORK) as one, open_checkpoint(path, WORK) as other:
        one.keep("item", [0.1, 0.2])
        other.keep("item", [0.1, 0.2])
        assert n_kept(path) == 1
        with pytest.raises(CheckpointError, match="item 'item'.*Two processes"):
            other.keep("item", [0.1, 0.2000000001])
        with pytest.raises(CheckpointError, match="Two processes"):
            other.keep("item", [0.1])
        assert one.result("item") == [0.1, 0.2]


def test_the_plan_is_that_of_the_first_opening(path):
    with open_checkpoint(path, WORK) as done:
        assert done.plan({"n_pairs": 8, "max_rows": 64}) == {"n_pairs": 8, "max_rows": 64}
        assert done.plan({"n_pairs": 1, "max_rows": 2}) == {"n_pairs": 8, "max_rows": 64}
    with open_checkpoint(path, WORK) as done:
        assert done.plan({"n_pairs": 3, "max_rows": 9}) == {"n_pairs": 8, "max_rows": 64}


def test_without_a_path_results_are_in_memory_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_checkpoint(None, WORK) as done:
        done.keep("item", EXTREMES)
        assert bits(done.result("item")) == bits(EXTREMES)
        assert done.plan({"n_pairs": 4}) == {"n_pairs": 4}
        with open_checkpoint(None, WORK | {"seed": "1"}) as other:
            assert other.result("item") is None
    with open_checkpoint(None, WORK) as done:
        assert done.result("item") is None
    assert not list(tmp_path.iterdir())


def test_missing_folders_are_made(tmp_path):
    fill(tmp_path / "a" / "b" / "work.sqlite")
    assert (tmp_path / "a" / "b" / "work.sqlite").is_file()


def test_other_work_is_refused_with_every_difference_and_the_file_is_unchanged(path):
    results = fill(path)
    before = path.read_bytes()
    other = {"method": "ACDC(threshold=0.2)", "model": WORK["model"], "ablation": "zero"}
    message = refusal(path, other)
    assert "method: 'ACDC(threshold=0.1)' there, 'ACDC(threshold=0.2)' now" in message
    assert "seed: '0' there, None now" in message
    assert "ablation: None there, 'zero' now" in message
    assert "weights" not in message  # what is the same is not shown
    assert str(path) in message
    assert path.read_bytes() == before
    with open_checkpoint(path, WORK) as done:
        assert {key: done.result(key) for key in results} == results


@pytest.mark.parametrize("n_bytes", [1, 100, 511, 512, 5000])
def test_a_file_of_random_bytes_is_refused_and_left_as_it_is(path, n_bytes):
    path.write_bytes(random.Random(n_bytes).randbytes(n_bytes))
    before = path.read_bytes()
    assert "of circuitkit's own" in refusal(path)
    assert path.read_bytes() == before


def test_a_truncated_file_is_refused_wherever_it_is_cut(path):
    results = fill(path, n_items=40, length=100)
    whole = path.read_bytes()
    assert len(whole) > 30_000
    inside_pages = (1, 99, 100, 512, 1024, 4095, 4097, len(whole) - 1)
    for size in (*inside_pages, *range(4096, len(whole), 4096)):
        path.write_bytes(whole[:size])
        assert "Name another file, or delete it" in refusal(path), size
    path.write_bytes(whole)
    with open_checkpoint(path, WORK) as done:
        assert {key: done.result(key) for key in results} == results


def test_pages_overwritten_with_noise_are_refused(path):
    fill(path, n_items=40, length=100)
    whole, noise = path.read_bytes(), random.Random(1).randbytes(4096)
    for start in range(0, len(whole), 4096):
        path.write_bytes(whole[:start] + noise + whole[start + 4096 :])
        assert "of circuitkit's own" in refusal(path), start


def test_an_empty_file_is_a_new_one(path):
    path.touch()
    assert len(fill(path)) == 3


def test_a_folder_is_refused(tmp_path):
    assert "unable to open" in refusal(tmp_path)


def test_a_file_where_a_folder_is_needed_is_refused(tmp_path):
    (tmp_path / "file").touch()
    assert "file that can be written" in refusal(tmp_path / "file" / "work.sqlite")


@pytest.mark.parametrize(
    "table", ["notes (text)", "settings (name, value)", "settings (key TEXT PRIMARY KEY, value)"]
)
def test_a_database_of_another_program_is_refused_and_left_as_it_is(path, table):
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE {table}")
    before = path.read_bytes()
    assert "database of another program" in refusal(path)
    assert path.read_bytes() == before


@contextlib.contextmanager
def without_privileges():
    """Give up what lets root write anywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def open_folder():
    """A folder that any user can enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder
        folder.chmod(0o700)


def test_a_folder_that_cannot_be_written_is_refused(open_folder):
    open_folder.chmod(0o555)
    with without_privileges():
        for name in ("work.sqlite", "a/work.sqlite"):
            assert "file that can be written" in refusal(open_folder / name)


def test_a_file_that_cannot_be_written_is_refused_before_any_work(open_folder):
    path = open_folder / "work.sqlite"
    fill(path)
    path.chmod(0o444)
    with without_privileges():
        assert "readonly" in refusal(path)


def test_a_file_that_another_process_is_writing_is_refused_in_the_end(path, monkeypatch):
    monkeypatch.setattr("circuitkit.work.checkpoint.WAIT", 0.05)
    results = fill(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "locked" in refusal(path)
    with open_checkpoint(path, WORK) as done:
        assert {key: done.result(key) for key in results} == results


def test_a_claim_that_fails_halfway_leaves_a_file_that_can_be_claimed(path):
    with pytest.raises(UnicodeEncodeError):
        open_checkpoint(path, {"method": "a", "seed": "no text: \udc80"}).__enter__()
    assert len(fill(path)) == 3


# a value that is not the one that was kept


def tampered(path, table, column, value, key):
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE key = ?", (value, key))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("value", struct.pack("<2d", 0.5, 0.25)),
        ("value", struct.pack("<d", 0.5)),
        ("value", b"1234567"),
        ("value", "0.5, 0.25"),
        ("value", 3),
        ("value", None),
        ("digest", "0" * 64),
        ("digest", None),
    ],
)
def test_a_stored_value_that_was_changed_is_refused_with_its_item(path, column, value):
    results = fill(path)
    tampered(path, "results", column, value, "item 1")
    with open_checkpoint(path, WORK) as done:
        assert done.result("item 0") == results["item 0"]
        with pytest.raises(CheckpointError, match="another value of 'item 1' than was written"):
            done.result("item 1")
        with pytest.raises(CheckpointError, match="another value of 'item 1' than was written"):
            done.keep("item 1", results["item 1"])


def test_a_value_moved_to_another_item_is_refused(path):
    fill(path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM results WHERE key = 'item 1'")
        connection.execute("UPDATE results SET key = 'item 1' WHERE key = 'item 0'")
    with open_checkpoint(path, WORK) as done, pytest.raises(CheckpointError, match="'item 1'"):
        done.result("item 1")


@pytest.mark.parametrize("plan", [b'{"n_pairs": 0}', '{"n_pairs": 5}', b"[", b"", 7])
def test_a_plan_that_was_changed_is_refused(path, plan):
    fill(path)
    tampered(path, "settings", "value", plan, "plan")
    said = "another value of 'plan' than was written"
    with open_checkpoint(path, WORK) as done, pytest.raises(CheckpointError, match=said):
        done.plan({"n_pairs": 5})


def test_a_file_without_digests_is_of_an_earlier_schema_and_refused(path):
    fill(path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for table in ("settings", "results"):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN digest")
        connection.execute("UPDATE settings SET value = '1' WHERE key = 'schema'")
    before = path.read_bytes()
    message = refusal(path)
    assert "schema: '1' there, '2' now" in message
    assert "delete it to begin again" in message
    assert path.read_bytes() == before


def test_settings_of_a_strange_kind_are_of_other_work(path):
    fill(path)
    for value in (b"\xff", 3, None):
        tampered(path, "settings", "value", value, "seed")
        assert "seed" in refusal(path)
