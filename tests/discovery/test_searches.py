"""The long searches: fast equals slow, and interrupted and resumed equals uninterrupted."""

import json
import math
import os
import signal
import sqlite3
import warnings
from contextlib import closing
from dataclasses import replace
from functools import cache
from multiprocessing import get_context

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from circuitkit.circuits.circuit import Circuit
from circuitkit.discovery import acdc, exact_joint
from circuitkit.discovery.acdc import ACDC
from circuitkit.discovery.exact import ExactEdges
from circuitkit.discovery.exact_joint import ExactJoint
from circuitkit.discovery.time_estimate import TimeEstimate
from circuitkit.errors import CheckpointError
from circuitkit.interventions.ablation import MeanAblation, ResampleAblation, ZeroAblation
from circuitkit.interventions.budget import bytes_per_pair
from circuitkit.interventions.edges import EdgeBench, measure_edges
from circuitkit.interventions.recorded import Direction
from circuitkit.interventions.repeated_circuits import RepeatedCircuits
from circuitkit.interventions.run_circuit import CircuitRunner, evaluate_circuits
from circuitkit.interventions.work import Work
from circuitkit.metrics import KLDivergence, LogitDifference
from circuitkit.model.recording import record
from circuitkit.prompts.splits import sample_splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.task import find_task
from circuitkit.zoo import load_model
from circuitkit.zoo.planted import planted
from tests.conftest import VOCAB, random_pairs, save_toy
from tests.families import make_family

METRIC = LogitDifference()
THRESHOLD = 0.1
SIZE = 2  # pairs in a batch, of the four below


def four_pairs():
    return tokenize_pairs(random_pairs(4))


@pytest.fixture
def pairs():
    """Four pairs of 7 and 9 tokens, left padded."""
    return four_pairs()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A random GPT-2 of 46 edges and 7 components."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCAB,
        n_positions=16,
        n_embd=6,
        n_layer=2,
        n_head=2,
        n_inner=11,
        initializer_range=0.6,
        bos_token_id=0,
        eos_token_id=0,
    )
    directory = tmp_path_factory.mktemp("small")
    GPT2LMHeadModel(config).save_pretrained(directory)
    return load_model(directory, dtype=torch.float64)


class Interrupted(Exception):
    pass


def stop_at(number):
    def progress(done, total):
        if done == number:
            raise Interrupted

    return progress


SEARCHES = {"exact": ExactEdges(), "exact-joint": ExactJoint(), "acdc": ACDC(THRESHOLD)}
N_ITEMS = {"exact": 4, "exact-joint": 7, "acdc": 5}  # after which progress is reported


@pytest.fixture(params=SEARCHES)
def search(request, toy, small):
    """A method and the model that it is tried on: on the small one, exact is done at once."""
    return SEARCHES[request.param], toy if request.param == "exact" else small


def run(search, path=None, **work):
    method, model = search
    work = Work(**{"batch_size": SIZE, "checkpoint": path} | work)
    return method.score_edges(model, four_pairs(), METRIC, work).values


def interrupted(search, path, number, **work):
    with pytest.raises(Interrupted):
        run(search, path, progress=stop_at(number), **work)


@pytest.fixture
def calls(monkeypatch):
    """How often something was measured: one entry a call."""
    made = []

    def count(kind, name):
        original = getattr(kind, name)

        def counted(self, *arguments):
            made.append(name)
            return original(self, *arguments)

        monkeypatch.setattr(kind, name, counted)

    count(RepeatedCircuits, "gains")
    count(EdgeBench, "effects")
    return made


# Interrupted and resumed


def test_a_resumed_search_is_bit_identical_and_measures_nothing_twice(search, tmp_path, calls):
    whole, number = run(search), N_ITEMS[search[0].name] // 2
    n_whole, path = len(calls), tmp_path / "work.sqlite"
    calls.clear()
    interrupted(search, path, number)
    assert number <= len(calls) < n_whole
    assert torch.equal(run(search, path), whole)
    assert len(calls) == n_whole
    assert torch.equal(run(search, path), whole)  # all of it is read
    assert len(calls) == n_whole


def test_a_search_interrupted_again_and_again_comes_to_the_same_end(search, tmp_path, calls):
    whole, path = run(search), tmp_path / "work.sqlite"
    n_whole, n_items = len(calls), N_ITEMS[search[0].name]
    calls.clear()
    for number in range(1, n_items + 1):
        interrupted(search, path, number)
        assert (len(calls) == n_whole) == (number == n_items)
    assert torch.equal(run(search, path), whole)
    assert len(calls) == n_whole


