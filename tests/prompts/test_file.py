"""Bad lines of a prompt file are refused at once, with their number."""

import json
import random

import pytest

from circuitkit.errors import AlignmentError, PromptError
from circuitkit.prompts.file import discovery_pairs, read_prompt_file, splits_of

from .test_chat import chat_tokenizer

CHAT = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi Mary"}]
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
        ({"answer_after": 5}, "answer_after must be text without control characters, got 5"),
        ({"corrupted_roles": {"A": [0, 1, 2]}}, r"corrupted_roles must be \{name: \[start, end\]"),
        ({"corrupted_roles": {"\ufffe": [0, 1]}}, "names of corrupted_roles"),
        ({"align": 5}, "align must be text without control characters, got 5"),
        ({"align": "first"}, "align must be one of last, mean, or empty, got 'first'"),
        ({"clean": [{"role": "user"}]}, "clean: message 0 must hold role and content alone"),
        ({"corrupted": [1, {"role": "user"}]}, "corrupted: message 0 must hold role and content"),
        ({"clean": {"role": "user", "content": "Hi"}}, "clean must be text .* messages are writ"),
        ({"clean": CHAT, "roles": {"A": [0, 1]}}, r"roles must be \{name: \[message, start, end\]"),
        ({"roles": {"A": [0, 0, 1]}}, r"roles must be \{name: \[start, end\]\}"),
        ({"clean": [CHAT[0]] * 1_001}, "clean: must hold at most 1000 messages, got 1001"),
        ({"clean": [CHAT[0] | {"content": "x" * 100_001}]}, "at most 100000 characters or ids"),
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


def line(clean, corrupted, **rest):
    return {"clean": clean, "corrupted": corrupted, "answers": [9], "wrong_answers": [8], **rest}


def both_ways(n):
    """Return n pairs and the same in the other direction."""
    one = [line([i, i + 30, 1], [i, i + 30, 2]) for i in range(10, 10 + n)]
    return one + [
        line(each["corrupted"], each["clean"]) | {"answers": [8], "wrong_answers": [9]}
        for each in one
    ]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pairs_in_both_directions_are_dealt_into_one_split(read, seed):
    splits = splits_of(read(*both_ways(20)), None, seed=seed)
    assert len(splits.discovery) == len(splits.validation) == 20
    assert not set(splits.discovery.prompt_digests) & set(splits.validation.prompt_digests)


def test_a_pair_and_its_reverse_are_one_independent_pair(read):
    splits = splits_of(read(*both_ways(20)), None, seed=0)
    assert splits.validation.n_clusters == 10


def test_lines_that_share_prompts_by_others_are_dealt_together(read):
    chain = [line([1, 2, n], [1, 2, n + 1]) for n in range(3, 9)]
    rest = [line([5, n, 1], [5, n, 2]) for n in range(20, 26)]
    splits = splits_of(read(*chain, *rest), None, seed=1)
    counts = [
        sum(pair.clean[0] == 1 for pair in split.pairs)
        for split in (splits.discovery, splits.validation)
    ]
    assert sorted(counts) == [0, 6]


def test_lines_that_share_no_prompt_are_dealt_as_ever_so_that_old_recipes_find_their_pairs(read):
    lines = [line([5, n, 1], [5, n, 2]) for n in range(20, 31)]
    splits = splits_of(read(*lines), None, seed=4)
    shuffled = list(lines)
    random.Random(4).shuffle(shuffled)
    for got, expected in ((splits.discovery, shuffled[::2]), (splits.validation, shuffled[1::2])):
        assert [list(pair.clean) for pair in got.pairs] == [each["clean"] for each in expected]


def test_lines_that_share_a_prompt_with_a_discovery_line_go_there(read):
    named = line([1, 2, 3], [1, 2, 4], split="discovery")
    shared = [line([1, 2, 5 + n], [1, 2, 4]) for n in range(3)]
    rest = [line([5, n, 1], [5, n, 2]) for n in range(20, 26)]
    splits = splits_of(read(named, *shared, *rest), None, seed=0)
    assert all(pair.clean[0] == 5 for pair in splits.validation.pairs)
    assert sum(pair.clean[0] == 1 for pair in splits.discovery.pairs) == 4


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([line([1, 2], [1, 3])], r"none of 1 line\. .* a verdict needs 16 of them"),
        (
            [line([1, n], [1, 3]) for n in range(4, 9)],
            "none of 5 lines that share prompts: 1 group",
        ),
    ],
)
def test_a_file_that_cannot_be_dealt_says_how_many_prompts_are_needed(read, lines, message):
    with pytest.raises(PromptError, match=message):
        splits_of(read(*lines), None, seed=0)


def test_a_line_of_messages_is_rendered_by_the_tokenizer_and_its_roles_are_placed(read):
    tokenizer = chat_tokenizer("llama-3")
    other = [CHAT[0], {"role": "user", "content": "Hi John"}]
    chat = {"clean": CHAT, "corrupted": other, "answers": ["A"], "roles": {"who": [1, 3, 7]}}
    found = discovery_pairs(read(chat), tokenizer)
    [roles] = found.roles
    assert tokenizer.decode(found.clean[0, slice(*roles["who"])]) == "Mary"
    assert tokenizer.decode(found.corrupted[0, slice(*roles["who"])]) == "John"
    assert tokenizer.decode(found.clean[0, slice(*roles["system"])]) == "Be brief"
    assert found.bos == "present"


def test_a_line_says_after_which_role_the_answer_is_read(read):
    first = GOOD | {"roles": {"A": [0, 1]}, "answer_after": "A"}
    assert discovery_pairs(read(first), None).label_pos.tolist() == [0]
    assert discovery_pairs(read(GOOD), None).label_pos.tolist() == [1]
    with pytest.raises(PromptError, match="answer_after must be a role, got 'B'"):
        discovery_pairs(read(first | {"answer_after": "B"}), None)


def test_a_line_of_unequal_lengths_says_its_spans_and_its_rule(read):
    spans = {"roles": {"A": [0, 2]}, "corrupted_roles": {"A": [0, 1]}}
    unequal = {"clean": [1, 2, 3], "corrupted": [4, 3], "answers": [5], "align": "mean", **spans}
    found = discovery_pairs(read(unequal), None)
    assert found.align == "mean"
    assert found.corrupted_batch.stand_ins[0, :2].argmax(1).tolist() == [1, 1]
    with pytest.raises(AlignmentError, match="got 3 and 2"):
        discovery_pairs(read(unequal | {"align": ""}), None)
