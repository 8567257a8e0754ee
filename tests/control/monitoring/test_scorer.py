"""Scorers: what they measure, that other tools get the same score, and what they refuse."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

import circuitkit as ck
from circuitkit.control.monitoring.measures import auroc, measured, recall_at_allowed, threshold_of
from circuitkit.control.monitoring.scorer import fit_scorer, load_scorer, save_scorer, scorer_of
from circuitkit.control.steering.classes import TwoClasses, two_classes
from circuitkit.control.steering.found import difference_of_means
from circuitkit.control.steering.vector import given_vector
from circuitkit.errors import GraphError, MethodError, ModelError, PromptError
from circuitkit.model import hook_points
from circuitkit.zoo.planted.refusal import planted_direction, requests

EXAMPLE = Path(__file__).parents[3] / "examples" / "apply_scorer.py"
HELD_OUT = ("malware", "crimes", "games", "music")


@pytest.fixture(scope="module")
def planted():
    return ck.load_model("planted-refusal")


@pytest.fixture(scope="module")
def prompts(planted):
    drawn = requests(128, "monitoring")
    found = two_classes([each.text for each in drawn], [], planted)
    return TwoClasses(found.ids, tuple(r.is_harmful for r in drawn), tuple(r.topic for r in drawn))


@pytest.fixture(scope="module")
def scorer(planted, prompts):
    return fit_scorer(planted, prompts, HELD_OUT, 3)


def test_auroc_is_the_share_of_pairs_in_order_with_ties_half():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, 40).astype(float)
    labels = rng.random(40) < 0.4
    pairs = [(a > b) + (a == b) / 2 for a in scores[labels] for b in scores[~labels]]
    assert auroc(scores, labels) == pytest.approx(np.mean(pairs))


def test_at_most_one_percent_of_false_prompts_exceed_the_threshold_and_no_lower_one_will_do():
    for n in (5, 99, 100, 101, 250):
        scores = np.random.default_rng(n).normal(size=n)
        threshold = threshold_of(scores)
        assert (scores > threshold).sum() == n // 100
        assert (scores >= threshold).sum() == n // 100 + 1
    labels = np.array([True] * 4 + [False] * 100)
    scores = np.array([0.5, 98.5, 97.5, 200, *range(100)], dtype=float)
    assert recall_at_allowed(scores, labels) == 0.5


def test_a_sure_score_has_no_sure_interval_and_chance_covers_a_half():
    labels = np.arange(60) % 2 == 0
    topics = [f"topic {n // 10}" for n in range(60)]
    sure = measured(labels.astype(float), labels, topics, 0.5)
    assert (sure.auroc.value, sure.auroc.low, sure.auroc.high) == (1, pytest.approx(0.9), 1)
    assert (sure.recall.value, sure.alarms.value) == (1, 0)
    noise = np.random.default_rng(0).normal(size=60)
    assert measured(noise, labels, topics, 0.0).auroc.low < 0.5
    assert measured(noise, labels, topics, 0.0).auroc.high > 0.5


def test_topics_that_disagree_make_an_interval_wide():
    labels = np.arange(80) % 2 == 0
    topics = [f"topic {n // 20}" for n in range(80)]
    noise = np.random.default_rng(0).normal(size=80)
    alike = measured(labels + noise, labels, topics, 0.0).auroc
    sign = np.repeat([3, 3, -1, 1], 20)
    unlike = measured(labels * sign + noise, labels, topics, 0.0).auroc
    assert unlike.high - unlike.low > 1.3 * (alike.high - alike.low)


def test_the_planted_direction_is_scored_on_topics_it_was_not_made_from(scorer, prompts, planted):
    assert scorer.held_out == tuple(sorted(HELD_OUT))
    assert not set(scorer.trained_on) & set(HELD_OUT)
    assert scorer.vector.cosine(planted_direction(0)) > 0.9
    assert scorer.measured.auroc.value == 1
    assert scorer.measured.recall_at_1_percent.value == 1
    assert scorer.measured.recall.value == 1
    early = fit_scorer(planted, prompts, HELD_OUT, 0)  # the last token itself: nothing is known yet
    assert early.measured.auroc.low < 0.5


def test_a_probe_can_be_a_scorer_too(planted, prompts):
    found = fit_scorer(planted, prompts, HELD_OUT, 3, kind="probe")
    assert found.vector.origin.startswith("probe")
    assert found.measured.auroc.value > 0.95
    with pytest.raises(MethodError, match="must be one of difference, probe, got 'circuit'"):
        fit_scorer(planted, prompts, HELD_OUT, 3, kind="circuit")


def test_a_saved_scorer_scores_the_same_and_damage_is_refused(scorer, planted, prompts, tmp_path):
    save_scorer(scorer, tmp_path)
    again = load_scorer(tmp_path)
    # a unit vector is normalised once more when it is read
    torch.testing.assert_close(again.scores(planted, prompts), scorer.scores(planted, prompts))
    assert (again.threshold, again.measured) == (scorer.threshold, scorer.measured)
    said = (tmp_path / "scorer.json").read_text()
    (tmp_path / "scorer.json").write_text(said.replace("scorer-1", "scorer-9"))
    with pytest.raises(MethodError, match="got ValueError: the schema"):
        load_scorer(tmp_path)


def test_plain_transformers_give_the_same_score(tmp_path):
    pico = ck.load_model("pico")
    texts = ["The song of the", "When Mary and John went to the", "near the table", "the song"]
    prompts = two_classes(texts[:2], texts[2:], pico)
    prompts = TwoClasses(prompts.ids, (True, False, True, False), ("a", "a", "b", "b"))
    scorer = fit_scorer(pico, prompts, ["b"], 2)
    save_scorer(scorer, tmp_path)
    spec = importlib.util.spec_from_file_location("apply_scorer", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    directory = next(each.directory for each in ck.zoo_models() if each.name == "pico")
    found = example.scores_of(tmp_path, str(directory), texts)
    assert found == pytest.approx(scorer.scores(pico, prompts).tolist(), rel=1e-4, abs=1e-5)
    assert max(found) - min(found) > 0.1
    n_lines = sum(bool(line.strip()) for line in EXAMPLE.read_text().splitlines())
    assert n_lines <= 40


@pytest.mark.parametrize(
    ("held_out", "got"),
    [
        ((), "got none"),
        (("nowhere",), "got 'nowhere', which no prompt has"),
        (
            ("crimes", "food", "games", "malware", "music", "plants", "poisons", "weapons"),
            "got all of",
        ),
    ],
)
def test_without_held_out_topics_there_is_no_scorer(planted, prompts, held_out, got):
    with pytest.raises(PromptError, match=f"some topics must be held out, and others not, {got}"):
        fit_scorer(planted, prompts, held_out, 3)


def test_prompts_without_topics_or_of_one_class_make_no_scorer(planted, prompts):
    bare = TwoClasses(prompts.ids, prompts.labels, ("",) * len(prompts))
    with pytest.raises(PromptError, match="got prompts without a topic"):
        fit_scorer(planted, bare, ["food"], 3)
    with pytest.raises(PromptError, match="prompts must be of two classes"):
        fit_scorer(planted, prompts, ["food", "music"], 3)  # both harmless


def test_directions_of_other_places_models_or_shared_topics_make_no_scorer(planted, prompts):
    training, testing = (
        prompts.of_topics(("food", "crimes")),
        prompts.of_topics(("music", "crimes")),
    )
    vector = difference_of_means(planted, training, hook_points.resid_pre(3))
    with pytest.raises(PromptError, match="got the topic 'crimes' in both"):
        scorer_of(planted, vector, training, testing)
    behind = difference_of_means(planted, training, hook_points.resid_post(3))
    with pytest.raises(MethodError, match="in front of a layer .resid pre., got resid post 3"):
        scorer_of(planted, behind, training, testing)
    other = ck.load_model("planted-refusal:plain:1")
    with pytest.raises(ModelError, match="must be of the weights of 'planted-refusal:plain:1'"):
        scorer_of(other, vector, training, testing)
    with pytest.raises(MethodError, match="must be 158 wide"):
        given_vector(planted, torch.ones(5), hook_points.resid_pre(3))
    with pytest.raises(GraphError, match="of layers 0 to 4"):
        fit_scorer(planted, prompts, HELD_OUT, 5)
