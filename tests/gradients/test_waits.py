"""How often the host would wait for a device, in what the engine is asked for most."""

from dataclasses import replace

import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.discovery.methods import method_named
from circuitkit.interventions import budget
from circuitkit.interventions.ablation import MeanAblation, ResampleAblation, ZeroAblation
from circuitkit.interventions.edges import measure_edges
from circuitkit.interventions.patching import patch_activations
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.sites import site_named
from circuitkit.interventions.work import Work
from circuitkit.metrics import LogitDifference
from circuitkit.model.recording import record
from circuitkit.prompts.columns import all_positions
from circuitkit.zoo import load_model
from tests.conftest import save_toy
from tests.waits import Waits, put

METRIC = LogitDifference()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("layers")
    return [load_model(save_toy(root / str(n), 0, n_layers=n), dtype=torch.float64) for n in (2, 6)]


def score(name, ablation):
    return lambda model, pairs: method_named(name).score_edges(
        model, pairs, METRIC, Work(ablation(pairs))
    )


def run_circuits(n, ablation):
    return lambda model, pairs: evaluate_circuits(
        model, pairs, [Circuit.full(model.graph)] * n, ablation=ablation(pairs), metric=METRIC
    )


def resampled(_):
    return ResampleAblation()


def zeroed(_):
    return ZeroAblation()


WORK = {
    "eap": (score("eap", resampled), 4),
    "eap, zero": (score("eap", zeroed), 4),
    "eap-ig": (score("eap-ig", resampled), 8),
    "relp": (score("relp", resampled), 5),
    "one circuit": (run_circuits(1, resampled), 4),
    "one circuit, mean": (run_circuits(1, MeanAblation), 4),
    "many circuits": (run_circuits(5, zeroed), 4),
    "record": (lambda model, pairs: record(model, pairs.clean_batch), 2),
}


def waits_of(work, model, pairs):
    fresh = replace(model)  # which keeps nothing that was made outside of the count
    with Waits(fresh) as waits:
        fresh.layers, fresh.final_norm  # noqa: B018
        waits.counts.clear()
        work(fresh, pairs)
    return waits


@pytest.mark.parametrize("name", WORK)
def test_the_host_waits_a_few_times_whatever_the_number_of_layers(name, models, pairs):
    work, most = WORK[name]
    shallow, deep = (waits_of(work, model, pairs) for model in models)
    assert 0 < deep.n <= most, deep.counts
    assert deep.n == shallow.n, deep.counts - shallow.counts


def test_exact_edges_wait_once_for_each_batch_of_effects(models, pairs):
    model = models[1]
    waits = waits_of(lambda m, p: measure_edges(m, p, m.graph.edge_names, METRIC), model, pairs)
    read = sum(n for what, n in waits.counts.items() if "change if self.noising" in what)
    assert read == 2 * model.graph.n_layers + 1  # the heads and the MLP of a layer, the logits
    assert waits.n - read <= 5, waits.counts


def test_patching_waits_twice_for_each_layer(models, pairs):
    site = site_named("heads")
    work = lambda m, p: patch_activations(m, p, site, all_positions(p), metric=METRIC)  # noqa: E731
    shallow, deep = (waits_of(work, model, pairs) for model in models)
    assert deep.n - shallow.n == 2 * (models[1].graph.n_layers - models[0].graph.n_layers)
    assert shallow.n <= 2 * models[0].graph.n_layers + 5, shallow.counts


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).any()),
        lambda x: x.cpu(),
        lambda x: x.tolist(),
        lambda x: x[x > 0],
        lambda x: x[[0, 2]],
        lambda x: torch.zeros(3).to(x.device) + x,
        lambda x: torch.tensor([1.0], device=x.device),
    ],
)
def test_what_makes_the_host_wait_is_counted(look, models):
    with Waits(models[0]) as waits:
        x = torch.arange(3.0)
        put(x)
        look(x)
    assert waits.n == 1


def test_what_the_host_holds_itself_is_looked_at_freely(models):
    with Waits(models[0]) as waits:
        x = torch.arange(3.0)
        x[x > 0].tolist()
        there = x.to(models[0].device, non_blocking=True)
        back = (there + 1).cpu()
        back.tolist()
    assert waits.n == 1


def test_a_gpu_is_given_all_rows_that_fit_and_a_cpu_those_that_are_comfortable(
    models, pairs, monkeypatch
):
    model = models[0]
    each = budget.bytes_per_pair(model, pairs.clean.shape[1])
    monkeypatch.setattr(budget, "COMFORTABLE", 100)
    assert budget.rows_per_batch(model, pairs, 10**9)[1] == budget.MIN_COMFORTABLE_ROWS
    there = replace(model)
    vars(there).update(vars(model) | {"device": torch.device("cuda")})
    assert budget.rows_per_batch(there, pairs, 50 * each)[1] == 50
    assert budget.rows_per_batch(there, pairs, 10**6 * each)[1] == budget.MAX_ROWS
    n_circuits, n_pairs = budget.circuits_per_batch(there, pairs, 1000, 40 * len(pairs) * each)
    assert (n_circuits, n_pairs) == (40, len(pairs))
