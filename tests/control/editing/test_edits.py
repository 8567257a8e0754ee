"""Edits of a random model in float64: what each formula promises, undoing, and what is refused."""

from dataclasses import replace

import pytest
import torch

from circuitkit.control.editing.edit import Edits, edit_of
from circuitkit.control.editing.facts import Fact, fact_named, read_facts
from circuitkit.control.editing.fine_tuning import FineTuning, edit_by_fine_tuning
from circuitkit.control.editing.methods import Recipe, edit_fact, layers_changed
from circuitkit.control.editing.projection import keys_of, projection_of
from circuitkit.control.editing.rank_one import associate, edit_rank_one, rank_one_change
from circuitkit.control.editing.second_moment import (
    SecondMoment,
    kept_second_moments,
    load_second_moment,
    measure_second_moments,
)
from circuitkit.control.editing.several_layers import (
    Spread,
    edit_over_layers,
    free_directions,
    solved,
)
from circuitkit.control.editing.value import Descent, require_within_clamp
from circuitkit.dictionaries.training.prompts import DrawnPrompts
from circuitkit.errors import AnswerError, MethodError, PromptError
from circuitkit.model import hook_points
from circuitkit.zoo import load_model
from circuitkit.zoo.pico.tokenizer import build_tokenizer
from circuitkit.zoo.pico.train_dictionaries import pico_prompts
from tests.conftest import VOCAB

FACT = Fact((4, 9, 17, 2), (1, 3), 11, 5)
OTHER = Fact((6, 21, 3), (1, 2), 8, 30)
FEW = Descent(steps=3, learning_rate=0.05)
TEXTS = DrawnPrompts(lambda rng: [rng.randrange(VOCAB) for _ in range(12)], "random ids")
LAYER = 1


@pytest.fixture(scope="module")
def moments(toy):
    return measure_second_moments(toy, range(3), TEXTS, n_tokens=1500)


@pytest.fixture(scope="module")
def found(toy):
    return associate(toy, FACT, LAYER, descent=FEW, seed=0)


def weights_of(model):
    return {name: w.detach().clone() for name, w in model.bridge.original_model.named_parameters()}


def edited_values(edit, model, key):
    projection = projection_of(edit.made(model), LAYER)
    return projection.values(key)


def test_r_rome_maps_the_mean_key_to_its_value(toy, moments, found):
    edit = edit_rank_one(toy, FACT, moments[LAYER], descent=FEW)
    gap = edited_values(edit, toy, found.mean_key) - found.value
    assert float(gap.abs().max()) < 1e-10
    assert float((edited_values(edit, toy, found.bare_key) - found.value).abs().max()) > 1e-3


def test_rome_maps_the_bare_key_to_its_value(toy, moments, found):
    edit = edit_rank_one(toy, FACT, moments[LAYER], descent=FEW, form="rome")
    assert float((edited_values(edit, toy, found.bare_key) - found.value).abs().max()) < 1e-10
    assert float((edited_values(edit, toy, found.mean_key) - found.value).abs().max()) > 1e-3


def test_the_direction_of_an_edit_disturbs_keys_of_the_text_least(toy, moments, found):
    own = rank_one_change(projection_of(toy, LAYER), found, moments[LAYER], form="r-rome")
    flat = replace(moments[LAYER], matrix=torch.eye(48, dtype=torch.float64))
    plain = rank_one_change(projection_of(toy, LAYER), found, flat, form="r-rome")
    disturbance = [float((d.T @ moments[LAYER].matrix @ d).trace()) for d in (own, plain)]
    assert disturbance[0] < disturbance[1] / 2


def test_a_fact_of_pico_is_edited():
    pico = load_model("pico")
    moment = measure_second_moments(pico, (0,), pico_prompts(), n_tokens=5000)[0]
    fact = fact_named("The capital of France is", "France", " Rome", " Paris")
    edit = edit_rank_one(pico, fact, moment)
    assert edit.losses[-1] < edit.losses[0] / 4
    pairs = read_facts([fact], pico.tokenizer)
    target, true = int(pairs.labels.answers), int(pairs.labels.wrong_answers)
    before, after = (m.run(pairs.clean_batch).detach()[0] for m in (pico, edit.made(pico)))
    assert float(before[true]) > float(before[target])
    assert float(after[target]) > float(after[true])


def test_an_edit_changes_one_matrix_and_dropping_it_is_exact(toy, moments):
    before, batch = weights_of(toy), read_facts([FACT, OTHER], None).clean_batch
    logits = toy.run(batch)
    edit = edit_rank_one(toy, FACT, moments[LAYER], descent=FEW)
    made = edit.made(toy)
    after = weights_of(made)
    name = f"transformer.h.{LAYER}.mlp.c_proj.weight"
    assert list(edit.weights) == [name]
    changed = {n for n in before if not torch.equal(before[n], after[n])}
    assert {n.replace("_original_component.", "") for n in changed} == {name}
    assert all(torch.equal(w, weights_of(toy)[n]) for n, w in before.items())
    assert torch.equal(toy.run(batch), logits)
    assert not torch.equal(made.run(batch), logits)


