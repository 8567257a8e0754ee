"""Bad input, door by door: each is refused in one sentence, before long work, and never judged.

A row is a fault that once went wrong: a traceback, a hang, another result, or silence.
"""

import json
import re
import time
from copy import deepcopy
from pathlib import Path

import pytest
from typer.testing import CliRunner

from circuitkit.circuits.file import circuit_from_json, circuit_to_json, load_circuit
from circuitkit.cli.app import app
from circuitkit.discovery.methods import method_named
from circuitkit.errors import (
    CircuitFileError,
    CircuitkitError,
    MethodError,
    ModelError,
    PromptError,
    TaskError,
)
from circuitkit.prompts.file import discovery_pairs, read_prompt_file, splits_of
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.splits import sample_splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.task import find_task
from circuitkit.work.text import plain
from circuitkit.zoo import load_model

MAX_BYTES = 2000
CIRCUIT = str(Path(__file__).parents[2] / "circuits" / "ioi.json")
PLANTED = ("planted-induction", "--model", "planted-induction", "--n", "8", "--edges", "30")


def refused(door, *args, error=CircuitkitError, **options):
    """Return the message with which a door refuses, which is one that can be shown."""
    with pytest.raises(error) as caught:
        door(*args, **options)
    message = str(caught.value)
    assert len(message.encode()) < MAX_BYTES
    assert plain(message) == message
    return message


# prompt files

PAIR = {"clean": [1, 2, 3], "corrupted": [1, 4, 3], "answers": [5], "wrong_answers": [6]}
LINES = {
    "an id below 0": ({"clean": [-1, 2, 3]}, "from 0 on, or messages, got the id -1"),
    "an id beyond 64 bits": ({"clean": [2**63, 2, 3]}, "text or a list of token ids"),
    "an id of 400 digits": ({"clean": [10**400, 2, 3]}, "text or a list of token ids"),
    "a template that is a list": ({"template": [1]}, "template must be text"),
    "half of a character": ({"clean": "\ud800 a"}, "text or a list of token ids"),
    "an escape in a role": ({"roles": {"\x1b[31m": [0, 1]}}, "without control characters"),
    "NUL in a role": ({"roles": {"\x00": [0, 1]}}, "without control characters"),
    "no character in a role": ({"roles": {"\ufffe": [0, 1]}}, "without control characters"),
    "half a character in a role": ({"roles": {"\ud800": [0, 1]}}, "without control characters"),
    "a negative answer beside a good one": (
        {"answers": [5, -1]},
        "from 0 on or some of them, got the id -1",
    ),
    "a negative answer": ({"answers": [-1]}, "answer -1: must be text, a token id from 0 on"),
    "a negative wrong answer": (
        {"wrong_answers": [6, -1]},
        "from 0 on or some of them, got the id -1",
    ),
    "an answer that is wrong": ({"answers": [6]}, "no answer may be a wrong answer too"),
    "an answer twice": ({"answers": [5, 5]}, "answers must differ"),
    "an answer that is true": ({"answers": [True]}, "a list of texts, token ids or lists"),
    "END elsewhere": ({"roles": {"END": [0, 1]}}, "must be the last token"),
    "a role behind the prompt": ({"roles": {"A": [0, 400]}}, "must lie in the clean prompt"),
    "a role before the prompt": ({"roles": {"A": [-3, 1]}}, "must lie in the clean prompt"),
    "a role the wrong way round": ({"roles": {"A": [2, 1]}}, "must lie in the clean prompt"),
    "a key that is not known": ({"weight": 1}, "keys must be among"),
    "a split that there is not": ({"split": "Validation"}, "split one of"),
    "a prompt of a megabyte": ({"clean": "a " * 500_000}, "at most 100000 characters"),
    "no ids": ({"clean": []}, "must hold at least one token"),
}
RAW = {
    "a role at infinity": ('{"clean":[1],"roles":{"A":[0,Infinity]}}', "not a finite number"),
    "100,000 brackets": ("[" * 100_000, "must be one JSON object, got RecursionError"),
    "a key twice": ('{"clean":[1],"clean":[1]}', "the key 'clean' more than once"),
    "bytes that are no text": ("\udcff", "must be a readable text file"),
    "nothing": ("", "must hold at least one pair"),
}


def read(path):
    lines = read_prompt_file(path)
    return discovery_pairs(lines, None)


