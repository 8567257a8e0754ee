"""Prompt files of other programs: small samples with the same layout give the pairs they mean."""

import csv
import itertools
import json
import os
import threading
import time

import pyarrow
import pyarrow.parquet
import pytest
from transformers import AutoTokenizer

from circuitkit import names
from circuitkit.errors import PromptError
from circuitkit.prompts.file import splits_of
from circuitkit.prompts.formats.read import FORMATS, dealt, read_prompts
from tests.tasks.conftest import GPT2_TOKENIZER

SHARED_SVA = GPT2_TOKENIZER.parents[1] / "prompts" / "feature-circuits-sva"
IOI_ROW = {
    "prompt": "Then Mary and John met at the park. John gave a book to",
    "template": "Then {A} and {B} met",
    "metadata": {"indirect_object": "Mary", "subject": "John", "random_c": "Paul"},
    "choices": ["Mary", "John"],
    "answerKey": 0,
    "s2_io_flip_counterfactual": {
        "prompt": "Then Mary and John met at the park. Mary gave a book to",
        "choices": ["Mary", "John"],
        "answerKey": 1,
    },
    "abc_counterfactual": {
        "prompt": "Then Anna and Tom met at the park. Paul gave a book to",
        "choices": ["Anna", "Tom"],
        "answerKey": 0,
    },
}
SUM_ROW = {
    "prompt": "What is 12 plus 30? Answer: ",
    "operator": "+",
    "label": 42,
    "random_counterfactual": {"prompt": "What is 51 plus 14? Answer: ", "label": 65},
}
MCQA_ROW = {
    "prompt": "The cup is red. What color is the cup?\nA. blue\nB. red\nAnswer:",
    "choices": {"label": ["A", "B"], "text": ["blue", "red"]},
    "answerKey": 1,
    "symbol_counterfactual": {
        "prompt": "The cup is red. What color is the cup?\nQ. blue\nX. red\nAnswer:",
        "choices": {"label": ["Q", "X"], "text": ["blue", "red"]},
        "answerKey": 1,
    },
    "answerPosition_counterfactual": {
        "prompt": "The cup is red. What color is the cup?\nA. red\nB. blue\nAnswer:",
        "choices": {"label": ["A", "B"], "text": ["red", "blue"]},
        "answerKey": 0,
    },
}
ARC_ROW = MCQA_ROW | {"prompt": "Which of these is hot?\nA. ice\nB. fire\nAnswer:"}


def fact(subject, place, relation="P36", frame="The capital of {} is"):
    rewrite = {
        "prompt": frame,
        "relation_id": relation,
        "subject": subject,
        "target_true": {"str": place, "id": "Q1"},
        "target_new": {"str": "Oslo", "id": "Q2"},
    }
    return {"case_id": 0, "requested_rewrite": rewrite, "paraphrase_prompts": []}


def blimp(good, bad, **more):
    one = {"one_prefix_method": True, "two_prefix_method": False, "UID": "agreement"}
    return one | {"sentence_good": good, "sentence_bad": bad} | more


def as_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def as_csv(path, rows, **options):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), **options)
        writer.writeheader()
        writer.writerows(rows)
    return path


def pairs_of(path, format=""):
    found = read_prompts(path, format)
    assert found.is_foreign
    return [line.pair for line in found.lines]


def facts_of(pair):
    return pair.clean, pair.corrupted, list(pair.answers), list(pair.wrong_answers)


@pytest.fixture
def gpt2():
    if not GPT2_TOKENIZER.is_dir():
        pytest.skip("GPT-2's tokenizer is not here")
    return AutoTokenizer.from_pretrained(GPT2_TOKENIZER)


def test_mib_ioi_flips_the_second_subject_and_names_the_roles(tmp_path):
    (pair,) = pairs_of(as_lines(tmp_path / "ioi.jsonl", [IOI_ROW]))
    flipped = IOI_ROW["s2_io_flip_counterfactual"]["prompt"]
    assert facts_of(pair) == (IOI_ROW["prompt"], flipped, [" Mary"], [" John"])
    words = {role: pair.clean[start:end] for role, (start, end) in pair.roles.items()}
    assert words == {"IO": "Mary", "S1": "John", "S2": "John"}
    assert pair.roles["S1"] < pair.roles["S2"]


