"""Quality: dictionaries whose worth is known before anything is measured."""

from dataclasses import dataclass

import pytest
import torch

from circuitkit.dictionaries.training.places import places_named, read_places
from circuitkit.dictionaries.training.prompts import batch_of
from circuitkit.dictionaries.training.quality import measure_quality


@dataclass(frozen=True)
class By:
    """A dictionary of two functions."""

    encode: object
    decode: object


@pytest.fixture(scope="module")
def prompts(some_prompts):
    return some_prompts.of_step(0, 12)


@pytest.fixture(scope="module")
def place(pico):
    return places_named("m1", pico, reads_mlp_input=False)[0]


def test_a_dictionary_that_changes_nothing_explains_all_and_recovers_all(pico, place, prompts):
    found = measure_quality(pico, place, By(lambda x: x, lambda f: f), prompts)
    assert found.explained_variance.value == 1
    assert found.recovered_from_zeros.value == found.recovered_from_mean.value == 1
    assert found.loss_with == found.loss < found.loss_of_mean < found.loss_of_zeros
    assert found.n_tokens == 12 * 47


def test_a_dictionary_of_zeros_or_of_the_mean_recovers_nothing_of_its_own(pico, place, prompts):
    zeros = By(lambda x: torch.zeros(len(x), 5), lambda f: torch.zeros(len(f), 128))
    found = measure_quality(pico, place, zeros, prompts)
    assert found.recovered_from_zeros.value == 0
    assert found.loss_with == found.loss_of_zeros
    assert (found.l0, found.dead_share) == (0, 1)
    assert found.explained_variance.value < 0
    mean = read_places(pico, batch_of(prompts), [place], "content")["m1"][1].mean(0)
    of_mean = By(lambda x: torch.zeros(len(x), 5), lambda f: mean.expand(len(f), 128))
    found = measure_quality(pico, place, of_mean, prompts)
    assert abs(found.explained_variance.value) < 1e-6
    assert abs(found.recovered_from_mean.value) < 1e-6


def test_l0_and_dead_features_are_counted_over_all_tokens_of_all_batches(pico, place, prompts):
    def encode(x):
        on = torch.zeros(len(x), 4)
        on[:, 0] = 1
        on[0, 1] = 1  # on one token of each batch
        return on

    found = measure_quality(pico, place, By(encode, lambda f: torch.zeros(len(f), 128)), prompts)
    assert found.l0 == pytest.approx(1 + 1 / found.n_tokens)
    assert found.dead_share == 0.5


def test_the_loss_is_that_of_the_next_token_in_the_models_own_logits(pico, place, prompts):
    tokens = torch.tensor(prompts)
    with torch.no_grad():
        logits = pico.bridge.original_model(tokens).logits[:, :-1]
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    found = measure_quality(pico, place, By(lambda x: x, lambda f: f), prompts)
    assert found.loss == pytest.approx(float(expected), rel=1e-5)


def test_the_first_position_keeps_what_was_written_there(pico, place):
    """A prompt whose second token is its last: what is written at the first alone is read."""
    zeros = By(lambda x: torch.zeros(len(x), 5), lambda f: torch.zeros(len(f), 128))
    prompts = [[0, 5 + n] for n in range(4)]
    kept = measure_quality(pico, place, zeros, prompts, "content")
    swapped = measure_quality(pico, place, zeros, prompts, "all")
    assert kept.loss_with == kept.loss == kept.loss_of_zeros
    assert swapped.loss_with != swapped.loss
    assert kept.recovered_from_zeros is None  # there is nothing to recover


def test_a_transcoder_that_is_the_mlp_itself_recovers_all(pico, prompts):
    place = places_named("m2", pico, reads_mlp_input=True)[0]
    mlp = pico.layers[2].mlp

    def run(f):
        return mlp.module((f * mlp.norm.weight + mlp.norm.bias).unsqueeze(1)).squeeze(1)

    found = measure_quality(pico, place, By(lambda x: x, run), prompts)
    assert found.explained_variance.value == pytest.approx(1, abs=1e-6)
    assert found.recovered_from_mean.value == pytest.approx(1, abs=1e-4)