@pytest.mark.parametrize("name", LINES)
def test_a_line_is_refused_with(tmp_path, name):
    change, words = LINES[name]
    (tmp_path / "p.jsonl").write_text(json.dumps(PAIR | change))
    assert words in refused(read, tmp_path / "p.jsonl", error=PromptError)


@pytest.mark.parametrize("name", RAW)
def test_a_prompt_file_is_refused_with(tmp_path, name):
    text, words = RAW[name]
    (tmp_path / "p.jsonl").write_bytes(text.encode(errors="surrogateescape"))
    assert words in refused(read, tmp_path / "p.jsonl", error=PromptError)


@pytest.mark.parametrize("change", [{"clean": [99, 2, 3]}, {"answers": [99]}], ids=str)
def test_ids_out_of_the_vocabulary_are_refused_by_their_place(toy, change):
    pairs = tokenize_pairs([PromptPair(**(PAIR | change))])
    assert "got 99" in refused(toy.require_vocabulary, pairs, error=PromptError)


def test_reference_lines_may_not_be_validation_lines(tmp_path):
    lines = [PAIR | {"clean": [i, 2, 3], "corrupted": [i, 4, 3]} for i in range(8)]
    named = [line | {"split": "validation"} for line in lines[:4]]
    named += [line | {"split": "reference"} for line in lines[:4]]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, [*named, *lines[4:]])))
    found = read_prompt_file(tmp_path / "p.jsonl")
    assert "reference and validation must not share" in refused(splits_of, found, None, seed=0)


def test_another_end_of_line_inside_a_text_ends_no_line(tmp_path):
    (tmp_path / "p.jsonl").write_text(
        json.dumps(PAIR | {"answers": ["\u2028"]}, ensure_ascii=False)
    )
    assert read_prompt_file(tmp_path / "p.jsonl")[0].pair.answers == ["\u2028"]


# circuit files


@pytest.fixture(scope="module")
def whole():
    return json.loads(json.dumps(circuit_to_json(load_circuit(CIRCUIT))))


EDGE = ("edges", "input->a0.h0<q>")
PARTS = {
    "an origin that is a list": (("circuitkit",), [], "schema must be one of"),
    "an origin that is null": (("circuitkit",), None, "schema must be one of"),
    "settings that are null": (("circuitkit", "settings"), None, "settings must be an object"),
    "a task that is a number": (("circuitkit", "task"), 5, "task must be text"),
    "a count that is text": (("circuitkit", "recipe", "pairs", "n"), "abc", "a whole number"),
    "a seed that is text": (("circuitkit", "recipe", "seed"), "x", "must be a whole number"),
    "a seed of 26 digits": (("circuitkit", "recipe", "seed"), 10**26, "must be a whole number"),
    "prompts that are a text": (("circuitkit", "discovery_prompts"), "x", "a list of texts"),
    "nested digests": (("circuitkit", "discovery_prompts"), [["a"]], "a list of texts"),
    "a key that is not known": (("circuitkit", "verdikt"), "supported", "keys must be among"),
    "a recipe with another key": (("circuitkit", "recipe", "x"), 1, "Extra fields"),
    "an edge 7 times in": ((*EDGE, "in_graph"), 7, "in_graph must be true or false"),
    "a score that is NaN": ((*EDGE, "score"), float("nan"), "must be a finite number"),
    "a score that is infinite": ((*EDGE, "score"), float("inf"), "must be a finite number"),
    "3,000 layers": (("cfg", "n_layers"), 3000, "must hold all 292468501 edges"),
    "10^9 layers": (("cfg", "n_layers"), 10**9, "edges of its cfg"),
    "an escape in the model": (("circuitkit", "model"), "a\x1b[31m", "without control"),
    "a deep nesting": (("circuitkit", "settings"), {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}},
                       "nested less deeply"),
    "a method that is a number": (("circuitkit", "recipe", "method"), 5, "str"),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
def test_a_circuit_is_refused_with(whole, name):
    path, value, words = PARTS[name]
    data = deepcopy(whole)
    part = data
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    start = time.monotonic()
    assert words in refused(circuit_from_json, data, error=CircuitFileError)
    assert time.monotonic() - start < 5  # nothing of that size is built


def test_a_circuit_with_missing_edges_is_refused(whole):
    fewer = whole | {"edges": dict(list(whole["edges"].items())[:179])}
    assert "must hold all 479 edges" in refused(circuit_from_json, fewer, error=CircuitFileError)


