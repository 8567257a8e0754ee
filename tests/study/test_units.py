"""Units chosen for a task, from the request to a judged file."""

import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from circuitkit.circuits.recipe import UnitsRecipe
from circuitkit.circuits.units import Units
from circuitkit.cli.app import app
from circuitkit.dictionaries.reading import load_dictionary
from circuitkit.dictionaries.saelens import save_dictionary
from circuitkit.errors import DecompositionError, DictionaryError, GraphError, MethodError
from circuitkit.gradients.units import score_units
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.interventions.work import Work
from circuitkit.metrics import LogitDifference
from circuitkit.model import hook_points
from circuitkit.model.recording import record
from circuitkit.model.units import all_neurons, taken_apart
from circuitkit.study.subject import Request, subject_of
from circuitkit.study.units import as_units, choose_units, explained_variance
from circuitkit.zoo import load_model
from circuitkit.zoo.dictionaries import shipped_folder

NEURONS, FEATURES = UnitsRecipe("neurons", 3), UnitsRecipe("features", 3)


def run_command(*words):
    return CliRunner().invoke(app, list(words))


@pytest.fixture(scope="module")
def pico():
    return load_model("pico")


@pytest.fixture(scope="module")
def subject(pico):
    return subject_of(Request(task="ioi", n=12), pico)


def whole_effects(model, pairs):
    every = {
        layer: all_neurons(block.mlp, layer, f"m{layer}")
        for layer, block in enumerate(model.layers)
    }
    return score_units(
        taken_apart(model, every), pairs, LogitDifference(), Work(ResampleAblation())
    ).by_name()


def test_the_units_with_the_largest_attribution_get_names(toy, pairs):
    scores = whole_effects(toy, pairs)
    ranked = sorted((n for n in scores if ".n" in n), key=lambda name: -abs(scores[name]))
    found = choose_units(toy, pairs, LogitDifference(), NEURONS)
    named = {name for units in found.model.graph.units for name in units.names if ".n" in name}
    assert named == set(ranked[:3])
    share = sum(abs(scores[n]) for n in ranked[:3]) / sum(abs(scores[n]) for n in ranked)
    assert f"they hold {share:.0%} of all attribution" in found.reasons[0]
    assert all(units.read_alone for units in found.model.graph.units)


def test_the_score_of_a_neuron_is_the_slope_of_the_metric_in_what_it_writes(toy, pairs):
    """Held against a finite difference: a neuron is moved a little towards its ablated value."""
    scores, (layer, neuron) = whole_effects(toy, pairs), (1, 4)
    units = all_neurons(toy.layers[layer].mlp, layer, "m1")
    model = taken_apart(toy, {layer: units})
    clean, ablated = (
        record(model, batch)[0].units[0] for batch in (pairs.clean_batch, pairs.corrupted_batch)
    )
    change = (clean - ablated)[..., neuron]

    def gain(step):
        def move(x):
            moved = x.clone()
            moved[..., neuron] -= step * change
            return moved

        logits = toy.run(pairs.clean_batch, {hook_points.neurons(layer): move})
        return LogitDifference().gain(logits, pairs.labels).mean()

    with torch.no_grad():
        slope = float(gain(-1e-5) - gain(1e-5)) / 2e-5
    assert scores[f"m{layer}.n{neuron}"] == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_features_of_shipped_dictionaries_are_senders_and_say_what_they_explain(subject):
    found = choose_units(subject.model, subject.splits.discovery, subject.metric, FEATURES)
    graph = found.model.graph
    assert sum(len(units.numbers) for units in graph.units) == 3
    assert not any(units.read_alone for units in graph.units)
    assert all(f"m{units.layer}.error" in graph.senders for units in graph.units)
    assert "the features explain" in found.reasons[1]
    again = as_units(subject.model, graph.units, FEATURES)
    assert again.graph == graph


def test_what_is_explained_is_a_share_of_the_variance():
    whole = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    assert explained_variance(whole, torch.zeros(2, 2)) == 1
    assert explained_variance(whole, whole - whole.mean(0)) == 0
    assert explained_variance(whole, torch.tensor([[0.5, 0.0], [-0.5, 0.0]])) == 0.75