def test_the_counterfactual_of_mib_can_be_chosen(tmp_path):
    path = as_lines(tmp_path / "ioi.jsonl", [IOI_ROW])
    (pair,) = pairs_of(path, "mib:abc")
    assert pair.corrupted == IOI_ROW["abc_counterfactual"]["prompt"]
    assert pairs_of(path, "mib:abc_counterfactual") == [pair]
    with pytest.raises(PromptError, match="one of abc, s2_io_flip, got 'xyz_counterfactual'"):
        read_prompts(path, "mib:xyz")


def test_rows_without_any_counterfactual_are_refused_with_the_columns_that_they_have(tmp_path):
    path = as_lines(
        tmp_path / "rows.jsonl", [{"question": "The capital of France is", "gold": " Paris"}]
    )
    asked = r"prompt and at least one NAME_counterfactual, got \['question', 'gold'\]"
    with pytest.raises(PromptError, match=asked):
        read_prompts(path, "mib")


def test_mib_arithmetic_reads_sums_and_leaves_out_rows_without_a_counterfactual(tmp_path):
    rows = [SUM_ROW, SUM_ROW | {"random_counterfactual": None}]
    (pair,) = pairs_of(as_lines(tmp_path / "sums.jsonl", rows))
    other = SUM_ROW["random_counterfactual"]["prompt"]
    assert facts_of(pair) == (SUM_ROW["prompt"], other, ["42"], ["65"])


def test_mib_choices_read_the_letter_of_the_answer_and_a_question_is_a_cluster(tmp_path):
    path = as_lines(tmp_path / "mcqa.jsonl", [MCQA_ROW, ARC_ROW])
    color, hot = pairs_of(path)
    assert (color.answers, color.wrong_answers) == (["B"], ["X"])
    assert color.cluster == "The cup is red. What color is the cup?" != hot.cluster
    moved, _ = pairs_of(path, "mib:answerPosition")
    assert (moved.answers, moved.wrong_answers) == (["B"], ["A"])


def test_a_counterfactual_that_leaves_the_answer_is_left_out(tmp_path):
    same = MCQA_ROW | {
        "symbol_counterfactual": MCQA_ROW["symbol_counterfactual"] | {"answerKey": 0}
    }
    same["symbol_counterfactual"]["choices"] = {"label": ["B", "A"], "text": ["blue", "red"]}
    assert len(pairs_of(as_lines(tmp_path / "mcqa.jsonl", [same, MCQA_ROW]))) == 1
    with pytest.raises(PromptError, match="must hold a pair that can be used, got none"):
        read_prompts(as_lines(tmp_path / "none.jsonl", [same]))


def test_eap_ig_reads_ids_and_lists_of_ids(tmp_path):
    rows = [
        {"clean": "a b", "corrupted": "a c", "correct_idx": 5, "incorrect_idx": "[7, 8]"},
        {"clean": "d, b", "corrupted": "d, c", "correct_idx": "[5]", "incorrect_idx": 7},
    ]
    first, second = pairs_of(as_csv(tmp_path / "ioi.csv", rows))
    assert facts_of(first) == ("a b", "a c", [5], [7, 8])
    assert facts_of(second) == ("d, b", "d, c", [5], [7])


def test_eap_ig_without_wrong_ids_is_greater_than_with_a_year(tmp_path):
    row = {"clean": "from 1741 to 17", "corrupted": "from 1701 to 17", "correct_idx": 41}
    (pair,) = pairs_of(as_csv(tmp_path / "years.csv", [row]))
    assert pair.answers == [f"{year:02d}" for year in range(42, 100)]
    assert pair.wrong_answers == [f"{year:02d}" for year in range(42)]
    bad = as_csv(tmp_path / "bad.csv", [row | {"correct_idx": 5335}])
    with pytest.raises(PromptError, match=r"row 1: correct_idx .* a year from 0 to 98, got 5335"):
        read_prompts(bad)


def test_eap_ig_may_name_another_column_of_corrupted_prompts(tmp_path):
    row = {"clean": "x", "corrupted": "y", "corrupted_hard": "z", "correct_idx": 1}
    path = as_csv(tmp_path / "hard.csv", [row | {"incorrect_idx": 2}])
    assert pairs_of(path, "eap-ig:corrupted_hard")[0].corrupted == "z"