def test_edits_in_turn_are_each_made_in_what_the_last_one_left(toy, moments):
    first = edit_by_fine_tuning(toy, FACT, LAYER, FineTuning(steps=2))
    middle = first.made(toy)
    second = edit_by_fine_tuning(middle, OTHER, LAYER, FineTuning(steps=2))
    both = Edits("both", (first, second)).made(toy)
    assert both.digest == second.made(middle).digest
    assert both.digest != second.model
    with pytest.raises(MethodError, match="must be made in the model that it was found in"):
        second.made(toy)


def test_memit_solves_its_normal_equations(moments):
    generator = torch.Generator().manual_seed(1)
    keys = torch.randn(3, 48, generator=generator, dtype=torch.float64)
    wanted = torch.randn(3, 20, generator=generator, dtype=torch.float64)
    change = solved(keys, wanted, moments[LAYER], Spread((LAYER,), weight=0.5))
    left = 0.5 * moments[LAYER].matrix @ change + keys.T @ (keys @ change)
    assert torch.allclose(left, keys.T @ wanted, rtol=0, atol=1e-10)


def test_memit_reaches_the_wanted_stream_over_its_layers(toy, moments):
    spread = Spread((0, 1), weight=1e-6)
    edit = edit_over_layers(toy, [FACT, OTHER], moments, spread, descent=FEW)
    assert sorted(edit.growth) == [0, 1]
    batch = read_facts([FACT], None).clean_batch
    target = edit_over_layers(toy, [FACT, OTHER], moments, Spread((1,), weight=1e-6), descent=FEW)
    streams = [stream(m, batch) for m in (toy, edit.made(toy), target.made(toy))]
    moved = (streams[1] - streams[0]).norm()
    assert float(moved) > 0.1
    assert float((streams[1] - streams[2]).norm()) < 0.7 * float(moved)


def stream(model, batch):
    kept = []
    with torch.no_grad():
        model.run(batch, {hook_points.resid_post(1): kept.append})
    return kept[0][0, 2]


def test_alphaedit_leaves_outputs_of_preserved_keys_where_they_were(toy, moments):
    generator = torch.Generator().manual_seed(2)
    preserved = torch.randn(20, 48, generator=generator, dtype=torch.float64)
    moment = SecondMoment(preserved.T @ preserved / 20, LAYER, 20, toy.digest, "twenty keys")
    spread = Spread((LAYER,), "alphaedit", free_share=1e-9, ridge=1e-3)
    edit = edit_over_layers(toy, [FACT], {LAYER: moment}, spread, descent=FEW)
    own, new = (projection_of(m, LAYER) for m in (toy, edit.made(toy)))
    assert float((new.values(preserved) - own.values(preserved)).abs().max()) < 1e-9
    keys = keys_of(toy, read_facts([FACT], None).clean_batch, (LAYER,))[0][0, 2]
    assert float((new.values(keys) - own.values(keys)).norm()) > 0.1


def test_alphaedit_spares_earlier_edits_too(toy, moments):
    generator = torch.Generator().manual_seed(3)
    keys = torch.randn(1, 48, generator=generator, dtype=torch.float64)
    earlier = keys + 0.1 * torch.randn(1, 48, generator=generator, dtype=torch.float64)
    wanted, spread = (
        torch.ones(1, 20, dtype=torch.float64),
        Spread((1,), "alphaedit", free_share=0.5),
    )
    alone = solved(keys, wanted, moments[LAYER], spread)
    beside = solved(keys, wanted, moments[LAYER], spread, earlier)
    assert float((earlier @ beside).norm()) < float((earlier @ alone).norm())


def test_free_directions_hold_at_most_their_share_of_the_second_moment(moments):
    free = free_directions(moments[LAYER], 0.05)
    held = (free.T @ moments[LAYER].matrix @ free).trace() / moments[LAYER].matrix.trace()
    assert 0 < float(held) <= 0.05
    with pytest.raises(MethodError, match="some direction must hold at most"):
        free_directions(moments[LAYER], 1e-12)


def test_fine_tuning_lowers_the_loss_within_its_bound(toy):
    plan = FineTuning(steps=5, learning_rate=0.01, largest=0.02)
    edit = edit_by_fine_tuning(toy, FACT, LAYER, plan)
    assert edit.losses[-1] < edit.losses[0]
    name = next(iter(edit.weights))
    change = edit.weights[name] - projection_of(toy, LAYER).weight
    assert float(change.abs().max()) == pytest.approx(0.02)