@pytest.mark.parametrize(
    "text", ['{"cfg": {}, "cfg": {}}', "[" * 100_000, '{"cfg": NaN}', '{"cfg": 1e999}'], ids=len
)
def test_a_circuit_file_that_is_no_json_of_one_meaning_is_refused(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    assert "must be complete JSON" in refused(load_circuit, tmp_path / "c.json")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/", "no such file", "a\x00b"])
def test_what_is_no_file_is_no_circuit(path):
    refused(load_circuit, path, error=CircuitFileError)


# options: refused before a model is loaded

OPTIONS = {
    "threshold nan": ("discover", *PLANTED, "--threshold", "nan"),
    "threshold inf": ("discover", *PLANTED, "--threshold", "inf"),
    "seed -1": ("discover", *PLANTED, "--seed", "-1"),
    "seed 10^26": ("discover", *PLANTED, "--method", "edge-pruning", "--seed", "1" + "0" * 26),
    "seed -1 of validate": ("validate", CIRCUIT, "--seed", "-1"),
    "batch size ²": ("discover", *PLANTED, "--batch-size", "²"),
    "batch size 0": ("discover", *PLANTED, "--batch-size", "0"),
    "memory 4XB": ("discover", *PLANTED, "--memory", "4XB"),
    "no pairs": ("discover", *PLANTED, "--n", "0"),
    "10^7 pairs": ("discover", *PLANTED, "--n", "10000000"),
    "200,000 pairs": ("discover", *PLANTED, "--n", "200000"),
    "10^9 pairs of validate": ("validate", CIRCUIT, "--n", "1000000000"),
    "device meta": ("discover", *PLANTED, "--device", "meta"),
    "faithfulness nan": ("validate", CIRCUIT, "--min-faithfulness", "nan"),
    "faithfulness inf": ("validate", CIRCUIT, "--min-faithfulness", "inf"),
    "faithfulness -inf": ("validate", CIRCUIT, "--min-faithfulness", "-inf"),
    "edge share nan": ("validate", CIRCUIT, "--max-edge-share", "nan"),
    "thresholds of a device": ("validate", CIRCUIT, "--thresholds", "/dev/zero"),
    "a metric of 100 kB": ("discover", *PLANTED, "--metric", "x" * 100_000),
    "a method of 100 kB": ("discover", *PLANTED, "--method", "x" * 100_000),
    "an ablation of 100 kB": ("discover", *PLANTED, "--ablation", "x" * 100_000),
    "a setting of 100 kB": ("discover", *PLANTED, "--set", "x" * 100_000 + "=1"),
    "a task of 100 kB": ("discover", "x" * 100_000),
    "a model of 100 kB": ("discover", "ioi", "--model", "x" * 100_000),
    "a task in brackets": ("discover", "[/b]"),
    "seeds ²": ("bench-discovery", "--seeds", "²"),
    "an output that is a directory": ("discover", *PLANTED, "-o", "/"),
    "a judgement into a directory": ("validate", CIRCUIT, "-o", "/"),
    "a picture with an escape": ("patch", "ioi", "-o", "a\x1b[31m.svg"),
    "a run with a line break": ("run", "ioi", "-o", "a\nb"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_a_command_is_refused_with(tmp_path, name, monkeypatch):
    words = list(OPTIONS[name])
    if words[0] in ("discover", "bench-discovery") and "-o" not in words:
        words += ["-o", str(tmp_path / "x")]
    done = CliRunner().invoke(app, [*words, "-q"])
    assert done.exit_code == 2, done.output
    assert len(done.output.encode()) < MAX_BYTES + 200
    assert re.match(r"\w+Error: ", done.output), done.output
    assert plain(done.output) == done.output
    assert "bug" not in done.output
    assert list(tmp_path.glob("*.json")) == []


@pytest.mark.parametrize("settings", [{"threshold": "nan"}, {"threshold": "inf"}, {"threshold": 0}])
def test_settings_of_a_method_are_finite(settings):
    refused(method_named, "acdc", settings, error=MethodError)


def test_a_setting_that_would_take_for_ever_is_refused():
    steps = {"steps": "1" + "0" * 30}
    assert "must be a number from" in refused(method_named, "eap-ig", steps, error=MethodError)


# tasks

TASK = """
from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair
from circuitkit.task import Task

class Mine(Task):
    name = "mine"
    {variable}
    def pairs(self, rng):
        {body}
"""
GOOD = "while True: yield PromptPair([rng.randrange(30), 1, 2], [3, rng.randrange(30), 2], [5])"
BODIES = {
    "pairs that are None": ("return None", "'NoneType' object is not iterable"),
    "pairs that are a number": ("return 5", "'int' object is not iterable"),
    "pairs that are a list of one": ("return [PromptPair([1], [2], [3])]", "must yield more"),
    "pairs of text": ("yield 'a'", "pair 1 (Mine.pairs in my_task.py, line 10): must be a Prompt"),
    "pairs of dictionaries": ("yield {}", "pair 1 (Mine.pairs in my_task.py, line 10): must be"),
    "a clean prompt of None": ("yield PromptPair(None, [1], [2])", "line 10): clean must be text"),
    "roles of None": ("yield PromptPair([1], [2], [3], roles=None)", "line 10): roles must be"),
    "pairs that raise": ("1 / 0", "ZeroDivisionError: division by zero (/"),
}
VARIABLES = {
    "a metric of None": (
        "metric = None",
        "(Mine in my_task.py, line 6): `metric` must be a metric",
    ),
    "a metric of text": ("metric = 'kl'", "line 6): `metric` must be a metric"),
    "a metric that is a class": ("metric = LogitDifference", "line 6): `metric` must be a metric"),
    "wordings of 5": ("held_out = 5", "`held_out` must be another Task class"),
    "a name of 5": ("name = 5", "`name` must be text"),
    "making it raises": ("def __init__(self): 1 / 0", "making it must raise no error"),
}


@pytest.mark.parametrize("name", [*BODIES, *VARIABLES])
def test_a_task_is_refused_with(tmp_path, name):
    body, words = BODIES.get(name, (GOOD, ""))
    variable, other = VARIABLES.get(name, ("", ""))
    path = tmp_path / "my_task.py"
    path.write_text(TASK.format(variable=variable, body=body))

    def drawn():
        sample_splits(find_task(f"{path}:Mine"), None, n=2, seed=0)

    assert (words or other) in refused(drawn)


def test_a_task_that_is_good_is_drawn_from(tmp_path):
    (tmp_path / "my_task.py").write_text(TASK.format(variable="", body=GOOD))
    task = find_task(f"{tmp_path}/my_task.py:Mine")
    assert len(sample_splits(task, None, n=2, seed=0).discovery) == 2


@pytest.mark.parametrize("n", [0, -1, 200_000, 10**9])
def test_a_number_of_pairs_that_says_nothing_or_takes_minutes_is_refused(n):
    start = time.monotonic()
    refused(sample_splits, find_task("ioi"), None, n=n, seed=0, error=TaskError)
    assert time.monotonic() - start < 5


# models


def test_a_configuration_of_half_the_model_is_refused(toy_directory, tmp_path):
    config = json.loads((toy_directory / "config.json").read_text())
    for name in ("model.safetensors", "generation_config.json"):
        (tmp_path / name).symlink_to(toy_directory / name)
    (tmp_path / "config.json").write_text(json.dumps(config | {"n_layer": 2}))
    words = refused(load_model, tmp_path, error=ModelError)
    assert "config.json must describe every weight in the file" in words


def test_the_digest_does_not_depend_on_the_type_that_is_computed_in(toy_directory):
    digests = {load_model(toy_directory, dtype=kind).digest for kind in ("float32", "bfloat16")}
    assert len(digests) == 1


# text


def test_a_message_keeps_its_beginning_and_what_to_do():
    message = str(MethodError("option: must be short, got " + "x" * 10**6 + ". Do that."))
    assert len(message.encode()) < MAX_BYTES
    assert message.startswith("option: must be short")
    assert message.endswith("x. Do that.")
    assert "(1000037 bytes)" in message


def test_many_pairs_are_announced_before_they_are_drawn(monkeypatch):
    def never(request):
        raise TaskError("task: must not be drawn here, got drawn. It takes minutes. Stop.")

    monkeypatch.setattr("circuitkit.cli.actions.patch.subject_of", never)
    for n, words in (("20000", "Drawing 20000 pairs for each split takes about 3 min."), ("9", "")):
        done = CliRunner().invoke(app, ["patch", "ioi", "--n", n])
        assert done.exit_code == 2
        assert words in done.output
        assert ("Drawing" in done.output) is bool(words)