def test_auto_circuit_reads_text_and_ids(tmp_path):
    prompts = [
        {"clean": "a b", "corrupt": "a c", "answers": [" x"], "wrong_answers": [" y"]},
        {"clean": [[1, 2]], "corrupt": [[1, 3]], "answers": [4], "wrong_answers": [5]},
    ]
    for indent in (None, 2):  # on one line, and over many
        path = tmp_path / f"prompts{indent}.json"
        data = {"seq_labels": ["A", "B"], "word_idxs": {"A": 0}, "prompts": prompts}
        path.write_text(json.dumps(data, indent=indent))
        text, ids = pairs_of(path)
        assert facts_of(text) == ("a b", "a c", [" x"], [" y"])
        assert facts_of(ids) == ([1, 2], [1, 3], [4], [5])


def test_acdc_reads_its_prompts_and_asks_which_corrupted_one(tmp_path):
    row = {
        "clean_prompt": "def f",
        "corrupt_prompt": "def g",
        "correct_answers": [" x"],
        "wrong_answers": [" y"],
    }
    several = row | {"corrupt_prompt": {"random_def": "def h", "random_doc": "def i"}}
    path = tmp_path / "docstring.json"
    path.write_text(json.dumps([row]))
    assert facts_of(pairs_of(path)[0]) == ("def f", "def g", [" x"], [" y"])
    path.write_text(json.dumps([several], indent=1))
    assert pairs_of(path, "acdc:random_doc")[0].corrupted == "def i"
    with pytest.raises(PromptError, match="--format acdc:random_def or --format acdc:random_doc"):
        read_prompts(path)
    with pytest.raises(PromptError, match=r"must hold corrupt_prompt.other, got \['random_def'"):
        read_prompts(path, "acdc:other")


def test_feature_circuits_cluster_both_directions_of_a_prompt(tmp_path):
    row = {
        "clean_prefix": "The cats",
        "patch_prefix": "The cat",
        "clean_answer": " are",
        "patch_answer": " is",
        "case": "plural",
    }
    back = {
        "clean_prefix": "The cat",
        "patch_prefix": "The cats",
        "clean_answer": " is",
        "patch_answer": " are",
    }
    one, other = pairs_of(as_lines(tmp_path / "simple.json", [row, back]))
    assert facts_of(one) == ("The cats", "The cat", [" are"], [" is"])
    assert one.cluster == other.cluster == "The cat / The cats"


def test_feature_circuits_own_files_have_many_clusters_on_gpt2(gpt2):
    if not SHARED_SVA.is_dir():
        pytest.skip("the files of feature-circuits are not here")
    found = read_prompts(SHARED_SVA / "nounpp_test.json")
    splits = splits_of(dealt(found, seed=0, n=60), gpt2, seed=0, drop_misaligned=True)
    assert splits.validation.n_dropped > 0  # a few plurals are two tokens
    for pairs in (splits.discovery, splits.validation):
        assert len(pairs) + pairs.n_dropped + pairs.n_repeats == 60
    assert min(splits.discovery.n_clusters, splits.validation.n_clusters) >= 32


def test_counterfact_is_asked_against_another_subject_of_the_same_relation(tmp_path):
    rows = [
        fact("Peru", "Lima"),
        fact("South Korea", "Seoul"),
        fact("France", "Paris"),
        fact("Apple", "Jobs", "P112", "{}, which was founded by"),
    ]
    path = tmp_path / "counterfact.json"
    path.write_text(json.dumps(rows))
    peru, france = pairs_of(path)  # no other is two words long, or of the other relation
    prompts = ("The capital of Peru is", "The capital of France is")
    assert facts_of(peru) == (*prompts, [" Lima"], [" Paris"])
    assert facts_of(france) == (*prompts[::-1], [" Paris"], [" Lima"])
    start, end = peru.roles["subject"]
    assert peru.clean[start:end] == "Peru"
    assert peru.cluster == "P36 of Peru"


def test_blimp_with_one_prefix_takes_the_corrupted_prompt_from_a_row_with_the_words_exchanged(
    tmp_path,
):
    rows = [
        blimp("Mary likes herself.", "Mary likes himself."),
        blimp("Tom likes himself.", "Tom likes herself."),
        blimp("The old men like themselves.", "The old men like itself."),
    ]
    one, other = pairs_of(as_lines(tmp_path / "a.jsonl", rows))
    assert facts_of(one) == ("Mary likes", "Tom likes", [" herself"], [" himself"])
    assert facts_of(other) == ("Tom likes", "Mary likes", [" himself"], [" herself"])


