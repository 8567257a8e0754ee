"""The command `finetuning`."""

import json

import pytest
from typer.testing import CliRunner

from circuitkit.circuits.file import load_circuit
from circuitkit.cli.app import app
from circuitkit.model.changed import named_weights, save_model, with_weights
from circuitkit.zoo import load_model

W_O = "transformer.h.1.attn.c_proj.weight"


def typed(*words):
    return CliRunner().invoke(app, [*words])


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A directory of pico in which one head writes the opposite."""
    base = load_model("pico")
    weight = named_weights(base)[W_O].detach().clone()
    weight[32:64] *= -1
    place = tmp_path_factory.mktemp("tuned")
    save_model(with_weights(base, {W_O: weight}), place)
    return str(place)


def test_the_tuned_head_stands_first_and_everything_is_written(tuned, tmp_path):
    out = tmp_path / "out"
    shown = typed(
        "finetuning", "ioi", "--model", tuned, "--n", "12", "--edges", "30", "-o", str(out)
    )
    assert shown.exit_code == 0, shown.output
    facts = json.loads((out / "finetuning.json").read_text())
    shares = {name: found["value"] for name, found in facts["components"].items()}
    assert max(shares, key=shares.get) == "a1.h1"
    assert shares["a1.h1"] == pytest.approx(1, abs=1e-4)
    circuit = load_circuit(out / "circuit.json")
    assert set(facts["edges"]) == set(circuit.edges)
    assert circuit.provenance.model == tuned
    assert b"a1.h1" in (out / "circuit.svg").read_bytes()
    assert f"{circuit.n_edges} of 479 edges carry" in shown.output


def test_a_tuned_model_must_be_named():
    shown = typed("finetuning", "ioi")
    assert shown.exit_code == 2
    assert "--model: must name the fine-tuned model" in " ".join(shown.output.split())
