"""What a dictionary reads and writes, at which tokens, and where it cannot be trained."""

import pytest
import torch

from circuitkit.dictionaries.training.places import (
    places_named,
    read_places,
    trained_positions,
)
from circuitkit.dictionaries.training.prompts import batch_of
from circuitkit.errors import MethodError
from circuitkit.model import hook_points
from circuitkit.model.forward import Start, run_layers

PROMPTS = [[0, 5, 9, 11, 20], [0, 7, 8], [0, 30, 31, 32]]


def test_the_first_token_of_every_prompt_and_padding_are_left_out_or_padding_alone():
    batch = batch_of(PROMPTS)
    content = trained_positions(batch, "content")
    assert content.int().tolist() == [[0, 1, 1, 1, 1], [0, 0, 0, 1, 1], [0, 0, 1, 1, 1]]
    assert trained_positions(batch, "all").sum(1).tolist() == [5, 3, 4]
    assert batch.tokens[content].tolist() == [5, 9, 11, 20, 7, 8, 30, 31, 32]


def test_activations_are_those_of_the_models_own_run(pico):
    batch = batch_of(PROMPTS)
    kept = {}
    points = [hook_points.mlp_out(1), hook_points.attn_out(0), hook_points.resid_post(2)]
    hooks = {point: lambda x, p=point: kept.__setitem__(p, x) for point in points}
    with torch.no_grad():
        entering, context = pico.prepare(batch)
        run_layers(pico.layers, context.layers, entering, Start(), hooks=hooks)
    places = places_named("m1,a0,r2", pico, reads_mlp_input=False)
    found = read_places(pico, batch, places, "all")
    for place, point in zip(places, points, strict=True):
        x, y = found[place.name]
        assert x is y
        assert torch.equal(y, kept[point][batch.mask])


def test_padding_changes_no_activation_of_a_prompt(pico):
    places = places_named("m2", pico, reads_mlp_input=False)
    together = read_places(pico, batch_of(PROMPTS), places, "all")["m2"][1]
    alone = [read_places(pico, batch_of([p]), places, "all")["m2"][1] for p in PROMPTS]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_what_a_transcoder_reads_is_all_that_the_mlp_makes_its_output_of(pico):
    places = places_named("mlps", pico, reads_mlp_input=True)
    assert [place.name for place in places] == ["m0", "m1", "m2", "m3"]
    found = read_places(pico, batch_of(PROMPTS), places, "content")
    for place in places:
        x, y = found[place.name]
        mlp = pico.layers[place.layer].mlp
        with torch.no_grad():
            expected = mlp.module((x * mlp.norm.weight + mlp.norm.bias).unsqueeze(1)).squeeze(1)
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
        assert x.mean(1).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["m4", "x0", "m", "", "m0.5", "m-1", "m00000", "mlp0", "[b]"])
def test_a_place_that_the_model_does_not_have_is_refused(pico, name):
    with pytest.raises(MethodError, match="--at: must be m, a or r and a layer from 0 to 3"):
        places_named(name, pico, reads_mlp_input=False)


def test_a_transcoder_is_of_an_mlp(pico):
    with pytest.raises(MethodError, match="--at: must be an MLP for a transcoder, got a1"):
        places_named("m0,a1", pico, reads_mlp_input=True)