def test_blimp_with_two_prefixes_has_both_prompts_and_one_word(tmp_path):
    two = {"one_prefix_method": False, "two_prefix_method": True}
    told = {
        "two_prefix_prefix_good": "Who broke",
        "two_prefix_prefix_bad": "Who fell",
        "two_prefix_word": "glass",
    }
    rows = [
        blimp("Tom broke glass.", "Tom fell glass.", **two),
        blimp("Who broke glass?", "Who fell glass?", **two, **told),
    ]
    derived, given = pairs_of(as_lines(tmp_path / "a.jsonl", rows))
    assert facts_of(derived) == ("Tom broke", "Tom fell", [" glass"], [])
    assert facts_of(given) == ("Who broke", "Who fell", [" glass"], [])


def test_any_table_is_read_by_its_columns_whatever_file_it_is(tmp_path):
    rows = [
        {"question": "2, 3", "foil": "2, 5", "gold": " 4", "bad": " 6", "part": "train"},
        {"question": "7, 8", "foil": "7, 2", "gold": " 9", "bad": " 3", "part": "test"},
    ]
    table = pyarrow.Table.from_pylist(rows)
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    with pyarrow.ipc.new_stream(str(tmp_path / "t.arrow"), table.schema) as stream:
        stream.write_table(table)
    as_csv(tmp_path / "t.csv", rows)
    as_csv(tmp_path / "t.tsv", rows, delimiter="\t")
    as_lines(tmp_path / "t.jsonl", rows)
    (tmp_path / "t.json").write_text(json.dumps(rows, indent=1))
    columns = "clean=question,corrupted=foil,answer=gold,wrong=bad,split=part"
    for ending in ("parquet", "arrow", "csv", "tsv", "jsonl", "json"):
        found = read_prompts(tmp_path / f"t.{ending}", columns)
        assert facts_of(found.lines[0].pair) == ("2, 3", "2, 5", [" 4"], [" 6"]), ending
        assert [line.split for line in found.lines] == ["discovery", "validation"], ending


def saved_dataset(path, rows):
    path.mkdir(parents=True)
    table = pyarrow.Table.from_pylist(rows)
    with pyarrow.ipc.new_stream(str(path / "data-00000-of-00001.arrow"), table.schema) as stream:
        stream.write_table(table)
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": "train"}
    (path / "state.json").write_text(json.dumps(state))
    (path / "dataset_info.json").write_text("{}")


def test_what_datasets_saved_is_read_without_it_and_its_splits_are_kept(tmp_path):
    rows = [{"q": f"q{i}", "c": f"c{i}", "a": f" a{i}"} for i in range(3)]
    columns = "clean=q,corrupted=c,answer=a"
    saved_dataset(tmp_path / "one", rows)
    assert [pair.clean for pair in pairs_of(tmp_path / "one", columns)] == ["q0", "q1", "q2"]
    for split, some in (("train", rows[:2]), ("test", rows[2:])):
        saved_dataset(tmp_path / "many" / split, some)
    (tmp_path / "many" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    found = read_prompts(tmp_path / "many", columns)
    assert [line.split for line in found.lines] == ["discovery", "discovery", "validation"]


def test_a_folder_of_parquet_files_tells_splits_by_their_names(tmp_path):
    (tmp_path / "data").mkdir()
    for split in ("train", "validation"):
        rows = [SUM_ROW | {"prompt": f"{split} 12 plus 30"}]
        file = tmp_path / "data" / f"{split}-00000-of-00001.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    (tmp_path / "dataset_infos.json").write_text('{"no": "rows"}')  # beside tables, none is read
    found = read_prompts(tmp_path)
    assert [line.split for line in found.lines] == ["discovery", "validation"]
    assert found.lines[0].pair.answers == ["42"]


def test_without_a_corrupted_column_another_row_with_another_answer_is_the_corrupted_prompt(
    tmp_path,
):
    rows = [
        {"q": "one two", "a": " x", "t": "A"},
        {"q": "three four", "a": " x", "t": "A"},
        {"q": "five six", "a": " y", "t": "A"},
        {"q": "seven eight", "a": " z", "t": "B"},
        {"q": "nine ten eleven", "a": " z", "t": "A"},
    ]
    found = pairs_of(as_csv(tmp_path / "t.csv", rows), "clean=q,answer=a,template=t")
    assert [facts_of(pair) for pair in found] == [
        ("one two", "five six", [" x"], [" y"]),
        ("three four", "five six", [" x"], [" y"]),
        ("five six", "one two", [" y"], [" x"]),
    ]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ("clean=q", "must name clean and answer"),
        ("clean=q,answer=a,answr=b", "must name clean and answer"),
        ("clean=q,clean=r,answer=a", "each once"),
        ("clean=q,answer=", "must name clean and answer"),
        (
            "clean=q,answer=target",
            r"must have the column 'target', which --columns names as answer",
        ),
        ("clean=q,answer=a,split=q", "q must be one of discovery, validation, reference"),
    ],
)
def test_columns_that_are_not_there_or_mean_nothing_are_refused(tmp_path, columns, says):
    path = as_csv(tmp_path / "t.csv", [{"q": "one", "a": " x"}])
    with pytest.raises(PromptError, match=says):
        read_prompts(path, columns)