def saved(tmp_path, hook="", **changes):
    """A folder with pico's SAE of m1, changed; its settings may say that it stands at `hook`."""
    dictionary = load_dictionary(shipped_folder("pico:m1"))
    save_dictionary(replace(dictionary, **changes), tmp_path / "sae", model="pico")
    if hook:
        cfg = json.loads((tmp_path / "sae" / "cfg.json").read_text())
        cfg["metadata"]["hook_name"] = hook
        (tmp_path / "sae" / "cfg.json").write_text(json.dumps(cfg))
    return UnitsRecipe("features", 3, str(tmp_path / "sae"))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"hook": "blocks.7.hook_mlp_out"}, "must fit model 'pico' of 4 layers.*layer 7"),
        ({"hook": "blocks.1.hook_resid_pre"}, "must say that it is of what an MLP writes"),
        ({"hook": "nowhere"}, "must say that it is of what an MLP writes"),
        ({"w_dec": torch.randn(512, 128)}, "must explain more of what the MLP writes"),
    ],
)
def test_dictionaries_that_do_not_belong_are_refused(subject, tmp_path, changes, match):
    recipe = saved(tmp_path, **changes)
    with pytest.raises(DictionaryError, match=match):
        choose_units(subject.model, subject.splits.discovery, subject.metric, recipe)


def test_features_of_another_dictionary_or_kind_are_refused(subject, toy, pairs, tmp_path):
    recipe = saved(tmp_path)
    other = Units(1, "feature", (3,), False, "sha256-another")
    with pytest.raises(DictionaryError, match="must be of the dictionary with digest"):
        as_units(subject.model, [other], recipe)
    with pytest.raises(DictionaryError, match="--units transcoder must have transcoders"):
        choose_units(
            subject.model, subject.splits.discovery, subject.metric,
            replace(recipe, kind="transcoder"),
        )  # fmt: skip
    with pytest.raises(DictionaryError, match="they ship for pico alone"):
        choose_units(toy, pairs, LogitDifference(), FEATURES)
    with pytest.raises(DecompositionError, match="neurons must be from 0"):
        as_units(toy, [Units(0, "neuron", (99_999,))], NEURONS)


@pytest.mark.parametrize(
    ("units", "match"),
    [
        (UnitsRecipe("neurones", 3), "--units: must be one of neurons, features, transcoder"),
        (UnitsRecipe("neurons", 0), "--n-units: must be at least 1"),
        (UnitsRecipe("neurons", 3, "saes"), "--dictionaries: must come with --units features"),
    ],
)
def test_units_that_cannot_be_asked_for_are_refused_before_a_model_is_loaded(units, match):
    with pytest.raises(MethodError, match=match):
        subject_of(Request(task="ioi", model="no-such-model", units=units))


@pytest.mark.parametrize("kind", ["features", "transcoder", "neurons"])
def test_a_circuit_of_units_is_found_written_and_judged_from_its_file(kind, tmp_path):
    path = tmp_path / "circuit.json"
    found = run_command(
        "discover", "ioi", "--units", kind, "--n-units", "4", "--n", "16", "--method", "eap",
        "--edges", "60", "-o", str(path), "-q",
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    cfg = json.loads(path.read_text())["cfg"]
    assert sum(len(units["numbers"]) for units in cfg["units"]) == 4
    judged = run_command(
        "validate", str(path), "--n", "16", "--criteria", "faithfulness", "-q", "--json"
    )
    assert judged.exit_code in (0, 1, 3), judged.output
    assert "faithfulness" in judged.stdout
    assert json.loads(judged.stdout)


def test_half_precision_and_little_memory_are_no_reason_to_refuse(monkeypatch):
    from circuitkit.interventions import budget

    monkeypatch.setattr(budget, "free_bytes", lambda model: 20_000_000)
    subject = subject_of(Request(task="ioi", n=12, dtype="bfloat16", units=NEURONS))
    assert subject.model.dtype == torch.bfloat16
    assert sum(len(units.numbers) for units in subject.model.graph.units) == 3


def test_a_circuit_of_units_beyond_the_model_is_refused(pico):
    with pytest.raises(GraphError, match="layers must be from 0 to 3 in model 'pico', got 11"):
        as_units(pico, [Units(11, "neuron", (1,))], NEURONS)


def test_methods_that_score_no_units_and_explanations_refuse_them(tmp_path):
    for method in ("atp", "exact-nodes", "information-flow", "optimal-ablation"):
        asked = run_command(
            "discover", "ioi", "--units", "neurons", "--n", "12", "--method", method,
            "--edges", "9", "-o", str(tmp_path / "c.json"), "-q",
        )  # fmt: skip
        assert asked.exit_code == 2
        assert "MLPs must be whole" in " ".join(asked.stderr.split())
    asked = run_command("run", "ioi", "--units", "neurons", "--explain", "-o", str(tmp_path / "r"))
    assert "--explain: must come without --units" in " ".join(asked.stderr.split())
