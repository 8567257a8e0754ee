"""Fooling the judge: each way that was tried, and the check that must catch it.

    one prompt written twenty times          clusters: nothing is measured
    one prompt with other words around       the same
    validation prompts that found it         refused, as text or as ids, whatever seed drew them
    circuits fitted to validation pairs      fresh-draw, where the file does not say what it saw
    seeds hunted                             fresh-draw: its seed is the circuit's own digest
    edges that do nothing                    minimality: named in the sentence, or refuted
    another task's circuit                   faithfulness
    a model that cannot do the task          ability, ability-share
    thresholds bent, criteria left out       the sentence

`circuitkit bench-validation` tries the faults of edges, tasks and models over all planted models.
"""

import json
import random
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from circuitkit.bench.calibration.faults import subject_on, untrained_pico
from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import load_circuit
from circuitkit.circuits.random_circuits import random_path
from circuitkit.errors import CriterionError, PromptError, SampleWarning
from circuitkit.prompts.clusters import without_repeats
from circuitkit.prompts.splits import sample_splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.statistics.bound import Bound
from circuitkit.study.cases import case_of, judge
from circuitkit.study.pipeline import study
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Request, Subject, subject_of
from circuitkit.task import find_task
from circuitkit.validation.criteria import CRITERIA, Thresholds
from circuitkit.validation.fresh_draw import FRESH
from circuitkit.validation.judge import judge_circuit
from circuitkit.zoo import load_model
from circuitkit.zoo.planted import planted

ROOT = Path(__file__).parents[2]
BOUNDED = tuple(name for name, criterion in CRITERIA.items() if not criterion.default.is_open)
QUICK = ("faithfulness", "completeness", "equivalence", "wang-faithfulness", "ability")


@cache
def pico():
    return load_model("pico")


@cache
def pico_circuit(task):
    found = load_circuit(ROOT / "circuits" / f"{task}.json")
    return replace(found, provenance=replace(found.provenance, discovery_prompts=()))


@cache
def of_planted(name, n=100):
    """Return a planted subject and its true circuit."""
    instance = planted(name)
    model = instance.model(dtype=torch.float64)
    return subject_on(model, instance.task, n), instance.truth(model)


def minus(circuit, *edges):
    return circuit.with_edges(circuit.edge_mask & ~circuit.graph.mask_of(list(edges)))


def plus(circuit, *edges):
    return circuit.with_edges(circuit.edge_mask | circuit.graph.mask_of(list(edges)))


def verdict_on(subject, circuit, *names, **settings):
    return judge(subject, circuit, Settings(criteria=names, **settings))


@pytest.fixture
def file_of(tmp_path):
    """Return a subject of a prompt file: discovery by IOI, and the validation pairs given."""
    drawn = sample_splits(find_task("ioi"), pico().tokenizer, n=24, seed=5)

    def line(pair, split):
        keys = ("clean", "corrupted", "answers", "wrong_answers", "template")
        return json.dumps({key: getattr(pair, key) for key in keys} | {"split": split})

    def made(validation):
        lines = [line(pair, "discovery") for pair in drawn.discovery.pairs]
        lines += [line(pair, "validation") for pair in validation]
        lines += [line(pair, "reference") for pair in drawn.reference.pairs]
        path = tmp_path / "pairs.jsonl"
        path.write_text("\n".join(lines))
        return subject_of(Request(prompts=path, model="pico"), pico())

    return made, drawn.validation


def test_a_wrong_circuit_on_one_prompt_written_twenty_times_is_not_supported(file_of):
    made, validation = file_of
    subject = made([validation.pairs[0]] * 19 + [validation.pairs[1]])
    assert (len(subject.splits.validation), subject.splits.validation.n_repeats) == (2, 18)
    wrong = minus(pico_circuit("ioi"), pico_circuit("ioi").edges[0])
    verdict = verdict_on(subject, wrong)
    assert verdict.outcome == "undecided"
    assert "nothing was measured: too few pairs to judge: 2, at least 16" in verdict.sentence


def test_a_prompt_written_as_often_as_one_likes_is_one_cluster_where_nothing_was_dropped():
    subject, true = of_planted("planted-comparison:plain:1")
    rows = subject.splits.validation.select([0] * 40)
    repeated = replace(subject, splits=replace(subject.splits, validation=rows), source=None)
    verdict = verdict_on(repeated, minus(true, true.edges[0]), "faithfulness", "equivalence")
    assert verdict.outcome == "undecided"
    assert "the 40 pairs are 1 cluster, at least 16 are needed" in verdict.sentence


