import pytest
import torch

from circuitkit.errors import MethodError
from circuitkit.interventions.patching import patch_activations
from circuitkit.interventions.recorded import Direction
from circuitkit.interventions.sites import site_named
from circuitkit.metrics import KLDivergence, LogProbability
from circuitkit.model import hook_points
from circuitkit.model.recording import record
from circuitkit.prompts.columns import all_positions, by_position, by_role
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from tests.conftest import random_pairs


def one_patch(model, pair, metric, point, pos, heads=None, noising=True):
    """Return one effect by the definition, on one unpadded pair."""
    pairs = tokenize_pairs([pair])
    batches = pairs.clean_batch, pairs.corrupted_batch
    base, donor = batches if noising else batches[::-1]
    kept = {}
    with torch.no_grad():
        model.run(donor, {point: lambda x: kept.update(x=x.clone())})

    def put(x):
        x = x.clone()
        if heads is None:
            x[:, pos] = kept["x"][:, pos]
        else:
            x[:, pos, heads] = kept["x"][:, pos, heads]
        return x

    with torch.no_grad():
        plain = metric.values(model.run(base), pairs.labels)
        patched = metric.values(model.run(base, {point: put}), pairs.labels)
    return float(plain - patched if noising else patched - plain)


@pytest.mark.parametrize("direction", list(Direction))
def test_batched_sweep_equals_one_patch_at_a_time(toy, pairs, metric, direction):
    noising = direction is Direction.NOISING
    sweep = patch_activations(
        toy, pairs, site_named("heads"), by_position(pairs), metric=metric, direction=direction
    )
    assert sweep.rows[5] == "a1.h1"
    for i, pair in enumerate(random_pairs()):
        for pos in (0, 4, 6):
            slow = one_patch(toy, pair, metric, hook_points.z(1), pos, heads=1, noising=noising)
            assert float(sweep.effects[5, pos, i]) == pytest.approx(slow, abs=1e-10)


@pytest.mark.parametrize(
    ("site", "row", "name", "hook_point"),
    [
        ("resid", 2, "resid 2", hook_points.resid_pre(2)),
        ("attn", 1, "attn 1", hook_points.attn_out(1)),
        ("mlp", 0, "m0", hook_points.mlp_out(0)),
    ],
)
def test_each_site_patches_the_place_it_names(toy, pairs, metric, site, row, name, hook_point):
    sweep = patch_activations(toy, pairs, site_named(site), by_position(pairs), metric=metric)
    assert sweep.rows[row] == name
    found = [float(sweep.effects[row, 3, i]) for i in range(len(pairs))]
    expected = [one_patch(toy, pair, metric, hook_point, 3) for pair in random_pairs()]
    assert found == pytest.approx(expected, abs=1e-10)
    assert max(map(abs, found)) > 1e-3


def test_positions_before_the_first_difference_have_no_effect(toy, metric):
    pair = PromptPair([1, 2, 3, 4, 5, 6], [1, 2, 3, 9, 5, 6], [7], [8])
    pairs = tokenize_pairs([pair])
    effects = patch_activations(
        toy, pairs, site_named("heads"), by_position(pairs), metric=metric
    ).effects
    assert effects[:, :3].abs().max() == 0
    assert effects[:, 3:].abs().max() > 1e-3


def test_noising_and_denoising_everything_both_give_the_whole_gap(toy, pairs, metric):
    for direction in Direction:
        sweep = patch_activations(
            toy,
            pairs,
            site_named("resid"),
            all_positions(pairs),
            metric=metric,
            direction=direction,
        )
        for row in range(len(sweep.rows)):
            torch.testing.assert_close(sweep.effects[row, 0], sweep.gap)


def test_the_sign_is_positive_where_the_behaviour_is_lost_for_metrics_of_both_directions(toy):
    pairs = tokenize_pairs(random_pairs())
    clean_logits = record(toy, pairs.clean_batch)[1]
    likeliest = [
        PromptPair(p.clean, p.corrupted, [int(row.argmax())], template=p.template)
        for p, row in zip(random_pairs(), clean_logits, strict=True)
    ]
    pairs = tokenize_pairs(likeliest)
    for metric in (LogProbability(), KLDivergence()):
        sweep = patch_activations(
            toy, pairs, site_named("resid"), all_positions(pairs), metric=metric
        )
        assert sweep.gap.mean() > 0
        assert sweep.effects[0, 0].mean() > 0


def test_columns_by_role_cover_every_real_token_once(pairs):
    columns = by_role(pairs)
    assert columns.names == ("A", "B", "END", "rest")
    assert torch.equal(columns.masks.sum(0) == 1, pairs.mask)
    assert columns.masks[1].sum(1).tolist() == [2] * len(pairs)


def test_patching_a_role_is_patching_its_positions(toy, pairs, metric):
    by_roles = patch_activations(toy, pairs, site_named("resid"), by_role(pairs), metric=metric)
    by_places = patch_activations(
        toy, pairs, site_named("resid"), by_position(pairs), metric=metric
    )
    column = by_roles.columns.index("A")  # the role A is position 1
    torch.testing.assert_close(by_roles.effects[:, column], by_places.effects[:, 1])


def test_progress_counts_every_cell_once(toy, pairs, metric):
    calls: list[tuple[int, int]] = []
    patch_activations(
        toy,
        pairs,
        site_named("mlp"),
        all_positions(pairs),
        metric=metric,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls[0] == (0, 3 * len(pairs))
    assert calls[-1] == (3 * len(pairs), 3 * len(pairs))


def test_an_unknown_site_names_the_known_ones():
    with pytest.raises(
        MethodError, match="'head': must be one of resid, resid-mid, resid-post, attn, mlp, heads"
    ):
        site_named("head")
