"""Bad lines of a prompt file are refused at once, with their number."""

import json

import pytest

from circuitkit.errors import PromptError
from circuitkit.prompts.file import read_prompt_file, splits_of

GOOD = {"clean": [1, 2], "corrupted": [1, 3], "answers": [4]}


@pytest.fixture
def read(tmp_path):
    def of(*lines):
        path = tmp_path / "pairs.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("\n".join(texts))
        return read_prompt_file(path)

    return of


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"template": [1]}, r"template must be text without control characters, got \[1\]"),
        ({"template": "a\u0000"}, r"template must be text .* got 'a\\x00'"),
        ({"template": "\ud800"}, "template must be text"),
        ({"roles": {"A": [0.5, 1]}}, "roles must be"),
        ({"roles": {"A": [True, 1]}}, "roles must be"),
        ({"roles": {"A": [0, 1, 2]}}, "roles must be"),
        ({"roles": None}, "roles must be"),
        ({"roles": {"\u001b[31m": [0, 1]}}, r"names of roles must be .* got '\\x1b\[31m'"),
        ({"roles": {"\ufffe": [0, 1]}}, "names of roles"),
        ({"roles": {"\ud800": [0, 1]}}, "names of roles"),
        ({"clean": "\ud800"}, "clean must be text or a list of token ids"),
        ({"clean": [2**63]}, "clean must be text"),
        ({"answers": [-(2**70)]}, "answers must be a list"),
        ({"answers": ["\udfff"]}, "answers must be a list"),
        ({"split": ["discovery"]}, "split one of"),
        ({"x" * 1_600_000: 1}, r"characters\)\. A misspelt key"),
    ],
)
def test_a_line_with_an_odd_part_is_refused_with_its_number(read, change, message):
    with pytest.raises(PromptError, match=f"line 2: .*{message}") as caught:
        read(GOOD, GOOD | change)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"clean": [1], "corrupted": [1], "answers": [2], "answers": [3]}', "'answers' more than"),
        ('{"clean": [1], "corrupted": [1], "answers": [2], "roles": {"A": [Infinity, 1]}}', "Infi"),
        ('{"clean": [NaN], "corrupted": [1], "answers": [2]}', "NaN, which is not a finite"),
        ("[" * 100_000, "RecursionError"),
    ],
)
def test_a_line_that_is_no_json_of_one_meaning_is_refused(read, line, message):
    with pytest.raises(PromptError, match=f"line 2: must be one JSON object, got .*{message}"):
        read(GOOD, line)


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\u0085"])
def test_only_a_newline_ends_a_line(read, end):
    line = json.dumps(GOOD | {"clean": f"a{end}b"}, ensure_ascii=False)
    assert [found.pair.clean for found in read(line, line)] == [f"a{end}b"] * 2


def test_carriage_returns_of_windows_are_no_part_of_a_line(read):
    assert len(read(json.dumps(GOOD) + "\r", "\r", json.dumps(GOOD) + "\r")) == 2


@pytest.mark.parametrize("path", ["/dev/zero", ".", "/nowhere/\udc80"])
def test_a_device_is_no_prompt_file(tmp_path, path):
    with pytest.raises(PromptError, match="must be a readable text file"):
        read_prompt_file(tmp_path / path)


def test_a_reference_line_that_is_a_validation_line_is_refused(read):
    validation = {"clean": [3, 2], "corrupted": [3, 3], "answers": [4], "split": "validation"}
    same = validation | {"split": "reference"}
    own = {"clean": [9, 2], "corrupted": [9, 3], "answers": [4], "split": "reference"}
    with pytest.raises(PromptError, match=r"reference and validation must not share .*\(3, 2\)"):
        splits_of(read(GOOD, validation, same), None, seed=0)
    assert len(splits_of(read(GOOD, validation, own), None, seed=0).reference) == 1
