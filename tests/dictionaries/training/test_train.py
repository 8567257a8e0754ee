"""Training on a model: the same again to the bit, from the beginning or from where it was cut."""

import hashlib
from dataclasses import replace

import pytest
import torch

from circuitkit.dictionaries.training import train as training_module
from circuitkit.dictionaries.training.finished import save_finished
from circuitkit.dictionaries.training.kept_steps import kept_steps
from circuitkit.dictionaries.training.places import places_named
from circuitkit.dictionaries.training.plan import Plan
from circuitkit.dictionaries.training.train import THRESHOLD_STEPS, Training, train
from circuitkit.errors import CheckpointError, MethodError

PLAN = Plan("batchtopk", n_features=24, k=3, steps=6, prompts_per_step=2, warmup=2, dead_after=60)


def training(pico, prompts, plan=PLAN, at="m1"):
    places = places_named(at, pico, reads_mlp_input=plan.reads_mlp_input)
    return Training(pico, places, plan, prompts)


def bytes_of(dictionary, directory):
    save_finished(dictionary, directory, "pico", stored_as=torch.float32)
    files = sorted(path for path in directory.iterdir())
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


class Cut(Exception):
    pass


@pytest.mark.parametrize("kind", ["topk", "batchtopk", "jumprelu", "transcoder"])
def test_training_that_was_cut_off_ends_in_the_same_bytes(
    kind, pico, some_prompts, tmp_path, monkeypatch
):
    monkeypatch.setattr(training_module, "SECONDS_BETWEEN", 0.0)
    what = training(pico, some_prompts, replace(PLAN, kind=kind), at="m0,m2")
    whole = train(what)
    kept = tmp_path / "kept"

    def cut_after_three(done, total):
        if done == 3:
            raise Cut

    with pytest.raises(Cut):
        train(what, checkpoint=kept, progress=cut_after_three)
    seen = []
    resumed = train(what, checkpoint=kept, progress=lambda done, total: seen.append(done))
    assert seen == [3, 4, 5, 6]
    for number, (one, other) in enumerate(zip(whole, resumed, strict=True)):
        first = bytes_of(one, tmp_path / f"whole-{number}")
        assert first == bytes_of(other, tmp_path / f"resumed-{number}")


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others(
    pico, some_prompts, tmp_path
):
    made = [
        train(training(pico, some_prompts, replace(PLAN, seed=seed, steps=2)))[0]
        for seed in (0, 0, 1)
    ]
    found = [bytes_of(one, tmp_path / str(number)) for number, one in enumerate(made)]
    assert found[0] == found[1]
    assert found[0][1] != found[2][1]


def test_places_that_are_trained_together_end_as_they_would_alone(pico, some_prompts):
    both = train(training(pico, some_prompts, replace(PLAN, steps=2), at="m0,m2"))
    alone = train(training(pico, some_prompts, replace(PLAN, steps=2), at="m2"))
    assert torch.equal(both[1].w_enc, alone[0].w_enc)
    assert not torch.equal(both[0].w_enc, alone[0].w_enc)


def test_the_threshold_of_batchtopk_is_the_mean_smallest_kept_feature_of_fresh_batches(
    pico, some_prompts
):
    what = training(pico, some_prompts)
    made = train(what)[0]
    smallest, active = [], []
    for step in range(PLAN.steps, PLAN.steps + THRESHOLD_STEPS):
        x = what.activations(step)["m1"][0]
        pre = ((x - made.b_dec) @ made.w_enc + made.b_enc).relu()
        smallest.append(float(pre.flatten().sort(descending=True).values[PLAN.k * len(x) - 1]))
        active.append(float((made.encode(x) > 0).sum(1).float().mean()))
    expected = sum(smallest) / len(smallest)
    assert made.threshold.unique().tolist() == [pytest.approx(expected, rel=1e-4)]
    assert sum(active) / len(active) == pytest.approx(PLAN.k, abs=0.5)


def test_steps_of_another_training_are_refused_with_what_differs(pico, some_prompts, tmp_path):
    kept = tmp_path / "kept"
    train(training(pico, some_prompts, replace(PLAN, steps=1)), checkpoint=kept)
    with pytest.raises(CheckpointError, match=r"same training, got plan, k: '3' there, '4' now"):
        train(training(pico, some_prompts, replace(PLAN, steps=1, k=4)), checkpoint=kept)
    with pytest.raises(CheckpointError, match="places: 'm1' there, 'm2' now"):
        train(training(pico, some_prompts, replace(PLAN, steps=1), at="m2"), checkpoint=kept)


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "folder"])
def test_a_damaged_file_of_steps_is_refused(pico, some_prompts, tmp_path, damage):
    kept, what = tmp_path / "kept", training(pico, some_prompts, replace(PLAN, steps=1))
    train(what, checkpoint=kept)
    data = bytearray(kept.read_bytes())
    kept.unlink()
    if damage == "folder":
        kept.mkdir()
    elif damage == "flipped":
        data[-5] ^= 1
        kept.write_bytes(data)
    else:
        kept.write_bytes(data[:-8] if damage == "cut" else b"words")
    with pytest.raises(CheckpointError, match="must be a file that training kept"):
        kept_steps(kept, what.identity, what.plan)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "relu"}, "--kind: must be one of topk, batchtopk, jumprelu, transcoder"),
        ({"positions": "last"}, "--positions: must be one of content, all"),
        ({"k": 25}, "k: must be at most the number of features, 24, got 25"),
        ({"k": 0}, "k: must be at least 1, got 0"),
        ({"steps": 0}, "steps: must be at least 1, got 0"),
        ({"learning_rate": float("nan")}, "learning_rate: must be above 0 and at most 1, got nan"),
    ],
)
def test_a_plan_that_trains_nothing_is_refused(change, message):
    with pytest.raises(MethodError, match=message):
        replace(PLAN, **change)
