"""Finished dictionaries: what was trained, without scales, in files that others read."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from circuitkit.dictionaries.reading import load_dictionary
from circuitkit.dictionaries.training.finished import finished, save_finished
from circuitkit.dictionaries.training.learner import Learner
from circuitkit.dictionaries.training.loss import loss_of
from circuitkit.dictionaries.training.places import TrainedPlace
from circuitkit.dictionaries.training.plan import Plan

KINDS = ["topk", "batchtopk", "jumprelu", "transcoder"]
FILES = ("cfg.json", "sae_weights.safetensors")


def trained(kind):
    """A dictionary after some steps on activations far from unit scale, and those activations."""
    generator = torch.Generator().manual_seed(4)
    y = 30 + 50 * torch.randn(40, 6, generator=generator, dtype=torch.float64)
    is_transcoder = kind == "transcoder"
    x = 0.01 * torch.randn(40, 5, generator=generator, dtype=torch.float64) if is_transcoder else y
    plan = Plan(kind, n_features=12, k=3, steps=20)
    learner = Learner.begin(plan, x, y)
    for _ in range(8):
        learner.learn(x, y)
    return learner, TrainedPlace("m1", 1, is_transcoder), x, y


def one_threshold(learner, x):
    """Between the smallest feature that the batch keeps and the next."""
    u = x / learner.weights.scale_in
    pre = learner.weights.pre_activations(u)
    smallest, *_ = pre.flatten().sort(descending=True).values[3 * len(x) - 1 :]
    return float(smallest) - 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_without_scales_it_makes_the_reconstruction_that_was_trained(kind):
    learner, place, x, y = trained(kind)
    given = one_threshold(learner, x) if kind in ("batchtopk", "transcoder") else None
    made = finished(place, learner.plan, learner.weights, given)
    weights = learner.weights
    alive = torch.zeros(12, dtype=torch.bool)
    loss = loss_of(weights, learner.plan, x / weights.scale_in, y / weights.scale_out, alive)
    left = (y - made.decode(made.encode(x))).pow(2).mean() / weights.scale_out**2
    assert float(left) == pytest.approx(loss.left_over, rel=1e-9)
    assert torch.equal(made.encode(x) > 0, loss.active)
    torch.testing.assert_close(made.w_dec.norm(dim=1), torch.ones(12, dtype=torch.float64))
    assert weights.scale_out > 10


def numpy_features(config, weights, x):
    """SAELens's rule for the three architectures that are written, in numpy."""
    centred = x - weights["b_dec"] if config["apply_b_dec_to_input"] else x
    pre = centred @ weights["W_enc"] + weights["b_enc"]
    if config["architecture"] == "topk":
        floor = np.sort(pre, 1)[:, -config["k"]][:, None]
        return np.maximum(pre, 0) * (pre >= floor)
    return np.maximum(pre, 0) * (pre > weights["threshold"])


@pytest.mark.parametrize("kind", KINDS)
def test_files_say_how_they_are_run_and_give_the_same_features(kind, tmp_path):
    learner, place, x, _ = trained(kind)
    given = one_threshold(learner, x) if kind in ("batchtopk", "transcoder") else None
    made = finished(place, learner.plan, learner.weights, given)
    save_finished(made, tmp_path / "it", "some-model", stored_as=torch.float64)
    config = json.loads((tmp_path / "it" / FILES[0]).read_text())
    weights = load_file(tmp_path / "it" / FILES[1])
    f = numpy_features(config, weights, x.numpy())
    np.testing.assert_allclose(made.encode(x).numpy(), f, rtol=1e-9, atol=1e-12)
    output = f @ weights["W_dec"] + weights["b_dec"]
    np.testing.assert_allclose(made.decode(made.encode(x)).numpy(), output, rtol=1e-9)
    read = load_dictionary(tmp_path / "it")  # and the reader of such folders agrees
    torch.testing.assert_close(read.encode(x), made.encode(x), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(read.decode(read.encode(x), x), made.decode(made.encode(x)))
    assert read.place.layer == 1
    names = {"topk": "topk", "transcoder": "jumprelu_transcoder"}
    assert config["architecture"] == names.get(kind, "jumprelu")
    assert (config["d_in"], config["d_sae"]) == (x.shape[1], 12)
    hooks = config["metadata"]
    if kind == "transcoder":
        assert (hooks["hook_name"], hooks["hook_name_out"]) == (
            "blocks.1.ln2.hook_normalized",
            "blocks.1.hook_mlp_out",
        )
        assert config["d_out"] == 6
    else:
        assert hooks["hook_name"] == "blocks.1.hook_mlp_out"


def test_what_is_stored_in_half_precision_is_what_is_read_back(tmp_path):
    learner, place, x, _ = trained("jumprelu")
    made = finished(place, learner.plan, learner.weights, None)
    half = made.stored_as(torch.float16)
    save_finished(made, tmp_path, "some-model", stored_as=torch.float16)
    stored = load_file(tmp_path / FILES[1])
    assert json.loads((tmp_path / FILES[0]).read_text())["dtype"] == "float32"
    for name, value in half.tensors().items():
        assert stored[name].dtype == np.float16
        np.testing.assert_array_equal(stored[name].astype(np.float32), value.numpy())
    assert not torch.equal(half.w_enc, made.w_enc.float())


def test_a_folder_that_cannot_be_written_whole_does_not_look_like_a_dictionary(
    tmp_path, monkeypatch
):
    learner, place, _, _ = trained("topk")
    made = finished(place, learner.plan, learner.weights, None)
    monkeypatch.setattr(
        "circuitkit.work.files.os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        save_finished(made, tmp_path / "it", "m", stored_as=torch.float32)
    assert list((tmp_path / "it").iterdir()) == []


def test_one_threshold_is_scaled_with_the_features():
    learner, place, _, _ = trained("batchtopk")
    made = finished(place, learner.plan, learner.weights, 0.5)
    assert made.threshold.unique().tolist() == [pytest.approx(0.5 * learner.weights.scale_out)]
