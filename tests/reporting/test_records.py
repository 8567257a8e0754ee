"""Run directories: what is saved comes back, and what is damaged is refused."""

import json
from dataclasses import replace

import pyarrow.parquet
import pytest
import torch

from circuitkit.errors import CircuitFileError, OutputError
from circuitkit.study.records import load_record, save_record

from .conftest import SCORES

FILES = ("circuit.json", "validation.json", "patching.json", "run.toml")


@pytest.fixture
def directory(record, tmp_path):
    save_record(record, tmp_path / "run")
    return tmp_path / "run"


def test_a_record_comes_back_as_it_was_saved(record, directory):
    loaded = load_record(directory)
    assert loaded.info == record.info
    assert loaded.validation == record.validation
    assert loaded.heat_maps == record.heat_maps
    assert loaded.circuit.edges == record.circuit.edges
    assert loaded.circuit.provenance == record.circuit.provenance
    assert torch.equal(loaded.circuit.scores.values, record.circuit.scores.values)


def test_saving_a_loaded_record_writes_the_same_bytes(directory, tmp_path):
    save_record(load_record(directory), tmp_path / "again")
    for file in FILES:
        assert (tmp_path / "again" / file).read_bytes() == (directory / file).read_bytes()


def test_scores_have_one_row_for_every_edge_of_the_graph(record, directory):
    rows = pyarrow.parquet.read_table(directory / "scores.parquet").to_pylist()
    assert [row["edge"] for row in rows] == list(record.graph.edge_names)
    assert {row["edge"]: row["score"] for row in rows if row["in_circuit"]} == SCORES
    assert all(f"{row['sender']}->{row['receiver']}" == row["edge"] for row in rows)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_refused(directory, file):
    (directory / file).unlink()
    with pytest.raises(CircuitFileError):
        load_record(directory)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("file", FILES)
def test_a_truncated_file_is_refused(directory, file, share):
    whole = (directory / file).read_bytes()
    (directory / file).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CircuitFileError):
        load_record(directory)


@pytest.mark.parametrize("content", ["null", "[]", "{}", "3", '"text"', '[{"site": 1}]', "\udcff"])
@pytest.mark.parametrize("file", FILES)
def test_a_file_of_another_shape_is_refused(directory, file, content):
    if file == "patching.json" and content in ("[]", "{}"):
        pytest.skip("no sweeps at all is a valid file")
    (directory / file).write_text(content, errors="surrogateescape")
    with pytest.raises(CircuitFileError):
        load_record(directory)


def test_a_directory_that_cannot_be_written_is_refused(record, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        save_record(record, tmp_path / "file" / "run")


def test_an_interpretation_is_saved_and_loaded_with_its_run(interpreted, tmp_path):
    save_record(interpreted, tmp_path)
    loaded = load_record(tmp_path)
    assert loaded.interpretation == interpreted.interpretation
    assert json.loads((tmp_path / "interpretation.json").read_text())["schema"] == 2
    save_record(loaded, tmp_path / "again")
    first, again = tmp_path / "interpretation.json", tmp_path / "again" / "interpretation.json"
    assert first.read_bytes() == again.read_bytes()


def test_a_run_without_an_interpretation_leaves_none_of_an_earlier_run(
    record, interpreted, tmp_path
):
    save_record(interpreted, tmp_path)
    save_record(record, tmp_path)
    assert load_record(tmp_path).interpretation is None
    assert not (tmp_path / "interpretation.json").exists()


def test_an_interpretation_of_another_schema_is_refused(interpreted, tmp_path):
    save_record(interpreted, tmp_path)
    file = tmp_path / "interpretation.json"
    file.write_text(file.read_text().replace('"schema":2', '"schema":3', 1))
    with pytest.raises(CircuitFileError, match="must be of schema 1 or 2, got schema 3"):
        load_record(tmp_path)


@pytest.mark.parametrize(
    "content",
    ["", "null", "[]", "3", '{"schema": 1}', '{"schema": 2}', '{"schema": 2, "cards'],
)
def test_a_damaged_interpretation_is_refused(interpreted, tmp_path, content):
    save_record(interpreted, tmp_path)
    (tmp_path / "interpretation.json").write_text(content)
    with pytest.raises(CircuitFileError):
        load_record(tmp_path)


def test_an_interpretation_of_other_weights_is_refused(interpreted, tmp_path):
    other = replace(interpreted.interpretation, model_digest="another")
    save_record(replace(interpreted, interpretation=other), tmp_path)
    with pytest.raises(CircuitFileError, match="another"):
        load_record(tmp_path)
