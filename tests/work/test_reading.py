"""A file that is read ends, and its JSON says one thing."""

import os

import pytest

from circuitkit.work import reading
from circuitkit.work.reading import UnreadableError, parse_json, parse_toml, read_text_file


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "."])
def test_a_device_and_a_folder_are_refused_at_once(path):
    with pytest.raises(UnreadableError, match="a folder or a device"):
        read_text_file(reading.Path(path))


def test_a_pipe_is_read(tmp_path):
    source, sink = os.pipe()
    os.write(sink, b"text")
    os.close(sink)
    assert read_text_file(reading.Path(f"/dev/fd/{source}")) == "text"
    os.close(source)


def test_a_file_that_is_too_large_or_no_text_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    monkeypatch.setattr(reading, "MAX_BYTES", 3)
    assert read_text_file(path) == "abc"
    monkeypatch.setattr(reading, "MAX_BYTES", 2)
    with pytest.raises(UnreadableError, match="more than 2 bytes"):
        read_text_file(path)
    path.write_bytes(b"\xff")
    with pytest.raises(UnreadableError, match="UnicodeDecodeError"):
        read_text_file(path)


def test_no_file_is_no_fault_of_the_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_text_file(tmp_path / "none")
    with pytest.raises(UnreadableError, match="null byte"):
        read_text_file(tmp_path / "a\0b")
    with pytest.raises(UnreadableError, match="too long"):
        read_text_file(tmp_path / ("a" * 5000))


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' more than once"),
        ('[{"x": {"a": 1, "a": 1}}]', "the key 'a' more than once"),
        ("NaN", "NaN, which is not a finite number"),
        ("[-Infinity]", "-Infinity, which is not"),
        ("1e999", "1e999, which is not"),
        ("[" * 100_000, "RecursionError"),
        ('{"a": 1', "JSONDecodeError"),
        ("1" * 5000, "ValueError"),
    ],
)
def test_json_that_does_not_say_one_thing_is_refused(text, got):
    with pytest.raises(UnreadableError, match=got):
        parse_json(text)


def test_json_that_does_is_read_as_it_is():
    assert parse_json('{"a": [1, 2.5, null, true, "x"]}') == {"a": [1, 2.5, None, True, "x"]}


@pytest.mark.parametrize("text", ["a = 1\na = 2", "a =", "a = " + "[" * 100_000])
def test_toml_that_cannot_be_read_is_refused(text):
    with pytest.raises(UnreadableError):
        parse_toml(text)
    assert parse_toml("a = 1") == {"a": 1}
