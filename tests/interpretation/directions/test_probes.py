import numpy as np
import pytest

from circuitkit.interpretation.directions.probes import Examples, Probed, probe
from circuitkit.statistics.shares import share_estimate


def examples(n, seed, n_tokens=8):
    """Return examples whose first entry is the label, beside the one-hot token and noise."""
    rng = np.random.default_rng(seed)
    labels, tokens = rng.permutation(n) % 2 == 0, rng.integers(0, n_tokens, n)
    noise = 0.1 * rng.standard_normal((n, 3))
    x = np.concatenate([labels[:, None] * 2.0 - 1, np.eye(n_tokens)[tokens], noise], 1)
    return Examples(x, labels, tokens)


def test_a_label_that_is_written_is_read_off_and_its_direction_found():
    found = probe(examples(64, 0), examples(41, 1))
    assert found.accuracy == share_estimate(41, 41)
    assert found.is_encoded
    assert found.chance == 21 / 41
    assert found.direction[0] > 2 * np.abs(found.direction[1:]).max()


def test_chance_is_the_share_of_the_commoner_label_whichever_it_is():
    held_out = examples(41, 1)
    other = Examples(held_out.x, ~held_out.labels, held_out.tokens)
    assert (
        probe(examples(64, 0), other).chance == probe(examples(64, 0), held_out).chance == 21 / 41
    )


def test_a_label_that_is_not_written_is_not_read_off():
    training, held_out = (
        Examples(e.x[:, 1:], e.labels, e.tokens) for e in (examples(64, 0), examples(40, 1))
    )
    found = probe(training, held_out)
    assert not found.is_above_chance


def test_random_labels_of_tokens_are_memorised_where_the_token_stands():
    found = probe(examples(64, 0), examples(40, 1))
    assert found.control.value > 0.9
    assert found.by_token < 0.8
    no_token = probe(*(Examples(e.x[:, :1], e.labels, e.tokens) for e in (examples(64, 0),) * 2))
    assert no_token.control.value < 0.75


def test_labels_of_tokens_are_not_called_encoded():
    def by_token(e):
        return e.relabelled(e.tokens < 4)

    found = probe(by_token(examples(64, 0)), by_token(examples(40, 1)))
    assert found.accuracy.value == found.by_token == 1
    assert found.is_above_chance
    assert not found.is_encoded


def test_with_one_token_control_labels_are_drawn_for_each_prompt():
    found = probe(examples(200, 0, n_tokens=1), examples(200, 1, n_tokens=1))
    assert 0.35 < found.control.value < 0.65
    assert found.by_token == 0.5
    assert found.is_encoded


def test_a_table_takes_the_commonest_label_of_all_tokens_for_one_it_never_saw():
    x = np.eye(4)
    training = Examples(x, np.array([True, True, True, False]), np.array([0, 0, 1, 2]))
    held_out = Examples(x, np.array([True, False, True, False]), np.array([0, 2, 9, 9]))
    assert probe(training, held_out).by_token == 0.75


@pytest.mark.parametrize(
    ("by_token", "control", "is_encoded"),
    [(1.0, 40, False), (0.5, 40, True), (1.0, 20, True), (0.5, 20, True)],
)
def test_memorising_needs_a_table_that_tells_and_a_probe_that_can(by_token, control, is_encoded):
    found = Probed(share_estimate(39, 40), share_estimate(control, 40), by_token, 0.5, np.ones(2))
    assert found.is_encoded is is_encoded


def test_the_spread_of_pairs_is_that_of_their_differences():
    x = np.array([[1.0, 0.0], [5.0, 2.0], [0.0, 0.0], [7.0, 5.0]])
    labels = np.array([True, False, False, True])
    paired = Examples(x, labels, np.zeros(4, dtype=int), is_paired=True)
    # true minus false: (1, 0) and (2, 3)
    np.testing.assert_allclose(paired.spread, [[-0.5, -1.5], [0.5, 1.5]])
    alone = Examples(x, labels, np.zeros(4, dtype=int))
    np.testing.assert_allclose(alone.spread[0], [-3, -2.5])
    np.testing.assert_allclose(alone.spread[2], [-2.5, -1])
