import math

import pytest
import torch

from circuitkit.errors import MethodError, PromptError
from circuitkit.metrics import (
    METRICS,
    Accuracy,
    KLDivergence,
    LogitDifference,
    LogProbability,
    ProbabilityDifference,
    metric_named,
)
from circuitkit.prompts.batch import Labels

LOGITS = torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, math.log(2)]], dtype=torch.float64)
LABELS = Labels(torch.tensor([[2, 1], [0, -1]]), torch.tensor([[0, -1], [1, 2]]))


def test_logit_difference_takes_means_over_several_answers():
    expected = [(4 + 2) / 2 - 1, 0 - math.log(2) / 2]
    assert LogitDifference().values(LOGITS, LABELS).tolist() == pytest.approx(expected)


def test_probability_difference_sums_over_several_answers():
    e = [math.exp(x) for x in (1, 2, 4)]
    expected = [(e[2] + e[1] - e[0]) / sum(e), (1 - 1 - 2) / 4]
    assert ProbabilityDifference().values(LOGITS, LABELS).tolist() == pytest.approx(expected)


def test_log_probability_is_of_the_summed_probability_in_nats():
    e = [math.exp(x) for x in (1, 2, 4)]
    expected = [math.log((e[2] + e[1]) / sum(e)), math.log(1 / 4)]
    assert LogProbability().values(LOGITS, LABELS).tolist() == pytest.approx(expected)


def test_accuracy_is_over_the_whole_vocabulary():
    assert Accuracy().values(LOGITS, LABELS).tolist() == [1.0, 0.0]


def test_the_filler_is_never_counted_as_an_answer():
    labels = Labels(torch.tensor([[1, -1]]), torch.tensor([[2, -1]]))
    logits = torch.tensor([[9.0, 1.0, 2.0]])
    assert Accuracy().values(logits, labels).tolist() == [0.0]
    assert LogitDifference().values(logits, labels).tolist() == [-1.0]


def test_kl_sums_over_the_vocabulary_and_less_is_better():
    clean = torch.tensor([[0.0, 0.0, 0.0]], dtype=torch.float64)
    labels = Labels(LABELS.answers[:1], LABELS.wrong_answers[:1], clean)
    logits = torch.tensor([[0.0, 0.0, math.log(2)]], dtype=torch.float64)
    expected = sum(math.log((1 / 3) / q) / 3 for q in (0.25, 0.25, 0.5))
    [value] = KLDivergence().values(logits, labels).tolist()
    assert value == pytest.approx(expected)
    [gain] = KLDivergence().gain(logits, labels).tolist()
    assert gain == pytest.approx(-expected)


def test_differences_refuse_pairs_without_wrong_answers():
    labels = Labels(LABELS.answers, torch.tensor([[0], [-1]]))
    with pytest.raises(PromptError, match="wrong answer, got none for pair 1"):
        LogitDifference().check(labels)
    LogProbability().check(labels)


def test_every_metric_is_found_by_its_name():
    for metric in METRICS:
        assert type(metric_named(metric.name)) is metric
    with pytest.raises(MethodError, match="'nope'.*logit-difference"):
        metric_named("nope")