def test_without_clusters_it_would_be_supported():
    """The case that succeeded: what the clusters are there for."""
    subject, true = of_planted("planted-comparison:plain:1")
    wrong = minus(true, true.edges[3])  # f = 0.88 on average
    pairs = subject.splits.validation
    [values], (full, empty) = (
        case_of(subject, wrong, Settings()).values([wrong]),
        case_of(subject, wrong, Settings()).ends(),
    )
    best = int(np.argmin(np.abs((values - empty) / (full - empty) - 1)))
    rows = pairs.select([best] * 40)
    told_apart = replace(rows, cluster_names=tuple(map(str, range(40))))
    fooled = replace(subject, splits=replace(subject.splits, validation=told_apart), source=None)
    assert verdict_on(fooled, wrong, "faithfulness", "equivalence").outcome == "supported"
    assert verdict_on(subject, wrong, "faithfulness", "equivalence").outcome != "supported"


def test_one_prompt_with_other_places_and_objects_is_one_pair(file_of):
    made, validation = file_of
    pair = next(p for p in validation.pairs if "store" in p.clean or "park" in p.clean)
    near = []
    for old in ("store", "park"):
        for place in ("market", "school", "garden", "station", "library", "museum", "office"):
            swapped = [text.replace(old, place) for text in (pair.clean, pair.corrupted)]
            near.append(replace(pair, clean=swapped[0], corrupted=swapped[1]))
    near += [
        replace(p, clean=f"Then , {p.clean}", corrupted=f"Then , {p.corrupted}", template="")
        for p in near
    ]
    subject = made([p for p in near if p.clean != pair.clean])
    assert subject.splits.validation.n_clusters == 1


def test_prompts_that_found_it_cannot_judge_it_under_another_seed_or_as_ids():
    subject, true = of_planted("planted-induction:plain:1")
    found = replace(
        true.provenance, discovery_prompts=subject.splits.discovery.prompt_digests, task="x"
    )
    as_ids = [
        replace(p, clean=c.tolist(), corrupted=b.tolist(), cluster=f"{i}")
        for i, (p, c, b) in enumerate(
            zip(
                subject.splits.discovery.pairs,
                subject.splits.discovery.clean,
                subject.splits.discovery.corrupted,
                strict=True,
            )
        )
    ]
    ids = tokenize_pairs(as_ids, subject.model.tokenizer)
    with pytest.raises(CriterionError, match="must be others than those that found the circuit"):
        verdict_on(
            replace(subject, splits=replace(subject.splits, validation=ids)),
            replace(true, provenance=found),
        )
    with pytest.raises(PromptError, match="in no other"):
        without_repeats(ids, [subject.splits.discovery])


def test_a_circuit_fitted_to_the_validation_pairs_fails_on_the_fresh_draw():
    """The best of many wrong circuits on sixteen pairs, in a file that says nothing of them."""
    subject, true = of_planted("planted-comparison:plain:1")
    few = replace(
        subject,
        splits=replace(subject.splits, validation=subject.splits.validation.select(range(16))),
    )
    rng = random.Random(0)
    tried = [minus(true, *rng.sample(true.edges, rng.choice((1, 2)))) for _ in range(60)]
    tried += [plus(c, *random_path(c.graph, rng)) for c in tried]
    f = case_of(few, true, Settings()).faithfulness(tried)
    best = tried[int(np.argmin(np.abs(1 - f)))]
    bound = {name: Bound(min=0.9) for name in ("faithfulness", "fresh-draw")}
    fresh = verdict_on(few, best, *bound, thresholds=Thresholds().with_bounds(bound))
    assert fresh.outcome != "supported"


def test_the_fresh_draw_is_the_same_whatever_seed_is_hunted():
    subject, true = of_planted("planted-ioi:plain:1", 32)
    cases = []
    for seed in (0, 1):
        splits = sample_splits(find_task("planted-ioi"), subject.model.tokenizer, n=16, seed=seed)
        other = replace(subject, splits=splits, seed=seed)
        cases.append(case_of(other, true, Settings(seed=seed)))
    one, two = ({p.clean for p in c.held_out[FRESH].pairs.pairs} for c in cases)
    judged = [{p.clean for p in c.validation.pairs} for c in cases]
    assert len(one & two) > len(one) / 2  # but for prompts that a split has
    assert len(judged[0] & judged[1]) < len(one & two)
    fewer = minus(true, true.edges[0])
    other = case_of(replace(subject, splits=splits), fewer, Settings(seed=1))
    assert {p.clean for p in other.held_out[FRESH].pairs.pairs} != two


