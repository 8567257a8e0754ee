"""Cross-fitting: no pair judges what it found, and the interval covers what it speaks of."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from circuitkit.cli.app import app
from circuitkit.errors import PromptError
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.statistics.bootstrap import share_of_whole
from circuitkit.study.folds import cross_fit, folds_of, pooled
from circuitkit.study.search import find_circuit
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Request, subject_of
from circuitkit.validation.verdict import REFUTED, SUPPORTED, UNDECIDED
from tests.conftest import random_pairs

SETTINGS = Settings(method="eap-ig", ablation="resample", n_edges=40)


@pytest.fixture(scope="module")
def planted():
    return subject_of(
        Request(task="planted-ioi", model="planted-ioi", n=48, n_validation=1, seed=0)
    )


@pytest.fixture(scope="module")
def fitted(planted):
    return cross_fit(planted, SETTINGS, 4)


@pytest.mark.parametrize("n_folds", [2, 3, 7])
def test_folds_are_about_equally_large_and_hold_every_pair_once(n_folds):
    pairs = tokenize_pairs(random_pairs(23, lengths=(7,)))
    folds = folds_of(pairs, n_folds, seed=0)
    sizes = np.bincount(folds, minlength=n_folds)
    assert len(folds) == 23
    assert sizes.max() - sizes.min() <= 1
    assert (folds == folds_of(pairs, n_folds, seed=0)).all()
    assert (folds != folds_of(pairs, n_folds, seed=1)).any()


def test_pairs_of_one_cluster_or_that_share_a_prompt_are_in_one_fold():
    raw = [PromptPair([n, n + 30, 1], [n, n + 30, 2], [3], [4]) for n in range(10, 30)]
    raw += [PromptPair([n, n + 30, 2], [n, n + 30, 1], [4], [3]) for n in range(10, 30)]
    raw += [replace(pair, cluster="one") for pair in random_pairs(6, lengths=(7,))]
    folds = folds_of(tokenize_pairs(raw), 5, seed=0)
    assert (folds[:20] == folds[20:40]).all()
    assert len(set(folds[40:])) == 1


@pytest.mark.parametrize("n_folds", [1, 4])
def test_more_folds_than_independent_groups_are_refused(n_folds):
    pairs = [replace(pair, cluster=f"{i % 3}") for i, pair in enumerate(random_pairs(12))]
    with pytest.raises(PromptError, match=f"groups of pairs, 3 here, got {n_folds}"):
        folds_of(tokenize_pairs(pairs), n_folds, seed=0)


def test_no_pair_judges_a_circuit_that_it_found(planted, fitted):
    pairs = planted.splits.discovery
    folds = folds_of(pairs, 4, SETTINGS.seed)
    digests = np.array(pairs.pair_digests())
    for number, result in enumerate(fitted.folds):
        seen = set(result.circuit.provenance.discovery_prompts)
        assert seen
        assert seen.isdisjoint(digests[folds == number].ravel())
        assert result.n_judged_on == int((folds == number).sum())
        assert result.n_found_on + result.n_judged_on == len(pairs)


def test_a_planted_circuit_is_supported_and_random_edges_are_refuted(planted, fitted):
    assert fitted.outcome == SUPPORTED
    assert fitted.faithfulness.value == pytest.approx(1, abs=0.05)
    assert fitted.overlap > 0.9
    assert "about the procedure, not about one circuit" in fitted.sentence
    by_luck = cross_fit(planted, replace(SETTINGS, method="random"), 4)
    assert by_luck.outcome == REFUTED
    assert by_luck.faithfulness.high < 0.8


def test_pairs_of_a_file_that_judge_supply_no_means(planted, monkeypatch):
    seen = []

    def found(own, settings, stage):
        seen.append(own.splits)
        return find_circuit(own, settings, stage)

    monkeypatch.setattr("circuitkit.study.folds.find_circuit", found)
    cross_fit(replace(planted, source=None), SETTINGS, 2)
    for splits in seen:
        assert splits.reference.digest == splits.discovery.digest
        assert not set(splits.reference.prompt_digests) & set(splits.validation.prompt_digests)
    seen.clear()
    cross_fit(planted, SETTINGS, 2)  # a task has reference pairs of their own
    assert {splits.reference.digest for splits in seen} == {planted.splits.reference.digest}


def test_circuits_that_are_too_large_are_refuted_however_much_they_keep(planted):
    large = cross_fit(planted, replace(SETTINGS, n_edges=planted.model.graph.n_edges), 2)
    assert large.faithfulness.value == pytest.approx(1)
    assert large.outcome == REFUTED


def test_too_few_pairs_are_undecided_and_the_sentence_says_how_many_are_needed(planted):
    splits = replace(planted.splits, discovery=planted.splits.discovery.select(range(12)))
    few = cross_fit(replace(planted, splits=splits), SETTINGS, 3)
    assert few.outcome == UNDECIDED
    assert "a verdict needs 16" in few.sentence


def drawn(rng, kept, n=12, spread=0.5):
    """Return change and whole of folds whose circuits keep these shares, pairs one by one."""
    whole = rng.uniform(1, 3, len(kept) * n)
    fold_of = np.repeat(np.arange(len(kept)), n)
    return whole * np.array(kept)[fold_of] + spread * rng.normal(size=len(whole)), whole, fold_of


def test_the_interval_is_never_narrower_than_that_over_pairs_nor_than_that_over_folds():
    rng = np.random.default_rng(0)
    for kept in ([0.9] * 5, [0.5, 1.2, 0.9, 0.7, 1.1]):
        change, whole, fold_of = drawn(rng, kept)
        value = pooled(change, whole, np.arange(len(whole)), fold_of)
        alone = share_of_whole(change, whole)
        assert value.value == alone.value == pytest.approx(change.sum() / whole.sum())
        assert value.low <= alone.low
        assert value.high >= alone.high
    whole, fold_of = np.ones(40), np.repeat(np.arange(5), 8)
    agreeing = 0.9 + 0.5 * np.tile([1.0, -1.0], 20)  # the folds agree to the last digit
    alike, alone = (
        pooled(agreeing, whole, np.arange(40), fold_of),
        share_of_whole(agreeing, whole),
    )
    assert (alike.low, alike.high) == (alone.low, alone.high)
    # circuits that differ by 0.26 from fold to fold: 2.78 x 0.29 / sqrt(5), about
    assert 0.25 < (value.high - value.low) / 2 < 0.5


@pytest.mark.parametrize("kept", [[0.9] * 5, [0.5, 1.2, 0.9, 0.7, 1.1]])
def test_the_interval_covers_what_the_circuits_keep_on_average(kept):
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        change, whole, fold_of = drawn(rng, kept)
        value = pooled(change, whole, np.arange(len(whole)), fold_of)
        covered += value.low <= np.mean(kept) <= value.high
    assert covered >= 0.93 * 300


def test_pairs_of_one_cluster_do_not_narrow_the_interval():
    rng = np.random.default_rng(2)
    change, whole, fold_of = drawn(rng, [0.9] * 5)
    once = pooled(change, whole, np.arange(60), fold_of)
    twice = pooled(
        np.tile(change, 2), np.tile(whole, 2), np.tile(np.arange(60), 2), np.tile(fold_of, 2)
    )
    assert twice.n == once.n == 60
    assert twice.low == pytest.approx(once.low)


def test_the_command_writes_the_claim_and_leaves_with_the_outcome(tmp_path):
    words = "crossfit planted-ioi --model planted-ioi --n 48 --method eap-ig --edges 40"
    words = [*words.split(), "--ablation", "resample", "--folds", "4", "-q"]
    done = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "found.json")])
    assert done.exit_code == 0, done.output
    assert "This" not in done.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["outcome"] == "supported"
    assert found["claim"] in " ".join(done.output.split())
    assert [fold["judged_on"] for fold in found["folds"]] == [12] * 4