def test_second_moments_are_means_of_outer_products_over_all_tokens(toy):
    found = measure_second_moments(toy, (2,), TEXTS, n_tokens=1)[2]
    keys = []
    for prompt in TEXTS.of_step(0, 64):
        fact = Fact(tuple(prompt), (0, 1), 1, 2)
        keys.append(keys_of(toy, read_facts([fact], None).clean_batch, (2,))[0][0])
    rows = torch.cat(keys)
    assert found.n_tokens == len(rows) == 64 * 12
    assert torch.allclose(found.matrix, rows.T @ rows / len(rows), rtol=0, atol=1e-10)


def test_kept_second_moments_are_read_again_and_refused_for_others(toy, tmp_path, monkeypatch):
    made = kept_second_moments(toy, (0,), TEXTS, tmp_path, n_tokens=700)[0]
    path = next(tmp_path.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(
            "circuitkit.control.editing.second_moment.measure_second_moments", None
        )  # would fail if called
        again = kept_second_moments(toy, (0,), TEXTS, tmp_path, n_tokens=700)[0]
    assert torch.equal(made.matrix, again.matrix)
    other = edit_by_fine_tuning(toy, FACT, 0, FineTuning(steps=1)).made(toy)
    with pytest.raises(MethodError, match="must be of this model and layer"):
        load_second_moment(path, other, 0, TEXTS.digest)
    with pytest.raises(MethodError, match="must be of the text"):
        load_second_moment(path, toy, 0, "another")
    path.write_bytes(b"no tensors")
    with pytest.raises(MethodError, match="must be a file that `save_second_moment` wrote"):
        load_second_moment(path, toy, 0, TEXTS.digest)


def test_statistics_of_another_model_or_layer_are_refused(toy, moments):
    with pytest.raises(MethodError, match="must be of this model and layer"):
        edit_rank_one(toy, FACT, replace(moments[LAYER], model="b3-0"), descent=FEW)
    with pytest.raises(MethodError, match="must be of this model and layer"):
        edit_over_layers(toy, [FACT], {LAYER: moments[0]}, Spread((LAYER,)), descent=FEW)


def test_too_little_text_for_an_inverse_is_refused(toy, moments):
    few = replace(moments[LAYER], matrix=torch.zeros(48, 48, dtype=torch.float64))
    with pytest.raises(MethodError, match="must have an inverse"):
        edit_rank_one(toy, FACT, few, descent=FEW)


def test_changes_beyond_their_clamps_are_refused(toy):
    with pytest.raises(MethodError, match="at most 4 norms from what is written unedited, got 5"):
        require_within_clamp(torch.ones(3) * 5, torch.ones(3), 4.0)
    own = projection_of(toy, LAYER).weight
    with pytest.raises(MethodError, match="must change by at most 10 norms of itself, got 11"):
        edit_of(toy, "rome", [FACT], {LAYER: 11 * own})


def test_a_value_never_leaves_its_clamp(toy):
    found = associate(toy, FACT, LAYER, descent=Descent(steps=6, clamp=0.1), seed=0)
    share = (found.value - found.written).norm() / found.written.norm()
    assert float(share) == pytest.approx(0.1)


@pytest.mark.parametrize("layer", [-1, 3])
def test_a_layer_that_is_not_there_is_refused(toy, layer):
    with pytest.raises(MethodError, match="the layer must be from 0 to 2"):
        edit_by_fine_tuning(toy, FACT, layer)


def test_subjects_and_targets_that_cannot_be_edited_are_refused():
    with pytest.raises(PromptError, match="the prompt must contain the subject, got 'Spain'"):
        fact_named("The capital of France is", "Spain", " Rome", " Paris")
    with pytest.raises(PromptError, match="the subject must be a span of the prompt"):
        Fact((1, 2), (1, 3), 4, 5)
    with pytest.raises(AnswerError, match="must be another answer than the true one"):
        Fact((1, 2), (0, 1), 4, 4)
    several = fact_named("The capital of France is", "France", " Rome Paris", " Paris")
    with pytest.raises(AnswerError, match="the target must be one token, got .* of 2"):
        read_facts([several], build_tokenizer())


def test_every_method_has_a_name_that_makes_it(toy, moments):
    with pytest.raises(MethodError, match="--method: must be one of r-rome, rome, memit"):
        Recipe("grace")
    assert layers_changed("memit", 7) == (3, 4, 5, 6, 7)
    assert layers_changed("rome", 7) == (7,)
    for method in ("r-rome", "rome", "memit", "alphaedit", "fine-tuning"):
        edit = edit_fact(toy, FACT, LAYER, moments, Recipe(method, FEW, FineTuning(steps=1)))
        assert edit.method == method
        assert sorted(edit.growth) == list(layers_changed(method, LAYER))


def test_settings_that_find_nothing_are_refused():
    for wrong in ({"steps": 0}, {"learning_rate": 0.0}, {"clamp": float("nan")}):
        with pytest.raises(MethodError, match="No value would be found"):
            Descent(**wrong)
    with pytest.raises(MethodError, match="layers must be one or more, the first first"):
        Spread((2, 1))
    with pytest.raises(MethodError, match="weight must be above 0"):
        Spread((1,), weight=0.0)
