import pytest
import torch

from circuitkit.errors import GraphError, PromptError
from circuitkit.interventions.patching import patch_activations, patch_places
from circuitkit.interventions.recorded import Direction
from circuitkit.interventions.sites import SITES, neuron_places, site_named
from circuitkit.model import hook_points
from circuitkit.model.attention import per_head
from circuitkit.prompts.columns import all_positions, at_position, at_role, by_position
from circuitkit.prompts.tokenization import tokenize_pairs
from tests.conftest import random_pairs
from tests.families import make_family, make_native


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {name: make_family(name, tmp_path_factory.mktemp(name)) for name in ("gemma-2", "gpt-j")}


def literal_effect(model, pair, metric, place, pos, noising):
    """Patch one place at one position of one unpadded pair, in whole runs."""
    pairs = tokenize_pairs([pair])
    base, donor = pairs.clean_batch, pairs.corrupted_batch
    if not noising:
        base, donor = donor, base
    n_heads = model.graph.n_heads
    kept = {}

    def wide(x):
        return per_head(x, n_heads) if place.point.site in ("k", "v") else x

    def put(x):
        out, other = wide(x).clone(), wide(kept["x"])
        index = [slice(None)] * out.ndim
        index[place.pos_axis] = pos
        if place.units:
            index[place.axis] = list(place.units)
        out[tuple(index)] = other[tuple(index)]
        return out

    with torch.no_grad():
        model.run(donor, {place.point: lambda x: kept.update(x=x.clone())})
        plain = metric.values(model.run(base), pairs.labels)
        patched = metric.values(model.run(base, {place.point: put}), pairs.labels)
    return float(plain - patched if noising else patched - plain)


@pytest.mark.parametrize(
    "direction",
    [
        Direction.NOISING,
        pytest.param(Direction.DENOISING, marks=pytest.mark.without_shapes),
    ],
)
@pytest.mark.parametrize("name", ["gemma-2", "gpt-j"])
@pytest.mark.parametrize("site", [site.name for site in SITES])
def test_every_site_patches_what_it_names(models, metric, name, site, direction):
    model = models[name]
    if site == "resid-mid" and name == "gpt-j":
        with pytest.raises(GraphError, match="parallel blocks, where nothing lies between"):
            site_named(site).places(model)
        return
    raw = random_pairs(2)
    pairs = tokenize_pairs(raw)
    sweep = patch_activations(
        model, pairs, site_named(site), by_position(pairs), metric=metric, direction=direction
    )
    places = site_named(site).places(model)
    assert sweep.rows == tuple(place.name for place in places)
    for row in (0, len(places) // 2, len(places) - 1):
        for i, pair in enumerate(raw):
            for pos in (2, 6):
                noising = direction is Direction.NOISING
                slow = literal_effect(model, pair, metric, places[row], pos, noising)
                assert float(sweep.effects[row, pos, i]) == pytest.approx(slow, abs=1e-9)
    assert sweep.effects.abs().max() > 1e-3


def test_rows_are_named_by_what_they_are(toy):
    first = {site.name: site.places(toy)[0].name for site in SITES}
    assert first == {
        "resid": "resid 0",
        "resid-mid": "mid 0",
        "resid-post": "post 0",
        "attn": "attn 0",
        "mlp": "m0",
        "heads": "a0.h0",
        "z": "a0.h0<z>",
        "q": "a0.h0<q>",
        "k": "a0.h0<k>",
        "v": "a0.h0<v>",
        "pattern": "a0.h0<pattern>",
        "neurons": "neurons 0",
    }


def test_patching_z_and_the_head_differ_behind_a_norm_only(models, toy, pairs, metric):
    for model, differs in ((models["gemma-2"], True), (toy, False)):
        z, heads = (
            patch_activations(
                model, pairs, site_named(site), all_positions(pairs), metric=metric
            ).effects
            for site in ("z", "heads")
        )
        assert ((z - heads).abs().max() > 1e-3) == differs


def test_all_neurons_of_a_layer_are_the_mlp(toy, pairs, metric):
    neurons, mlps = (
        patch_activations(toy, pairs, site_named(site), all_positions(pairs), metric=metric).effects
        for site in ("neurons", "mlp")
    )
    torch.testing.assert_close(neurons, mlps)


def test_single_neurons_can_be_patched(toy, pairs, metric):
    places = neuron_places(2, range(48))
    single = patch_places(toy, pairs, places, all_positions(pairs), metric=metric)
    assert single.rows[17] == "m2.n17"
    assert single.effects.abs().max() > 1e-4
    last = hook_points.neurons(2)
    kept = {}
    toy.run(pairs.corrupted_batch, {last: lambda x: kept.update(x=x.clone())})

    def put(x):
        return torch.cat((x[..., :17], kept["x"][..., 17:18], x[..., 18:]), -1)

    plain = metric.values(toy.run(pairs.clean_batch), pairs.labels)
    patched = metric.values(toy.run(pairs.clean_batch, {last: put}), pairs.labels)
    torch.testing.assert_close(single.effects[17, 0], (plain - patched).detach())


def test_sites_that_a_model_lacks_are_refused(pairs, metric):
    model = make_native("native-attention-only")
    for site in ("mlp", "neurons"):
        with pytest.raises(GraphError, match="an attention-only model"):
            patch_activations(model, pairs, site_named(site), all_positions(pairs), metric=metric)


def test_positions_outside_the_prompts_are_refused(pairs):
    with pytest.raises(PromptError, match="from 0 to 8 in these prompts, got 9"):
        at_position(pairs, 9)
    with pytest.raises(PromptError, match="one of A, B, END, got 'S1'"):
        at_role(pairs, "S1")
