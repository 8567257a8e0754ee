"""Files of any content, and real files with something wrong: read, or refused in one sentence."""

import contextlib
import json
import random
import shutil
import sqlite3
import tomllib

import pytest
import tomli_w
from hypothesis import example, given
from hypothesis import strategies as st

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import circuit_from_json, circuit_text, circuit_to_json, load_circuit
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.contracts.contract import Contract
from circuitkit.contracts.parsing import KEYS, read_contracts
from circuitkit.prompts.file import KEYS as LINE_KEYS
from circuitkit.prompts.file import discovery_pairs, read_prompt_file, splits_of
from circuitkit.prompts.splits import Splits
from circuitkit.study.records import RunRecord, load_record, save_record
from circuitkit.validation.criteria import CRITERIA, Thresholds, read_thresholds
from circuitkit.work.checkpoint import open_checkpoint
from tests.conftest import random_pairs
from tests.fuzz.odd import FUZZ, TEXTS, VALUES, damaged, json_text, mutated, refusal
from tests.prompts.tokenizers import fast_bytes

SEEDS = st.integers(0, 10**6)
TOY = ComponentGraph(n_layers=2, n_heads=3, d_model=8)
REAL = json.loads(json.dumps(circuit_to_json(Circuit.of_edges(TOY, ["a0.h1->a1.h2<q>"]))))
LINES = [
    {
        "clean": pair.clean,
        "corrupted": pair.corrupted,
        "answers": pair.answers,
        "wrong_answers": pair.wrong_answers,
        "roles": {"A": [1, 2]},
        "template": "t",
    }
    for pair in random_pairs(6, lengths=(7,))
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def written(folder, name, content):
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_bytes(content.encode(errors="surrogatepass"))
    return path


# prompt files


def pairs_of_file(path):
    lines = read_prompt_file(path)
    discovery_pairs(lines, None)
    return splits_of(lines, None, seed=0)


@FUZZ
@given(line=st.dictionaries(st.one_of(st.sampled_from(sorted(LINE_KEYS)), TEXTS), VALUES))
def test_any_line_of_a_prompt_file_is_used_or_refused(folder, line):
    for extra in ({}, LINES[0]):
        text = "\n".join(map(json_text, [*LINES[1:], extra | line]))
        found = refusal(pairs_of_file, written(folder, "any.jsonl", text))
        assert isinstance(found, Splits | str)


@FUZZ
@given(seed=SEEDS, value=VALUES)
def test_a_prompt_file_with_one_odd_part_is_used_or_refused(folder, seed, value):
    rng = random.Random(seed)
    lines = mutated(LINES, rng, value)
    text = "\n".join(map(json_text, lines)).encode()
    text = damaged(text, rng) if rng.random() < 0.3 else text
    refusal(pairs_of_file, written(folder, "odd.jsonl", text))


CHATS = [
    {
        "clean": [{"role": "user", "content": f"Is {word} here?"}, {"role": "a", "content": "So"}],
        "corrupted": [
            {"role": "user", "content": f"Is {word} gone?"},
            {"role": "a", "content": "So"},
        ],
        "answers": ["Y"],
        "roles": {"A": [0, 3, 5]},
        "answer_after": "user",
    }
    for word in ("he", "it", "me", "no", "we", "us")
]


@pytest.fixture(scope="session")
def tokenizer():
    made = fast_bytes()
    made.chat_template = "{% for m in messages %}{{ m.role ~ m.content | trim }}{% endfor %}"
    return made


@FUZZ
@given(seed=SEEDS, value=VALUES)
def test_a_file_of_messages_with_one_odd_part_is_used_or_refused(folder, tokenizer, seed, value):
    text = "\n".join(map(json_text, mutated(CHATS, random.Random(seed), value)))

    def pairs(path):
        return splits_of(read_prompt_file(path), tokenizer, seed=0)

    found = refusal(pairs, written(folder, "chat.jsonl", text))
    assert isinstance(found, Splits | str)


# circuit files


def circuit_of(path):
    """Read a circuit, and write what was read: all of it is of use then."""
    circuit = load_circuit(path)
    assert circuit_from_json(json.loads(circuit_text(circuit))).edges == circuit.edges
    return circuit


@FUZZ
@given(seed=SEEDS, value=VALUES)
def test_a_circuit_file_with_one_odd_part_is_read_or_refused(folder, seed, value):
    data = mutated(REAL, random.Random(seed), value)
    found = refusal(circuit_of, written(folder, "odd.json", json_text(data)))
    assert isinstance(found, Circuit | str)


@FUZZ
@given(seed=SEEDS, value=VALUES, key=st.sampled_from([*REAL["circuitkit"], "settings", "seed"]))
def test_an_odd_origin_is_read_or_refused(folder, seed, value, key):
    for schema in (1, 2):
        origin = REAL["circuitkit"] | {"schema": schema, key: value}
        if isinstance(origin.get("settings"), dict):
            origin = mutated(origin | {"settings": {"n_edges": 3}}, random.Random(seed), value)
        refusal(circuit_of, written(folder, "o.json", json_text(REAL | {"circuitkit": origin})))


@FUZZ
@given(value=VALUES)
def test_any_json_is_a_circuit_or_refused(folder, value):
    for data in (value, REAL | {"cfg": value}, {"cfg": value, "nodes": value, "edges": value}):
        assert isinstance(refusal(circuit_of, written(folder, "a.json", json_text(data))), str)


@FUZZ
@given(seed=SEEDS)
def test_a_damaged_circuit_file_is_read_or_refused(folder, seed):
    content = damaged(json.dumps(REAL, indent=1).encode(), random.Random(seed))
    refusal(circuit_of, written(folder, "d.json", content))


# contracts and thresholds

BOUND = st.dictionaries(st.sampled_from(["min", "max", "alpha", "ablation", "x"]), VALUES)
TABLE = st.dictionaries(
    st.one_of(st.sampled_from([*KEYS, *list(CRITERIA)[:6]]), TEXTS), st.one_of(BOUND, VALUES)
)


def toml_text(data):
    """Return data as TOML without what TOML cannot say; None where nothing is left."""
    try:
        return tomli_w.dumps(json.loads(json.dumps(data)))
    except (TypeError, ValueError, AttributeError):  # null, or a half of a character
        return None


@FUZZ
@given(table=TABLE, other=TABLE, shape=st.sampled_from(["contract", "circuitkit", "tool"]))
def test_any_table_is_a_contract_or_refused(folder, table, other, shape):
    named = {"circuit": "c.json", "faithfulness": {"min": 0.5}} | table
    inner = {"contract": [named, other] if other else [named]}
    data = {
        "contract": {"tool": {"circuitkit": inner}},
        "circuitkit": {"tool": {"circuitkit": table}},
        "tool": {"tool": table},
    }[shape]
    text = toml_text(data)
    if text is not None:
        found = refusal(read_contracts, written(folder, "pyproject.toml", text))
        assert isinstance(found, str) or all(isinstance(each, Contract) for each in found)


@FUZZ
@given(table=st.dictionaries(st.one_of(st.sampled_from(list(CRITERIA)), TEXTS), BOUND))
def test_any_table_holds_thresholds_or_is_refused(folder, table):
    text = toml_text(table)
    if text is not None:
        found = refusal(read_thresholds, written(folder, "t.toml", text))
        assert isinstance(found, Thresholds | str)


@FUZZ
@given(seed=SEEDS)
def test_damaged_toml_is_read_or_refused(folder, seed):
    rng = random.Random(seed)
    bounds = b"faithfulness = { min = 0.85 }\ncompleteness = { max = 0.3, alpha = 0.01 }\n"
    refusal(read_thresholds, written(folder, "t.toml", damaged(bounds, rng)))
    head = b'[[tool.circuitkit.contract]]\ncircuit = "c.json"\nn = 5\nseed = 1\n'
    refusal(read_contracts, written(folder, "pyproject.toml", damaged(head + bounds, rng)))


# checkpoints

WORK = {"method": "toy", "seed": "0"}


def resumed(path):
    with open_checkpoint(path, WORK) as done:
        done.plan({"n_pairs": 3})
        found = [done.result(f"item {i}") for i in range(3)]
        done.keep("item 0", [0.0, 0.5])
    return found


@pytest.fixture(scope="session")
def kept(folder):
    path = folder / "kept.sqlite"
    with open_checkpoint(path, WORK) as done:
        done.plan({"n_pairs": 3})
        for i in range(3):
            done.keep(f"item {i}", [float(i), 0.5])
    resumed(path)
    return path


@FUZZ
@example(seed=41039)
@given(seed=SEEDS)
def test_a_damaged_checkpoint_gives_what_was_kept_or_is_refused(folder, kept, seed):
    content = damaged(kept.read_bytes(), random.Random(seed))
    require_kept(refusal(resumed, written(folder, "damaged.sqlite", content)))


def require_kept(found):
    """See that it is a refusal, or what was kept, some of it perhaps gone."""
    known = [[float(i), 0.5] for i in range(3)]
    assert isinstance(found, str) or all(
        row in (own, None) for row, own in zip(found, known, strict=True)
    )


def test_a_checkpoint_whose_own_words_are_no_text_is_refused(folder, kept):
    content = kept.read_bytes()
    assert b"CREATE TABLE " in content
    path = written(folder, "words.sqlite", content.replace(b"CREATE TABLE ", b"CREATE \xffABLE "))
    assert isinstance(refusal(resumed, path), str)


CELLS = st.one_of(st.none(), st.integers(-9, 9), st.floats(), st.text(max_size=9), st.binary())


@FUZZ
@given(
    table=st.sampled_from(["settings", "results"]),
    column=st.sampled_from(["key", "value", "digest"]),
    cell=CELLS,
)
def test_a_checkpoint_with_other_cells_gives_what_was_kept_or_is_refused(
    folder, kept, table, column, cell
):
    path = written(folder, "cells.sqlite", kept.read_bytes())
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        text = cell.encode(errors="replace").decode() if isinstance(cell, str) else cell
        connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (text,))
    require_kept(refusal(resumed, path))


# run directories


@pytest.fixture(scope="session")
def run(interpreted, folder):
    """A run directory, whose run.toml says nothing of digests, so that its files are read."""
    save_record(interpreted, folder / "run")
    said = tomllib.loads((folder / "run" / "run.toml").read_text())
    del said["files"]
    (folder / "run" / "run.toml").write_text(tomli_w.dumps(said))
    return folder / "run"


FILES = ("run.toml", "validation.json", "patching.json", "interpretation.json", "circuit.json")


@FUZZ
@given(name=st.sampled_from(FILES), seed=SEEDS, value=VALUES)
def test_a_run_directory_with_an_odd_file_is_read_or_refused(folder, run, name, seed, value):
    copy = folder / "odd run"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)
    rng, path = random.Random(seed), copy / name
    if rng.random() < 0.4:
        path.write_bytes(damaged(path.read_bytes(), rng))
    elif path.suffix == ".json":
        path.write_text(json_text(mutated(json.loads(path.read_text()), rng, value)))
    else:
        text = toml_text(mutated(tomllib.loads(path.read_text()), rng, value))
        path.write_text(text or "", errors="replace")
    assert isinstance(refusal(load_record, copy), RunRecord | str)
