"""Trying a dictionary on a model: every number held against one computed otherwise."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from circuitkit.dictionaries import trial as trial_module
from circuitkit.dictionaries.dictionary import SITES, Activation, Dictionary, Place
from circuitkit.dictionaries.trial import try_dictionary
from circuitkit.errors import DictionaryError
from circuitkit.model import hook_points
from circuitkit.model.norms import identity
from circuitkit.prompts.tokenization import tokenize_pairs
from tests.conftest import random_pairs

D = 20
LAYER = 1


def signs(place=None, **changes):
    """A dictionary that gives back what it reads: a feature for each sign of each coordinate."""
    eye = torch.eye(D, dtype=torch.float64)
    made = Dictionary(
        kind="standard",
        w_enc=torch.cat([eye, -eye], 1),
        b_enc=torch.zeros(2 * D, dtype=torch.float64),
        w_dec=torch.cat([eye, -eye]),
        b_dec=torch.zeros(D, dtype=torch.float64),
        place=place or Place(LAYER, "resid post", "resid post", "blocks.1.hook_resid_post"),
    )
    return replace(made, **changes)


def at(site):
    return Place(LAYER, site, site, f"some.{site}")


def fitted(toy, pairs):
    """A skip transcoder of the MLP: nine tenths of the best affine map from behind its norm."""
    x, y = seen(toy, pairs, hook_points.mlp_in), seen(toy, pairs, hook_points.mlp_out)
    x = toy.layers[LAYER].mlp.norm(x)
    wide = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    found = 0.9 * torch.linalg.lstsq(wide, y, driver="gelsd").solution
    zeros = torch.zeros(D, 3, dtype=torch.float64)
    return signs(
        Place(LAYER, "mlp normed", "mlp out"),
        kind="skip_transcoder",
        w_enc=zeros,
        b_enc=zeros[0],
        w_dec=zeros.T,
        b_dec=found[-1],
        w_skip=found[:-1].T,
    )


def seen(toy, pairs, point):
    """What stands at a hook point of the layer, at the real tokens."""
    kept = []
    toy.run(pairs.clean_batch, {point(LAYER): lambda x: kept.append(x)})
    return kept[0].detach()[pairs.mask]


def loss_with(toy, pairs, hooks):
    with torch.no_grad():
        logits = toy.run(pairs.clean_batch, hooks)
    answers = pairs.labels.answers[:, 0]
    return float(torch.nn.functional.cross_entropy(logits, answers))


def agree(one, other):
    numbers = [
        {k: v for k, v in trial.as_dict().items() if isinstance(v, int | float)}
        for trial in (one, other)
    ]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-9)
    assert len(numbers[0]) >= 10


def share_explained(y, found):
    return 1 - float((y - found).pow(2).sum() / (y - y.mean(0)).pow(2).sum())


def refused(dictionary, model, pairs, says, **options):
    with pytest.raises(DictionaryError, match=says):
        try_dictionary(dictionary, model, pairs, **options)


def test_every_number_of_a_trial_is_that_of_its_formula(toy, pairs):
    faint = signs(b_enc=torch.full((2 * D,), -1.5, dtype=torch.float64))
    faint = replace(faint, w_enc=torch.cat([faint.w_enc[:, :-3], 0 * faint.w_enc[:, -3:]], 1))
    x = seen(toy, pairs, hook_points.resid_post)
    features = faint.encode(x)
    found = try_dictionary(faint, toy, pairs)
    assert found.explained_variance == pytest.approx(
        share_explained(x, faint.decode(features, x)), rel=1e-9
    )
    assert 0 < found.explained_variance < 0.99
    assert found.l0 == pytest.approx(float((features > 0).sum(1).double().mean()), rel=1e-12)
    assert found.dead_share == pytest.approx(float((features == 0).all(0).double().mean()))
    assert found.dead_share >= 3 / (2 * D)
    assert (found.n_tokens, found.n_bos, found.n_prompts) == (48, 0, 6)
    point = hook_points.resid_post(LAYER)
    both = {
        "loss": {},
        "loss_with_reconstruction": {point: lambda x: faint.decode(faint.encode(x), x)},
        "loss_with_zero": {point: torch.zeros_like},
    }
    for name, hooks in both.items():
        assert getattr(found, name) == pytest.approx(loss_with(toy, pairs, hooks), rel=1e-9), name
    lost = found.loss_with_zero - found.loss
    saved = found.loss_with_zero - found.loss_with_reconstruction
    assert found.loss_recovered == (pytest.approx(saved / lost) if lost > 0 else None)


def test_a_trial_is_the_same_however_few_prompts_run_at_once(toy, pairs, monkeypatch):
    faint = signs(b_enc=torch.full((2 * D,), -1.5, dtype=torch.float64))
    whole = try_dictionary(faint, toy, pairs)
    monkeypatch.setattr(trial_module, "MAX_NUMBERS", 4 * 9 * 2 * D)
    agree(try_dictionary(faint, toy, pairs), whole)


@pytest.mark.parametrize("site", SITES)
def test_a_dictionary_that_gives_back_what_it_reads_changes_no_loss_at_any_place(site, toy, pairs):
    found = try_dictionary(signs(at(site)), toy, pairs)
    assert found.explained_variance == pytest.approx(1)
    assert found.loss_with_reconstruction == pytest.approx(found.loss, abs=1e-9)
    assert abs(found.loss_with_zero - found.loss) > 1e-3
    assert found.l0 == pytest.approx(D)
    assert (found.reads, found.writes, found.layer) == (site, site, LAYER)


def mlp_of(toy, normed):
    mlp = toy.layers[LAYER].mlp
    return replace(mlp, norm=identity(D, normed))(normed)


ZEROS = {
    "z": (hook_points.z, lambda toy, x: 0 * x),
    "attn out": (hook_points.attn_out, lambda toy, x: 0 * x),
    "mlp normed": (hook_points.mlp_out, lambda toy, x: mlp_of(toy, 0 * x)),
    "mlp scaled": (
        hook_points.mlp_out,
        lambda toy, x: mlp_of(toy, toy.layers[LAYER].mlp.norm.bias.expand_as(x)),
    ),
}


@pytest.mark.parametrize("site", ZEROS)
def test_zero_ablation_puts_zeros_at_the_place_that_is_written(site, toy, pairs):
    point, zero = ZEROS[site]
    expected = loss_with(toy, pairs, {point(LAYER): lambda x: zero(toy, x)})
    found = try_dictionary(signs(at(site)), toy, pairs)
    assert found.loss_with_zero == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("site", ["mlp normed", "mlp scaled"])
def test_what_is_read_of_an_mlp_is_behind_its_norm_with_or_without_weights(site, toy, pairs):
    x, norm = seen(toy, pairs, hook_points.mlp_in), toy.layers[LAYER].mlp.norm
    x = norm(x) if site == "mlp normed" else norm.x_hat(x)
    faint = signs(at(site), b_enc=torch.full((2 * D,), -0.3, dtype=torch.float64))
    expected = share_explained(x, faint.decode(faint.encode(x), x))
    found = try_dictionary(faint, toy, pairs).explained_variance
    assert found == pytest.approx(expected, rel=1e-9)
    assert found < 0.99


def test_a_transcoder_is_held_against_what_the_mlp_writes(toy, pairs):
    transcoder = fitted(toy, pairs)
    x, y = seen(toy, pairs, hook_points.mlp_in), seen(toy, pairs, hook_points.mlp_out)
    x = toy.layers[LAYER].mlp.norm(x)
    found = try_dictionary(transcoder, toy, pairs)
    expected = share_explained(y, x @ transcoder.w_skip.T + transcoder.b_dec)
    assert found.explained_variance == pytest.approx(expected, rel=1e-9)
    assert (found.reads, found.writes) == ("mlp normed", "mlp out")
    kept = []
    hooks = {
        hook_points.mlp_in(LAYER): lambda x: kept.append(toy.layers[LAYER].mlp.norm(x)),
        hook_points.mlp_out(LAYER): lambda x: kept[0] @ transcoder.w_skip.T + transcoder.b_dec,
    }
    expected = loss_with(toy, pairs, hooks)
    assert found.loss_with_reconstruction == pytest.approx(expected, rel=1e-9)
    assert found.loss_with_zero == pytest.approx(
        loss_with(toy, pairs, {hook_points.mlp_out(LAYER): torch.zeros_like}), rel=1e-9
    )


def test_padding_is_neither_counted_nor_replaced(toy):
    raw = random_pairs(6)
    faint = signs(b_enc=torch.full((2 * D,), -1.5, dtype=torch.float64))
    sides = [
        try_dictionary(faint, toy, tokenize_pairs(raw, padding_side=side))
        for side in ("left", "right")
    ]
    agree(*sides)


def test_a_token_that_begins_a_sequence_counts_only_on_request(toy):
    raw = [
        replace(pair, clean=[5, *pair.clean[1:]], corrupted=[5, *pair.corrupted[1:]])
        for pair in random_pairs(6)
    ]
    raw[0] = replace(raw[0], clean=[5, 5, *raw[0].clean[2:]])  # the second one is no beginning
    pairs = tokenize_pairs(raw)
    reads = replace(toy, tokenizer=SimpleNamespace(bos_token_id=5))
    faint = signs(b_enc=torch.full((2 * D,), -1.5, dtype=torch.float64))
    found = try_dictionary(faint, reads, pairs)
    assert (found.n_tokens, found.n_bos) == (42, 6)
    first = pairs.mask & (pairs.mask.long().cumsum(1) == 1)
    point = hook_points.resid_post(LAYER)
    kept = loss_with(toy, pairs, {point: lambda x: torch.where(first.unsqueeze(-1), x, 0.0)})
    assert found.loss_with_zero == pytest.approx(kept, rel=1e-9)
    whole = try_dictionary(faint, reads, pairs, with_bos=True)
    assert (whole.n_tokens, whole.n_bos) == (48, 0)
    assert whole.explained_variance != pytest.approx(found.explained_variance, rel=1e-6)


def test_loss_recovered_is_not_said_where_zeros_do_no_harm(toy, pairs):
    found = try_dictionary(signs(), toy, pairs)
    harmless = replace(found, loss=2.0, loss_with_zero=1.5)
    assert harmless.loss_recovered is None
    assert harmless.as_dict()["loss_recovered"] is None
    harmful = replace(found, loss=1.0, loss_with_zero=3.0, loss_with_reconstruction=1.5)
    assert harmful.loss_recovered == 0.75


def test_a_place_that_no_file_names_can_be_said(toy, pairs):
    lost = signs(Place(hook="model.somewhere"))
    refused(lost, toy, pairs, r"its layer must be known, got hook 'model\.somewhere'.*--layer N")
    refused(lost, toy, pairs, "its place must be one of .* --site NAME", layer=LAYER)
    refused(signs(), toy, pairs, "its place must be one of .* got 'resid'", site="resid")
    found = try_dictionary(lost, toy, pairs, layer=LAYER, site="attn out")
    assert found == try_dictionary(signs(at("attn out")), toy, pairs)
    transcoder = fitted(toy, pairs)
    nowhere = replace(transcoder, place=Place())
    found = try_dictionary(nowhere, toy, pairs, layer=LAYER, site="mlp normed")
    assert found == try_dictionary(transcoder, toy, pairs)


def test_what_does_not_fit_the_model_is_refused_before_it_runs(toy, pairs, monkeypatch):
    monkeypatch.setattr(type(toy), "run", None)
    refused(signs(), toy, pairs, "its layer must be from 0 to 2 in model .* got 7", layer=7)
    refused(signs(), toy, pairs, "its layer must be from 0 to 2 .* got -1", layer=-1)
    narrow = signs(w_enc=torch.zeros(D - 1, 2 * D))
    refused(narrow, toy, pairs, "what is read at resid post must be 20 wide .* got 19")
    narrow = signs(w_dec=torch.zeros(2 * D, D + 1))
    refused(narrow, toy, pairs, "what is written at resid post must be 20 wide .* got 21")
    cross = signs(kind="cross_layer_transcoder")
    refused(cross, toy, pairs, "at its own layer alone")
    late = signs(Place(LAYER, "resid post", "mlp out"), kind="transcoder")
    refused(late, toy, pairs, "must read before it writes, got resid post and mlp out")


def without(model, **changes):
    """The same model with something changed of the layer."""
    layers = list(model.layers)
    layers[LAYER] = replace(layers[LAYER], **changes)
    return model.computing_with(tuple(layers), model.final_norm)


def test_a_place_that_the_layer_lacks_is_refused(toy, pairs):
    transcoder = signs(Place(LAYER, "mlp normed", "mlp out"), kind="transcoder")
    refused(transcoder, without(toy, mlp=None), pairs, "mlp normed and mlp out .* got no MLP")
    refused(signs(at("mlp out")), without(toy, mlp=None), pairs, "got no MLP there")
    side_by_side = without(toy, is_parallel=True)
    refused(signs(at("resid mid")), side_by_side, pairs, "nothing between them")
    layers = (*toy.layers[:-1], replace(toy.layers[-1], unit_behind=2.0))
    refused(signs(), toy.computing_with(layers, toy.final_norm), pairs, "in another unit")
    attention = SimpleNamespace(is_opaque=True)
    refused(signs(at("z")), without(toy, attention=attention), pairs, "got no heads there")


def test_a_dictionary_that_is_no_better_than_the_mean_is_refused(toy, pairs):
    x = seen(toy, pairs, hook_points.resid_post)
    silent = signs(w_enc=torch.zeros(D, 2 * D, dtype=torch.float64), b_dec=x.mean(0) + 1e-6)
    refused(silent, toy, pairs, "no better than the mean: it belongs to another model, layer or")
    broken = signs(b_dec=torch.full((D,), torch.nan, dtype=torch.float64))
    refused(broken, toy, pairs, "got nan")


def test_prompts_that_only_begin_a_sequence_leave_nothing_to_try(toy):
    pairs = tokenize_pairs(
        [replace(p, clean=[5], corrupted=[5], roles={}) for p in random_pairs(1)]
    )
    reads = replace(toy, tokenizer=SimpleNamespace(bos_token_id=5))
    refused(signs(), reads, pairs, "at least one token must be read")


def test_features_that_keep_negative_values_are_active_where_they_are_not_zero(toy, pairs):
    below_all = torch.full((D,), -1e9, dtype=torch.float64)
    eye = torch.eye(D, dtype=torch.float64)
    keeps = Activation("jumprelu", below_all, is_rectified=False)
    both = signs(activation=keeps, w_enc=eye, w_dec=eye, b_enc=0 * eye[0])
    assert try_dictionary(both, toy, pairs).l0 == pytest.approx(D)


def test_a_trial_needs_no_type_of_the_dictionary(toy, pairs):
    single = signs().to(torch.float32)
    assert try_dictionary(single, toy, pairs) == try_dictionary(signs(), toy, pairs)
