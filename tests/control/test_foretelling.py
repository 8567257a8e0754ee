"""Whether a circuit foretold what interventions do."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from typer.testing import CliRunner

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import save_circuit
from circuitkit.circuits.random_circuits import random_of_profile
from circuitkit.cli.app import app
from circuitkit.control.foretelling import foretell as foretelling
from circuitkit.control.foretelling.calibration import calibrate
from circuitkit.control.foretelling.foretell import (
    Foretold,
    Ground,
    foretell,
    measure_outcomes,
)
from circuitkit.control.foretelling.interventions import (
    Intervention,
    Scaled,
    default_interventions,
)
from circuitkit.control.foretelling.reading import OtherWeights, read_interventions
from circuitkit.control.foretelling.record import FORETOLD, write_foretold, write_outcomes
from circuitkit.control.steering.vector import given_vector, save_vector
from circuitkit.errors import GraphError, MethodError, ModelError, OutputError
from circuitkit.interventions.ablation import ablation_named
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.metrics import LogitDifference
from circuitkit.model.changed import named_weights, save_model, with_weights
from circuitkit.model.hook_points import resid_post
from circuitkit.prompts.splits import sample_splits
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.task import find_task
from circuitkit.zoo import load_model
from circuitkit.zoo.planted import planted

METRIC = LogitDifference()


@pytest.fixture(scope="module")
def pico():
    return load_model("pico", dtype="float64")


@pytest.fixture(scope="module")
def splits(pico):
    return sample_splits(find_task("ioi"), pico.tokenizer, n=8, seed=5)


@pytest.fixture(scope="module")
def ground(pico, splits):
    ablation = ablation_named("resample", splits.reference)
    return Ground(pico, splits.validation, METRIC, ablation)


@pytest.fixture(scope="module")
def circuit(pico):
    """Every edge but those of a few components, so that it foretells some things wrongly."""
    return Circuit.full(pico.graph).without(["a0.h2", "m1", "a3.h1"])


def some(circuit):
    names = ("a0.h2", "a0.h3", "a1.h1", "a3.h0", "m0", "m2")
    cuts = [Intervention(f"without {n}", "ablation", (n,)) for n in names]
    return [*cuts, Intervention("half", "scaling", change=Scaled("a1.h1", 0.5))]


def test_the_whole_model_foretells_every_outcome_exactly(ground, pico):
    full = Circuit.full(pico.graph)
    said = foretell(ground, full, some(full))
    found = measure_outcomes(ground, some(full))
    assert [e.value for e in said.shares] == pytest.approx([e.value for e in found], abs=1e-9)
    assert max(abs(e.value) for e in found) > 0.1


def test_a_circuit_foretells_nothing_of_what_it_does_not_contain(ground, circuit):
    said = foretell(ground, circuit, some(circuit))
    by_name = dict(zip([i.name for i in said.interventions], said.shares, strict=True))
    assert by_name["without a0.h2"].value == 0
    assert by_name["without a1.h1"].value != 0
    assert said.touched[0] == ()
    assert said.touched[2] == ("a1.h1",)
    assert said.touched[-1] == ("a1.h1",)


def test_shares_are_losses_over_the_gap_of_the_whole_model(ground, circuit, pico):
    [share] = foretell(ground, circuit, some(circuit)[2:3]).shares
    ends = [Circuit.full(pico.graph), Circuit.empty(pico.graph)]
    full, empty, own, cut = evaluate_circuits(
        pico,
        ground.pairs,
        [*ends, circuit, circuit.without(["a1.h1"])],
        ablation=ground.ablation,
        metric=METRIC,
    ).mean(1)
    assert share.value == pytest.approx(float((own - cut) / (full - empty)), abs=1e-9)


def test_other_prompts_are_held_against_the_first(ground, splits, pico):
    full = Circuit.full(pico.graph)
    other = splits.discovery.select(range(5))
    [outcome] = measure_outcomes(ground, [Intervention("others", "prompts", pairs=other)])
    ours = METRIC.values(pico.run(ground.pairs.clean_batch), ground.pairs.labels)[:5]
    theirs = METRIC.values(pico.run(other.clean_batch), other.labels)
    both = [full, Circuit.empty(pico.graph)]
    full_, empty = evaluate_circuits(
        pico, ground.pairs, both, ablation=ground.ablation, metric=METRIC
    )[:, :5]
    expected = (ours - theirs).mean() / (full_ - empty).mean()
    assert outcome.value == pytest.approx(float(expected.detach()), abs=1e-9)
    assert outcome.n == 5


@pytest.mark.parametrize("name", ["a1.h1", "m2"])
def test_rescaled_output_is_that_of_rescaled_weights(pico, splits, name):
    layer, rows = (1, slice(32, 64)) if name == "a1.h1" else (2, slice(None))
    part = "attn" if name == "a1.h1" else "mlp"
    weights = named_weights(pico)
    key = f"transformer.h.{layer}.{part}.c_proj"
    weight = weights[f"{key}.weight"].detach().clone()
    weight[rows] *= 0.25
    changed = {f"{key}.weight": weight}
    if part == "mlp":
        changed[f"{key}.bias"] = weights[f"{key}.bias"] * 0.25
    batch = splits.validation.clean_batch
    ours = Scaled(name, 0.25).made(pico)
    assert torch.allclose(ours.run(batch), with_weights(pico, changed).run(batch), atol=1e-10)
    assert ours.digest != pico.digest
    assert not torch.allclose(ours.run(batch), pico.run(batch), atol=1e-2)


@pytest.mark.parametrize("name", ["planted-ioi", "planted-induction"])
def test_a_true_circuit_foretells_its_model(name):
    truth = planted(name)
    model = truth.model(dtype=torch.float64)
    splits = sample_splits(find_task(truth.task), model.tokenizer, n=10, seed=1)
    ablation = ablation_named("resample", splits.reference)
    ground = Ground(model, splits.validation, METRIC, ablation)
    circuit = Circuit.of_edges(model.graph, list(truth.true_edges))
    done = default_interventions(circuit)
    controls = [random_of_profile(circuit, seed) for seed in range(2)]
    said = foretell(ground, circuit, done, controls)
    found = calibrate(said, measure_outcomes(ground, done))
    assert found.correlation.value >= 0.9
    assert found.p <= 0.01
    assert found.error < 0.2 * found.error_of_none


def test_the_default_set_ablates_every_component_and_rescales_inside_and_outside(circuit):
    done = default_interventions(circuit)
    single = {each.components for each in done if len(each.components) == 1}
    assert single == {(name,) for name in circuit.graph.senders if name != "input"}
    scaled = {each.change.component for each in done if each.change}
    assert {"a1.h1", "a3.h1"} <= scaled
    assert len({each.name for each in done}) == len(done)
    assert [e.name for e in done] == [e.name for e in default_interventions(circuit)]
    assert [e.name for e in done] != [e.name for e in default_interventions(circuit, 1)]


def estimates(values):
    return tuple(Estimate(v, v - 0.1, v + 0.1, 10) for v in values)


def foretold(values, kinds=None):
    kinds = kinds or ["ablation"] * len(values)
    done = tuple(Intervention(f"i{n}", kind, ("m0",)) for n, kind in enumerate(kinds))
    by_random = np.array([list(reversed(values))])
    return Foretold(done, estimates(values), ((),) * len(values), by_random, Estimate(1, 1, 1, 10))


def test_the_numbers_of_a_calibration_are_what_they_say():
    said = (0.0, 0.0, 0.1, 0.3, 0.5, 1.0)
    happened = (0.05, -0.02, 0.3, 0.2, 0.6, 0.9)
    found = calibrate(foretold(said), estimates(happened))
    assert found.correlation.value == pytest.approx(spearmanr(said, happened).statistic)
    assert found.linear.value == pytest.approx(np.corrcoef(said, happened)[0, 1])
    assert found.slope == pytest.approx(np.polyfit(said, happened, 1)[0])
    assert found.intercept == pytest.approx(np.polyfit(said, happened, 1)[1])
    assert found.error == pytest.approx(np.abs(np.subtract(said, happened)).mean())
    assert found.error_of_none == pytest.approx(np.abs(happened).mean())
    assert (found.n_signs, found.n_right) == (4, 4)
    assert found.random[0] == pytest.approx(spearmanr(said[::-1], happened).statistic)
    assert found.surprises[0].name == "i2"
    assert not found.surprises[0].is_clear


def test_shuffles_stay_within_a_kind():
    said = (0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0)
    kinds = ["ablation"] * 4 + ["scaling"] * 4
    found = calibrate(foretold(said, kinds), estimates(said))
    assert found.correlation.value == pytest.approx(1)
    assert found.p == 1  # each kind is foretold alike: shuffles change nothing
    alone = calibrate(foretold(said), estimates(said))
    assert alone.p < 0.1


def test_what_was_foretold_cannot_be_changed_once_outcomes_are_known(tmp_path):
    said, outcomes = foretold((0.1, 0.2, 0.3, 0.4, 0.5)), estimates((0.1, 0.2, 0.3, 0.4, 0.9))
    found = calibrate(said, outcomes)
    written = write_foretold(tmp_path, said, {"task": "x"})
    facts = write_outcomes(tmp_path, written, said, outcomes, found)
    assert facts["foretold_sha256"] == written
    kept = json.loads((tmp_path / FORETOLD).read_text())
    assert [row["sign"] for row in kept["foretold"]] == [0, 1, 1, 1, 1]
    (tmp_path / FORETOLD).write_text("{}")
    with pytest.raises(OutputError, match="must be as it was written before"):
        write_outcomes(tmp_path, written, said, outcomes, found)
    (tmp_path / FORETOLD).unlink()
    with pytest.raises(OutputError, match="got other content, or none"):
        write_outcomes(tmp_path, written, said, outcomes, found)


def test_predictions_are_on_file_before_the_whole_model_is_changed(tmp_path, monkeypatch, pico):
    seen = []

    def outcomes(*_, **__):
        seen.append((tmp_path / "out" / FORETOLD).exists())
        raise KeyboardInterrupt

    monkeypatch.setattr("circuitkit.cli.actions.foretell.measure_outcomes", outcomes)
    typed_with_circuit(tmp_path, pico)
    assert seen == [True]
    assert not (tmp_path / "out" / "outcomes.json").exists()


def typed_with_circuit(place, pico, *more):
    save_circuit(Circuit.full(pico.graph).without(["m1"]), place / "c.json")
    (place / "done.toml").write_text(
        '[[intervention]]\nablate = ["a1.h1", "m2"]\n'
        '[[intervention]]\nablate = ["m0"]\n'
        '[[intervention]]\nablate = ["m1"]\n'
        '[[intervention]]\nablate_edges = ["a1.h1->logits"]\n'
        '[[intervention]]\nscale = "a1.h1"\nfactor = 0.5\nname = "half"\n'
        '[[intervention]]\nmodel = "pico"\n'
    )
    words = ["foretell", place / "c.json", "--interventions", place / "done.toml"]
    words += ["--task", "ioi", "--model", "pico", "--n", "8", "--n-random", "1"]
    words += ["-o", place / "out", "-q", *more]
    return CliRunner().invoke(app, [*map(str, words)])


def test_the_command_writes_predictions_outcomes_and_a_picture(tmp_path, pico):
    shown = typed_with_circuit(tmp_path, pico)
    assert shown.exit_code == 0, shown.output
    said = json.loads((tmp_path / "out" / FORETOLD).read_text())
    happened = json.loads((tmp_path / "out" / "outcomes.json").read_text())
    names = [row["name"] for row in said["foretold"]]
    assert names == [row["name"] for row in happened["outcomes"]]
    assert names[4] == "half"
    assert happened["outcomes"][5]["share"]["value"] == 0  # the same weights
    assert happened["calibration"]["interventions"] == 6
    assert b"rank correlation" in (tmp_path / "out" / "foretold.svg").read_bytes()
    assert "All 6: rank correlation" in " ".join(shown.output.split())


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("x = 1", "must be TOML with"),
        ('[[intervention]]\nablate = ["m0"]\nscale = "m0"\nfactor = 2', "must have one of ablate"),
        ('[[intervention]]\nscale = "m0"', "scale with a factor"),
        ('[[intervention]]\nscale = "m0"\nfactor = "2"', "factor must be a number"),
        ('[[intervention]]\nadd_direction = "v"', "add_direction with a dose"),
        ('[[intervention]]\nablate = "m0"', "must be a list of names"),
        ("[[intervention]]\nmodel = 3", "model must be text"),
        ('[[intervention]]\nablate = ["m0"]\nwhen = 1', "the unknown key 'when'"),
    ],
)
def test_a_file_of_interventions_that_says_nothing_known_is_refused(tmp_path, text, rule):
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(MethodError, match=rule):
        read_interventions(path, load_model, lambda path: None)


def test_a_saved_direction_is_taken_out_or_added(tmp_path, pico, ground):
    direction = torch.zeros(128, dtype=torch.float64)
    direction[3] = 2.0
    save_vector(given_vector(pico, direction, resid_post(1)), tmp_path / "v")
    path = tmp_path / "x.toml"
    path.write_text(
        '[[intervention]]\nremove_direction = "v"\n'
        '[[intervention]]\nadd_direction = "v"\ndose = 0\nname = "nothing"\n'
        '[[intervention]]\nadd_direction = "v"\ndose = 3.5\nname = "much"\n'
    )
    done = read_interventions(path, load_model, lambda path: None)
    assert {each.kind for each in done} == {"steering"}
    removed, nothing, much = measure_outcomes(ground, done)
    assert nothing.value == 0
    batch, labels = ground.pairs.clean_batch, ground.pairs.labels
    own = METRIC.values(pico.run(batch), labels).mean()
    hooks = {resid_post(1): lambda x: x + 3.5 * direction}
    steered = METRIC.values(pico.run(batch, hooks), labels).mean()
    ends = [Circuit.full(pico.graph), Circuit.empty(pico.graph)]
    full, empty = evaluate_circuits(
        pico, ground.pairs, ends, ablation=ground.ablation, metric=METRIC
    ).mean(1)
    expected = float(((own - steered) / (full - empty)).detach())
    assert much.value == pytest.approx(expected, abs=1e-9)
    assert abs(expected) > 0.01
    assert removed.value != 0


def test_names_are_looked_up_before_any_run(ground, circuit, monkeypatch):
    monkeypatch.setattr(foretelling, "evaluate_circuits", None)
    done = [*some(circuit), Intervention("x", "scaling", change=Scaled("a9.h9", 2.0))]
    with pytest.raises(GraphError, match="a head or a whole MLP of this graph"):
        foretell(ground, circuit, done)


def test_a_rescaled_model_is_not_changed_or_saved_as_if_it_were_not(pico, tmp_path):
    rescaled = Scaled("a1.h1", 0.5).made(pico)
    bias = {"transformer.ln_f.bias": torch.ones(128)}
    with pytest.raises(ModelError, match="must be a model that computes what its weights say"):
        with_weights(rescaled, bias)
    with pytest.raises(ModelError, match="must be a model that computes what its weights say"):
        save_model(rescaled, tmp_path / "x")


def test_nothing_of_an_earlier_record_stands_beside_new_predictions(tmp_path):
    for name in ("outcomes.json", "foretold.svg", "notes.txt"):
        (tmp_path / name).write_text("old")
    write_foretold(tmp_path, foretold((0.1, 0.2)), {})
    assert {path.name for path in tmp_path.iterdir()} == {FORETOLD, "notes.txt"}


def test_names_that_do_not_exist_and_two_of_one_name_are_refused(ground, circuit):
    with pytest.raises(GraphError, match="must be senders of this graph"):
        foretell(ground, circuit, [Intervention("x", "ablation", ("m9",))])
    with pytest.raises(GraphError, match="must be a head or a whole MLP"):
        foretell(ground, circuit, [Intervention("x", "scaling", change=Scaled("input", 2))])
    twice = [Intervention("x", "ablation", ("m0",))] * 2
    with pytest.raises(MethodError, match="'x' twice"):
        foretell(ground, circuit, twice)
    with pytest.raises(MethodError, match="needs at least 5 interventions, got 2"):
        calibrate(foretold((0.1, 0.2)), estimates((0.1, 0.2)))
    with pytest.raises(MethodError, match="must do one thing"):
        Intervention("x", "ablation")
    other = OtherWeights("planted-ioi", load_model)
    with pytest.raises(GraphError, match="must be of the architecture"):
        measure_outcomes(ground, [Intervention("x", "weights", change=other)])