def test_a_table_without_known_columns_is_refused_and_told_how_to_name_them(tmp_path):
    path = as_csv(tmp_path / "t.csv", [{"q": "one", "a": " x"}])
    with pytest.raises(
        PromptError, match=r"columns of a known format .* got \['a', 'q'\]"
    ) as error:
        read_prompts(path)
    assert "--columns clean=prompt,answer=target" in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "clean,clean\n1,2\n", "a column twice"),
        ("a.csv", "clean,corrupted,correct_idx\n1,2\n", "2 values in line 2 for 3 columns"),
        ("a.csv", "", "must hold at least one row"),
        ("a.csv", "\xff", "must be a readable csv file"),
        ("a.parquet", "PAR1", "must be a readable parquet file"),
        ("a.arrow", "no", "must be a readable arrow file"),
        ("a.json", '[{"sentence_good": 1, "sentence_bad": "x"}]', "sentence_good must be text"),
        ("a.json", '[{"sentence_good": "x", "sentence_bad": "y"}, 3]', "row 2: must be named"),
        ("a.csv", "clean,corrupted,correct_idx\n1,2,x\n", "a token id or a list of them, got 'x'"),
    ],
)
def test_a_damaged_table_is_refused_in_a_sentence(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(PromptError, match=says):
        read_prompts(path)


ODD = [None, True, -1, 1.5, float("nan"), "", "x" * 3, [], [[]], ["a", 2], {}, {"label": 3}, "\x1b"]
SAMPLES = {
    "mib": [IOI_ROW, SUM_ROW, MCQA_ROW],
    "eap-ig": [{"clean": "a", "corrupted": "b", "correct_idx": 3, "incorrect_idx": 4}],
    "acdc": [{"clean_prompt": "a", "corrupt_prompt": {"x": "b"}, "correct_answers": [" c"]}],
    "auto-circuit": [{"clean": "a", "corrupt": "b", "answers": [" c"], "wrong_answers": []}],
    "feature-circuits": [
        {"clean_prefix": "a", "patch_prefix": "b", "clean_answer": "c", "patch_answer": "d"}
    ],
    "counterfact": [fact("Peru", "Lima"), fact("Cuba", "Havana")],
    "blimp": [blimp("a b c", "a d c"), blimp("a b c", "d b c", two_prefix_method=True)],
    "clean=q,answer=a,split=s,template=t": [{"q": "a b", "a": " c", "s": "train", "t": "x"}],
}


@pytest.mark.parametrize("format", SAMPLES)
def test_a_row_with_any_odd_value_gives_pairs_or_is_refused_in_a_sentence(tmp_path, format):
    refusals = []
    for row in SAMPLES[format]:
        for key, value in itertools.product(row, ODD):
            path = tmp_path / "t.json"
            path.write_text(json.dumps([row, row | {key: value}]))
            try:
                dealt(read_prompts(path, format), seed=0, n=5)
            except PromptError as error:
                refusals.append(str(error))
    assert len(refusals) > 3
    assert all(str(tmp_path / "t.json") in refusal for refusal in refusals)


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(PromptError, match="must be a readable csv file, got"):
        read_prompts(tmp_path / "none.csv")


def test_names_of_formats_are_those_of_the_table_and_unknown_ones_are_refused(tmp_path):
    assert (names.OWN_FORMAT, *FORMATS) == names.PROMPT_FORMATS
    path = as_lines(tmp_path / "ioi.jsonl", [IOI_ROW])
    with pytest.raises(PromptError, match="--format: must be one of circuitkit, mib"):
        read_prompts(path, "mibb")
    with pytest.raises(PromptError, match="must belong to one of mib, eap-ig, acdc"):
        read_prompts(path, "blimp:x")


def test_own_files_are_read_as_before(tmp_path):
    row = {"clean": [1, 2], "corrupted": [1, 3], "answers": [4], "wrong_answers": [5]}
    path = as_lines(tmp_path / "own.jsonl", [row, row | {"clean": [6, 2]}])
    for format in ("", "circuitkit"):
        found = read_prompts(path, format)
        assert not found.is_foreign
        assert len(found.lines) == 2
        assert dealt(found, seed=0, n=1) == found.lines
    with pytest.raises(PromptError, match="must hold clean, corrupt"):
        read_prompts(as_lines(tmp_path / "bad.jsonl", [{"clean": "x"}]))


def test_a_pipe_is_read_once_as_a_file_of_the_own_format(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    row = {"clean": [1, 2], "corrupted": [1, 3], "answers": [4]}
    found = []
    works = (lambda: pipe.write_text(json.dumps(row)), lambda: found.append(read_prompts(pipe)))
    for work in works:
        threading.Thread(target=work, daemon=True).start()
    for _ in range(100):  # a second reading would wait for ever
        if not found:
            time.sleep(0.05)
    assert [line.pair.clean for line in found[0].lines] == [[1, 2]]


def many(tmp_path, n=40, split=None):
    rows = [{"q": f"q{i}", "c": f"c{i}", "a": " a"} for i in range(n)]
    rows = [row | ({"s": split(i)} if split else {}) for i, row in enumerate(rows)]
    columns = "clean=q,corrupted=c,answer=a" + (",split=s" if split else "")
    return read_prompts(as_csv(tmp_path / "t.csv", rows), columns)


def cleans(lines, split):
    return [line.pair.clean for line in lines if line.split == split]


def test_the_first_that_find_and_that_judge_are_the_same_however_many_are_asked_for(tmp_path):
    found = many(tmp_path)
    few, all_of = dealt(found, seed=3, n=5), dealt(found, seed=3, n=12, n_validation=9)
    for split, n in (("discovery", 12), ("validation", 9)):
        assert len(cleans(few, split)) == 5
        assert len(cleans(all_of, split)) == n
        assert cleans(all_of, split)[:5] == cleans(few, split)
    assert set(cleans(all_of, "discovery")).isdisjoint(cleans(all_of, "validation"))
    assert cleans(dealt(found, seed=4, n=5), "discovery") != cleans(few, "discovery")


def test_means_are_of_more_rows_than_those_that_find_and_of_none_that_judge(tmp_path):
    lines = dealt(many(tmp_path, 60), seed=0, n=5)
    assert cleans(lines, "reference")[:5] == cleans(lines, "discovery")
    assert len(cleans(lines, "reference")) == 30  # all that the deal gave to those that find
    assert set(cleans(lines, "reference")).isdisjoint(cleans(lines, "validation"))


def test_rows_stay_in_the_split_that_they_name(tmp_path):
    found = many(tmp_path, split=lambda i: "test" if i % 4 == 0 else "train")
    lines = dealt(found, seed=0, n=8)
    assert all(int(name[1:]) % 4 for name in cleans(lines, "discovery"))
    assert not any(int(name[1:]) % 4 for name in cleans(lines, "validation"))
    assert len(cleans(lines, "discovery")) == len(cleans(lines, "validation")) == 8


def test_rows_of_one_cluster_are_dealt_together(tmp_path):
    rows = [{"q": f"q{i}", "c": f"c{i}", "a": " a", "k": f"k{i // 4}"} for i in range(40)]
    path = as_csv(tmp_path / "t.csv", rows)
    lines = dealt(read_prompts(path, "clean=q,corrupted=c,answer=a,cluster=k"), seed=1, n=40)
    by_split = [
        {line.pair.cluster for line in lines if line.split == split}
        for split in ("discovery", "validation")
    ]
    assert by_split[0].isdisjoint(by_split[1])
    assert all(by_split)


def test_misaligned_pairs_of_others_are_dropped_and_counted(tmp_path, gpt2):
    rows = [{"q": f"number {i}", "c": f"number {i + 5}", "a": " a", "b": " b"} for i in range(20)]
    rows += [{"q": f"name {i}", "c": f"a long name {i}", "a": " a", "b": " b"} for i in range(20)]
    path = as_csv(tmp_path / "t.csv", rows)
    found = read_prompts(path, "clean=q,corrupted=c,answer=a,wrong=b")
    splits = splits_of(dealt(found, seed=0, n=40), gpt2, seed=0, drop_misaligned=True)
    dropped = splits.discovery.n_dropped + splits.validation.n_dropped
    assert dropped == 20
    assert len(splits.discovery) + len(splits.validation) == 20
