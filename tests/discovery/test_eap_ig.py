import pytest
import torch

from circuitkit.discovery import eap, eap_ig
from circuitkit.errors import MethodError
from circuitkit.gradients.terms import score_columns_by_terms
from circuitkit.interventions.ablation import MeanAblation
from circuitkit.interventions.work import Work
from circuitkit.metrics import Accuracy, KLDivergence
from circuitkit.model.recording import record
from circuitkit.model.runs import whole_run
from circuitkit.prompts.columns import by_position, by_role

VARIANTS = [eap_ig.IntegrationPath(variant, 3) for variant in eap_ig.VARIANTS]


def gap(model, pairs, metric):
    logits = [record(model, batch)[1] for batch in (pairs.clean_batch, pairs.corrupted_batch)]
    gains = [metric.gain(rows, pairs.labels) for rows in logits]
    return float((gains[0] - gains[1]).mean())


def completeness_gap(model, pairs, metric, path):
    """Return how far the scores of the edges out of the input are from the metric difference."""
    scores = eap_ig.score_edges(model, pairs, metric, path=path)
    return abs(float(scores.values[0].sum()) - gap(model, pairs, metric))


def test_scores_out_of_the_input_sum_to_the_metric_difference_in_the_limit(toy, pairs, metric):
    size = abs(gap(toy, pairs, metric))
    gaps = [
        completeness_gap(toy, pairs, metric, eap_ig.IntegrationPath("inputs", steps, "midpoint"))
        for steps in (4, 20, 100)
    ]
    assert gaps[0] > 5 * gaps[1] > 50 * gaps[2]
    assert gaps[2] < 1e-3 * size


def test_the_midpoint_rule_converges_faster_than_the_left_rule(toy, pairs, metric):
    left, middle = (
        completeness_gap(toy, pairs, metric, eap_ig.IntegrationPath("inputs", 40, rule))
        for rule in eap_ig.RULES
    )
    assert middle < 0.25 * left


def test_completeness_under_mean_ablation_is_about_the_run_from_the_mean_input(toy, pairs, metric):
    path, ablation = eap_ig.IntegrationPath("inputs", 100, "midpoint"), MeanAblation(pairs)
    scores = eap_ig.score_edges(toy, pairs, metric, path=path, ablation=ablation)
    run = whole_run(toy, pairs.clean_batch)
    with torch.no_grad():
        from_mean = toy.run_from(ablation.values(toy, pairs).input, run.context)
    clean = record(toy, pairs.clean_batch)[1]
    difference = metric.gain(clean, pairs.labels) - metric.gain(from_mean, pairs.labels)
    assert float(scores.values[0].sum()) == pytest.approx(float(difference.mean()), rel=1e-2)


def test_the_left_rule_begins_at_the_corrupted_end(toy, pairs, metric):
    """With one step the gradient is that of the corrupted run: EAP with the sides exchanged."""
    one = eap_ig.score_edges(toy, pairs, metric, path=eap_ig.IntegrationPath("inputs", 1)).values
    ends = eap_ig.score_edges(
        toy, pairs, metric, path=eap_ig.IntegrationPath("clean-corrupted")
    ).values
    torch.testing.assert_close(2 * ends - one, eap.score_edges(toy, pairs, metric).values)
    assert (one - ends).abs().max() > 0.01


@pytest.mark.parametrize("path", VARIANTS, ids=str)
def test_scores_do_not_depend_on_batches(toy, pairs, metric, path):
    for ablation in (None, MeanAblation(pairs)):
        given = {} if ablation is None else {"ablation": ablation}
        whole = eap_ig.score_edges(toy, pairs, metric, path=path, **given).values
        parts = eap_ig.score_edges(toy, pairs, metric, path=path, batch_size=4, **given).values
        torch.testing.assert_close(parts, whole, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("path", VARIANTS, ids=str)
def test_columns_of_positions_add_up_to_the_whole(toy, pairs, metric, path):
    whole = eap_ig.score_edges(toy, pairs, metric, path=path).values
    for columns in (by_position(pairs), by_role(pairs)):
        parts = score_columns_by_terms(toy, pairs, metric, path.terms(), columns, Work())
        assert len(parts) == len(columns.names)
        total = torch.stack([part.values for part in parts]).sum(0)
        torch.testing.assert_close(total, whole, rtol=1e-10, atol=1e-11)
        assert parts[0].values.abs().max() != parts[1].values.abs().max()


def test_kl_has_a_gradient_away_from_the_clean_run(toy, pairs):
    assert eap_ig.score_edges(toy, pairs, KLDivergence()).values.abs().max() > 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "outputs"}, "variant must be one of inputs, activations, clean-corrupted"),
        ({"rule": "right"}, "rule must be one of left, midpoint, got 'right'"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(MethodError, match=message):
        eap_ig.IntegrationPath(**settings)


def test_a_metric_without_gradient_is_refused(toy, pairs):
    with pytest.raises(MethodError, match="must have a gradient, got 'accuracy'"):
        eap_ig.score_edges(toy, pairs, Accuracy())