def hunted(n_seeds):
    """Return on how many seeds a circuit at its bound passes on 24 pairs, and how often in all.

    Each seed is a draw of validation pairs; the fresh ones are what the circuit's digest drew.
    """
    subject, true = of_planted("planted-comparison:plain:1", 300)
    wrong = minus(true, true.edges[3])
    whole = case_of(subject, wrong, Settings())
    bound = Bound(min=float(whole.faithfulness([wrong])[0]))
    fresh = whole.held_out[FRESH]
    held_out = {FRESH: replace(fresh, pairs=fresh.pairs.select(range(24)))}
    asked = Thresholds().with_bounds({"faithfulness": bound, "fresh-draw": bound})
    passed = {"faithfulness": 0, "both": 0}
    for seed in range(n_seeds):
        rows = random.Random(seed).sample(range(300), 24)
        case = replace(whole, validation=whole.validation.select(rows), held_out=held_out)
        verdict = judge_circuit(case, asked, only=["faithfulness", "fresh-draw"])
        passed["faithfulness"] += verdict.check("faithfulness").outcome == "supported"
        passed["both"] += verdict.outcome == "supported"
    return passed


def test_the_best_of_fifty_seeds_passes_no_circuit_that_the_fresh_draw_does_not():
    found = hunted(50)
    assert found["faithfulness"] >= 1  # a seed was found that fools the rest
    assert found["both"] == 0


@pytest.mark.parametrize("n_idle", [1, 2, 3])
def test_edges_that_do_nothing_are_named_or_refute(n_idle):
    name = "planted-ioi:plain:1" if n_idle == 2 else "planted-induction:plain:1"
    subject, true = of_planted(name, 48)
    rng = random.Random(n_idle)
    outside = [edge for edge in true.graph.edge_names if edge not in true.edges]
    for _ in range(2):
        added = rng.sample(outside, n_idle)
        verdict = verdict_on(subject, plus(true, *added), "minimality")
        check = verdict.check("minimality")
        if verdict.outcome == "supported":
            assert f"its parts are needed, minimal up to {n_idle} edge" in verdict.sentence
            assert all(f"{edge} (" in verdict.sentence for edge in added)
        else:
            assert all(edge in check.note for edge in added)
    if n_idle == 1:
        assert "minimal up to" not in verdict_on(subject, true, "minimality").sentence


def test_a_circuit_of_another_task_is_refuted():
    subject = subject_on(pico(), "induction", 32)
    verdict = verdict_on(subject, pico_circuit("ioi"), "faithfulness", "ability")
    assert verdict.check("faithfulness").outcome == "refuted"
    assert verdict.check("ability").outcome == "supported"


def test_a_circuit_of_a_model_that_cannot_do_the_task_is_not_supported():
    subject = subject_on(untrained_pico(), "ioi", 32)
    whole = Circuit.full(subject.model.graph)
    verdict = verdict_on(subject, whole, "ability", "ability-share", "faithfulness")
    assert verdict.outcome != "supported"
    assert verdict.check("ability-share").outcome == "refuted"


def test_bent_thresholds_and_criteria_left_out_are_in_the_sentence():
    subject, true = of_planted("planted-comparison:plain:1")
    wrong = minus(true, true.edges[0])
    bent = Thresholds().with_bounds({"faithfulness": Bound(min=-5.0)})
    verdict = verdict_on(subject, wrong, "faithfulness", thresholds=bent)
    assert verdict.outcome == "supported"
    assert "; by less than the defaults ask: faithfulness at least -5 where the default is at" in (
        verdict.sentence
    )
    assert "not asked: " in verdict.sentence
    assert "completeness" in verdict.sentence
    strict = Thresholds().with_bounds({"faithfulness": Bound(min=0.85)})
    case = case_of(subject, true, Settings())
    assert "the default is" not in judge_circuit(case, strict, only=["faithfulness"]).sentence


def test_a_study_of_pairs_that_are_one_says_so_first_and_records_the_counts():
    subject, _ = of_planted("planted-facts:plain:1", 16)
    names = tuple("all one" for _ in subject.splits.validation.pairs)
    one = replace(subject.splits.validation, cluster_names=names, n_repeats=3)
    alike = replace(subject, splits=replace(subject.splits, validation=one))
    with pytest.warns(SampleWarning, match="the 16 pairs are 1 cluster, at least 16 are needed"):
        record = study(alike, Settings(n_random=1, n_edges=20))
    assert (record.info.n_repeats, record.info.n_clusters) == (3, 1)
    assert record.validation.verdict.outcome == "undecided"
    assert isinstance(alike, Subject)