def search_until_killed(search, path):
    """Search in this process, and end it after the third item as nothing can catch."""

    def progress(done, total):
        if done == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    run(search, path, progress=progress)


def test_a_search_killed_for_good_is_resumed_in_full(small, tmp_path, calls):
    path, search = tmp_path / "work.sqlite", (ACDC(THRESHOLD), small)
    child = get_context("fork").Process(target=search_until_killed, args=(search, path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which wait meanwhile
        child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    whole = run(search)
    n_whole = len(calls)
    assert torch.equal(run(search, path), whole)
    assert n_whole < len(calls) < 2 * n_whole


@pytest.fixture(scope="module")
def other_toy(tmp_path_factory):
    """Other weights in a folder of the same name."""
    return load_model(save_toy(tmp_path_factory.mktemp("other"), seed=1), dtype=torch.float64)


def test_other_work_is_refused_and_the_file_is_unchanged(toy, other_toy, tmp_path):
    path, method, pairs = tmp_path / "work.sqlite", ACDC(THRESHOLD), four_pairs()
    interrupted((method, toy), path, 3)
    before = path.read_bytes()
    same_name = replace(other_toy, name=toy.name)
    work = Work(batch_size=SIZE, checkpoint=path)
    others = {
        "model": (method, other_toy, pairs, METRIC, work),
        "weights": (method, same_name, pairs, METRIC, work),
        "prompts": (method, toy, tokenize_pairs(random_pairs(4, seed=1)), METRIC, work),
        "method: .*threshold=0.1, .* there, .*threshold=0.2": (
            *(ACDC(2 * THRESHOLD), toy, pairs, METRIC, work),
        ),
        "absolute": (replace(method, absolute=True), toy, pairs, METRIC, work),
        "whole": (replace(method, whole=False), toy, pairs, METRIC, work),
        "ACDC.* there, .ExactEdges": (ExactEdges(), toy, pairs, METRIC, work),
        "seed: '0' there, '1' now": (method, toy, pairs, METRIC, replace(work, seed=1)),
        "ablation: 'resample' there, 'zero'": (
            *(method, toy, pairs, METRIC, replace(work, ablation=ZeroAblation())),
        ),
        "metric: .* there, 'kl'": (method, toy, pairs, KLDivergence(), work),
    }
    for message, (method_now, *rest) in others.items():
        with pytest.raises(CheckpointError, match=message):
            method_now.score_edges(*rest)
        assert path.read_bytes() == before
    assert torch.equal(run((method, toy), path), run((method, toy)))


def test_means_over_other_prompts_are_other_work(toy, tmp_path):
    path, search = tmp_path / "work.sqlite", (ExactEdges(), toy)
    one, other = (MeanAblation(tokenize_pairs(random_pairs(6, seed=s))) for s in (1, 2))
    interrupted(search, path, 1, ablation=one)
    with pytest.raises(CheckpointError, match="ablation: 'mean of"):
        run(search, path, ablation=other)


def plan_in(path):
    with closing(sqlite3.connect(path)) as connection:
        [[plan]] = connection.execute("SELECT value FROM settings WHERE key = 'plan'")
    return json.loads(plan)


def test_a_search_resumed_with_other_batches_keeps_those_it_began_with(search, tmp_path, calls):
    whole, path = run(search), tmp_path / "work.sqlite"
    n_whole, fresh = len(calls), tmp_path / "fresh.sqlite"
    memory = 8 * bytes_per_pair(search[1], four_pairs().clean.shape[1])
    interrupted(search, fresh, 1, batch_size=1, memory=memory)
    calls.clear()
    interrupted(search, path, 2)
    begun = plan_in(path)
    assert set(plan_in(fresh).items()).isdisjoint(begun.items())  # both would matter
    assert torch.equal(run(search, path, batch_size=1, memory=memory), whole)
    assert plan_in(path) == begun
    assert len(calls) == n_whole


def progress_of(search, path):
    seen = []
    run(search, path, progress=lambda done, total: seen.append((done, total)))
    return [at for at in seen if at[0]]


def test_progress_grows_to_its_total_once_also_when_resumed(search, tmp_path):
    path, n_items = tmp_path / "work.sqlite", N_ITEMS[search[0].name]
    interrupted(search, path, 2)
    for resumed in (path, None):
        done, totals = zip(*progress_of(search, resumed), strict=True)
        assert done == tuple(range(1, n_items + 1))
        assert set(totals) == {n_items}


# How long it takes


LAYERS = 17 + 82 * 2 / 3 + 147 / 3 + 0  # edges into each layer, times the share that is run
PASSES = {"exact": LAYERS, "exact-joint": 16 * 262, "acdc": 262}


@pytest.mark.parametrize("name", PASSES)
def test_estimates_are_of_all_runs_and_of_a_time_measured_now(toy, pairs, name):
    estimate = SEARCHES[name].estimate(toy, pairs)
    assert estimate.passes == pytest.approx(PASSES[name] * len(pairs))
    assert 0 < estimate.seconds < math.inf


@pytest.mark.parametrize(
    ("passes", "seconds", "text"),
    [
        (1234.0, 12.4, "about 1,234 forward passes of one pair, 12 s"),
        (2.6, 89.4, "about 3 forward passes of one pair, 89 s"),
        (1_000_000.0, 91.0, "about 1,000,000 forward passes of one pair, 2 min"),
        (10.0, 5399.0, "about 10 forward passes of one pair, 90 min"),
        (10.0, 5400.0, "about 10 forward passes of one pair, 1.5 h"),
    ],
)
def test_estimates_read_well(passes, seconds, text):
    assert str(TimeEstimate(passes, seconds)) == text


# Exact edges, alone and with joint knock-outs


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("metric", [LogitDifference(), KLDivergence()])
def test_exact_scores_are_the_means_of_measured_edges(toy, pairs, direction, metric):
    work = Work(batch_size=3)
    scores = ExactEdges(direction.value).score_edges(toy, pairs, metric, work).by_edge()
    measured = measure_edges(toy, pairs, toy.graph.edge_names, metric, direction=direction)
    torch.testing.assert_close(scores, measured.effects.mean(1), rtol=1e-11, atol=1e-12)
    assert float(scores.abs().max()) > 0.1


def test_exact_scores_under_mean_ablation_are_the_means_of_measured_edges(toy, pairs):
    ablation = MeanAblation(tokenize_pairs(random_pairs(6, seed=1)))
    scores = ExactEdges().score_edges(toy, pairs, METRIC, Work(ablation, batch_size=3)).by_edge()
    measured = measure_edges(toy, pairs, toy.graph.edge_names, METRIC, ablation=ablation)
    torch.testing.assert_close(scores, measured.effects.mean(1), rtol=1e-11, atol=1e-12)


def effects_in_states(model, pairs, edges, metric=METRIC):
    """Return the effect of edges [state, edge]: nothing knocked out, then each component."""
    graph, full = model.graph, Circuit.full(model.graph)
    rows = []
    for number in range(len(graph.senders)):
        base = graph.edge_mask.clone()
        if number:
            base[number] = False
        masks = [base, *(base & ~graph.mask_of([edge]) for edge in edges)]
        values = evaluate_circuits(
            model,
            pairs,
            [full.with_edges(mask) for mask in masks],
            ablation=ResampleAblation(),
            metric=metric,
        ).mean(1)
        rows.append(values[0] - values[1:])
    return torch.stack(rows)


def test_joint_scores_are_the_largest_effect_over_states_with_its_sign(small, pairs, monkeypatch):
    # so that runs begin at every layer, or at what is knocked out
    monkeypatch.setattr(exact_joint, "CHUNK", 5)
    effects = effects_in_states(small, pairs, small.graph.edge_names)
    at = effects.abs().argmax(0)
    largest = effects.gather(0, at.unsqueeze(0))[0]
    scores = ExactJoint().score_edges(small, pairs, METRIC, Work()).by_edge()
    torch.testing.assert_close(scores, largest, rtol=1e-10, atol=1e-11)
    assert (largest > 0.05).any()
    assert (largest < -0.05).any()
    assert len(at.unique()) > 3  # in several states


def test_what_is_backed_up_counts_only_while_its_backup_is_knocked_out():
    found = planted("planted-induction:backup")
    model = found.model(noise=0.0, dtype=torch.float64)
    task = find_task(found.task)
    pairs = sample_splits(task, model.tokenizer, n=2, seed=0).discovery
    graph, full = model.graph, Circuit.full(model.graph)
    clean, corrupted = evaluate_circuits(
        model, pairs, [full, Circuit.empty(graph)], ablation=ResampleAblation(), metric=task.metric
    ).mean(1)
    gap = float(clean - corrupted)
    alone, joint = (
        method.score_edges(model, pairs, task.metric, Work()).by_edge()
        for method in (ExactEdges(), ExactJoint())
    )
    mover, backup = found.components["mover"], found.components["backup"]
    covered = [e for e in found.true_edges if e.partition("->")[2].startswith(mover)]
    silent = [e for e in found.true_edges if e.startswith(f"{backup}->") or f"{backup}<v>" in e]
    assert (len(covered), len(silent)) == (3, 2)
    for edge in covered + silent:
        number = graph.edge_number(edge)
        assert float(alone[number]) < 0, edge  # the other one does a little better
        assert abs(float(alone[number])) < 0.15 * gap, edge
        assert float(joint[number]) > gap, edge
    true = graph.mask_of(list(found.true_edges))[tuple(graph.edge_index.T)]
    assert float(joint[true].abs().min()) > gap
    assert float(joint[~true].abs().max()) < 1e-9


# Circuits run from a layer on


FAMILIES = {  # sequential blocks, parallel ones, grouped queries, no MLPs
    "gpt2": LogitDifference(),
    "gpt-neox": KLDivergence(),
    "llama": LogitDifference(),
    "native-attention-only": KLDivergence(),
}


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    @cache
    def make(name):
        return make_family(name, tmp_path_factory.mktemp(name))

    return make


def circuits_from(graph, first):
    """Return batches of circuits that keep every edge into the layers in front of `first`."""
    free = torch.tensor([graph.layer_of_receiver(r) >= first for r in range(len(graph.receivers))])
    drawn = torch.rand((3, *graph.edge_mask.shape), generator=torch.Generator().manual_seed(first))
    some = graph.edge_mask & ((drawn < 0.5) | ~free)
    unread = some.clone()  # in every circuit, heads of one layer and MLPs of another read nothing
    if first < graph.n_layers:
        unread[:, :, graph.first_receiver(first) :][:, :, : 3 * graph.n_heads] = False
        if graph.has_mlps:
            unread[:, :, graph.mlp_receiver(graph.n_layers - 1)] = False
    nothing = graph.edge_mask & ~free
    nothing[:, -1] = graph.edge_mask[:, -1]  # all that is live is what the logits read
    return some, unread, torch.stack([nothing, graph.edge_mask])


@pytest.mark.parametrize("name", FAMILIES)
def test_gains_from_a_layer_on_are_those_of_whole_runs(family, name):
    model, metric, pairs = family(name), FAMILIES[name], tokenize_pairs(random_pairs(3))
    full = Circuit.full(model.graph)
    mean = MeanAblation(tokenize_pairs(random_pairs(6, seed=1)))
    for ablation in (ResampleAblation(), mean, ZeroAblation()):
        repeated = RepeatedCircuits(model, pairs, metric, Work(ablation), n_pairs=2, n_circuits=2)
        for first in range(model.graph.n_layers + 1):
            masks = torch.cat(circuits_from(model.graph, first))
            circuits = [full.with_edges(mask) for mask in masks]
            slow = evaluate_circuits(model, pairs, circuits, ablation=ablation, metric=metric)
            gains = slow.mean(1) if metric.higher_is_better else -slow.mean(1)
            torch.testing.assert_close(repeated.gains(masks, first), gains, rtol=1e-9, atol=1e-10)
            assert len(gains.unique()) >= 4


# ACDC


class OneByOne:
    """The procedure in words: one edge, or one whole read, and one run at a time."""

    def __init__(self, method, model, pairs, metric, ablation):
        self.method, self.metric = method, metric
        self.runner = CircuitRunner(model, pairs, ablation)  # as evaluate_circuits, made once
        self.labels = pairs.with_clean_logits(record(model, pairs.clean_batch)[1]).labels
        self.graph, self.circuit = model.graph, Circuit.full(model.graph)
        self.effects, self.known = {}, {}

    def search(self):
        layers, heads = range(self.graph.n_layers)[::-1], range(self.graph.n_heads)
        self.senders = []
        for layer in layers:
            self.senders += [f"m{layer}"] * self.graph.has_mlps
            self.senders += [f"a{layer}.h{head}" for head in heads]
        self.senders += ["input"]
        self.ask(["logits"])
        for layer in layers:
            if self.graph.has_mlps:
                self.ask([f"m{layer}"])
            self.ask([f"a{layer}.h{head}<{read}>" for read in "vkq" for head in heads[::-1]])

    def ask(self, receivers):
        for receiver in receivers:
            component = receiver.partition("<")[0]
            if component != "logits" and not self.feeds_something(component):
                self.circuit = self.without(self.edges_into(receiver))
        if self.method.whole and "<" in receivers[0]:
            for receiver in receivers:
                if self.edges_into(receiver):
                    self.try_without(self.edges_into(receiver))
        for receiver in receivers:
            for edge in self.edges_into(receiver):
                self.try_without([edge])

    def try_without(self, edges):
        effect = self.gain(self.circuit) - self.gain(self.without(edges))
        if (abs(effect) if self.method.absolute else effect) < self.method.threshold:
            self.circuit = self.without(edges)
        elif len(edges) > 1:
            return  # they will be tried one by one
        self.effects.update({edge: effect / len(edges) for edge in edges})

    def gain(self, circuit):
        key = circuit.edge_mask.numpy().tobytes()
        if key not in self.known:
            logits = self.runner.logits(circuit.edge_mask.unsqueeze(0))[0]
            self.known[key] = float(self.metric.gain(logits, self.labels).mean())
        return self.known[key]

    def without(self, edges):
        return self.circuit.with_edges(self.circuit.edge_mask & ~self.graph.mask_of(edges))

    def edges_into(self, receiver):
        kept = {name for name in self.circuit.edges if name.endswith(f"->{receiver}")}
        names = [f"{sender}->{receiver}" for sender in self.senders]
        return [name for name in names if name in kept]

    def feeds_something(self, component):
        return any(edge.startswith(f"{component}->") for edge in self.circuit.edges)


MEAN = MeanAblation(tokenize_pairs(random_pairs(6, seed=1)))
RESAMPLE = ResampleAblation()
RUNS = [
    ("small", ACDC(0.05), LogitDifference(), RESAMPLE),
    ("small", ACDC(0.15, absolute=True, whole=False), LogitDifference(), MEAN),
    ("small", ACDC(0.02, whole=False), KLDivergence(), RESAMPLE),
    ("small", ACDC(0.05, absolute=True), KLDivergence(), MEAN),
    ("toy", ACDC(0.2, absolute=True), LogitDifference(), MEAN),
    ("gpt-neox", ACDC(0.1, absolute=True), LogitDifference(), RESAMPLE),
    ("native-attention-only", ACDC(0.3), LogitDifference(), MEAN),
]


@pytest.mark.parametrize("number", range(len(RUNS)))
def test_acdc_is_the_procedure_in_words_one_run_at_a_time(toy, small, family, number):
    name, method, metric, ablation = RUNS[number]
    model = {"toy": toy, "small": small}.get(name) or family(name)
    pairs = tokenize_pairs(random_pairs(2))
    slow = OneByOne(method, model, pairs, metric, ablation)
    slow.search()
    scores = method.score_edges(model, pairs, metric, Work(ablation))
    assert method.own_circuit(scores).edges == slow.circuit.edges
    mine = dict(zip(model.graph.edge_names, scores.by_edge().tolist(), strict=True))
    expected = {edge: slow.effects.get(edge, 0.0) for edge in mine}
    assert mine == pytest.approx(expected, rel=0, abs=1e-12)
    assert 5 < slow.circuit.n_edges < model.graph.n_edges - 10


def test_an_effect_of_exactly_the_threshold_keeps_an_edge(small, pairs):
    def search(threshold):
        method = ACDC(threshold, whole=False)
        return method.own_circuit(method.score_edges(small, pairs, METRIC, Work()))

    circuit = search(0.05)
    scores = circuit.scores.by_edge()
    weakest = float(scores[scores >= 0.05].min())
    assert search(weakest).edges == circuit.edges
    number = int((scores == weakest).nonzero())
    without = search(math.nextafter(weakest, math.inf))
    assert small.graph.edge_names[number] not in without.edges


def test_acdc_does_not_depend_on_how_far_it_looks_ahead(toy, pairs, monkeypatch):
    found = []
    for n in (1, 3, 64):
        monkeypatch.setattr(acdc, "LOOK_AHEAD", n)
        scores = SEARCHES["acdc"].score_edges(toy, pairs, METRIC, Work())
        found.append(scores.values)
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=1e-12)
        assert torch.equal(other >= THRESHOLD, found[0] >= THRESHOLD)
