from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.interventions.patching import patch_activations
from circuitkit.interventions.sites import site_named
from circuitkit.metrics import KLDivergence
from circuitkit.prompts.batch import Labels
from circuitkit.prompts.columns import by_role
from circuitkit.validation import knock_outs
from circuitkit.validation.knock_outs import (
    GREEDY_STEPS,
    N_RANDOM,
    component_classes,
    greedy_sets,
    incompleteness,
    inner_components,
    random_sets,
)
from tests.families import make_native

NAMES = ("a0.h0", "a0.h1", "m0", "a1.h0", "m1")


def test_inner_components_are_heads_and_mlps(small):
    circuit = Circuit.of_edges(small.graph, ["input->a0.h2<k>", "a0.h2->m1", "m1->logits"])
    assert inner_components(circuit) == ("a0.h2", "m1")


def test_classes_part_the_circuit_by_kind_place_and_sign_of_the_largest_effect(new_case, small):
    case = new_case(circuit=Circuit.full(small.graph))
    classes = component_classes(case)
    members = [name for names in classes.values() for name in names]
    assert sorted(members) == sorted(inner_components(case.circuit))
    columns = by_role(case.choosing)
    for site, kind in (("heads", "head"), ("mlp", "mlp")):
        found = patch_activations(
            case.model, case.choosing, site_named(site), columns, metric=case.metric
        )
        for row, values in zip(found.rows, found.effects.mean(-1).tolist(), strict=True):
            at = max(range(len(values)), key=lambda i: abs(values[i]))
            name = f"{kind}s at {found.columns[at]}, {'for' if values[at] > 0 else 'against'}"
            assert (row in classes.get(name, ())) == (row in members)


def test_a_class_is_where_its_members_act_most_on_average(new_case, monkeypatch):
    mean_effects = {
        "a0.h0": (0.2, -0.5, 0.1),
        "a0.h1": (0.3, 0.2, -0.1),
        "a1.h1": (0.1, -0.6, 0.5),
        "m1": (0.0, 0.0, 0.0),
        "a1.h2": (9.0, 9.0, 9.0),  # not of the circuit
    }

    def patch_activations(model, pairs, site, columns, **_):
        rows = [name for name in mean_effects if (name[0] == "m") == (site.name == "mlp")]
        values = torch.tensor([mean_effects[name] for name in rows], dtype=torch.float64)
        noise = torch.tensor([30.0, -30.0, 0.0])  # of single pairs
        return SimpleNamespace(
            rows=rows, columns=("A", "B", "C"), effects=values[..., None] + noise
        )

    monkeypatch.setattr(knock_outs, "patch_activations", patch_activations)
    edges = [f"{name}->logits" for name in list(mean_effects)[:4]]
    case = new_case()
    case = replace(case, circuit=Circuit.of_edges(case.model.graph, edges))
    assert component_classes(case) == {
        "heads at A, for": ("a0.h1",),
        "heads at B, against": ("a0.h0", "a1.h1"),
        "mlps at A, for": ("m1",),
    }


def test_exchanged_answers_exchange_the_signs(new_case, case):
    pairs = case.discovery
    labels = Labels(pairs.labels.wrong_answers, pairs.labels.answers)
    there = component_classes(new_case(discovery=replace(pairs, labels=labels)))
    swap = {"for": "against", "against": "for"}
    expected = {}
    for name, members in component_classes(case).items():
        place, _, sign = name.rpartition(", ")
        expected[f"{place}, {swap[sign]}"] = members
    assert there == expected


def test_without_roles_components_act_at_all_positions(new_case, case):
    bare = case.discovery.select(range(4))
    object.__setattr__(bare, "roles", tuple({"END": r["END"]} for r in bare.roles))
    assert {name.partition(",")[0] for name in component_classes(new_case(discovery=bare))} <= {
        "heads at all",
        "mlps at all",
    }


def test_a_model_without_mlps_has_classes_of_heads(new_case):
    model = make_native("native-attention-only")
    held = new_case(model=model, circuit=Circuit.full(model.graph))
    assert {name.partition(" ")[0] for name in component_classes(held)} == {"heads"}


def test_random_sets_hold_about_half_and_depend_on_the_seed():
    names = tuple(f"c{i}" for i in range(200))
    one, same, other = (random_sets(names, seed=s) for s in (1, 1, 2))
    assert one == same
    assert one != other
    assert len(one) == len(set(one.values())) == N_RANDOM
    for members in one.values():
        assert set(members) <= set(names)
        assert 70 < len(members) < 130


def test_greedy_search_takes_what_opens_the_largest_gap_each_time(told, small):
    gaps = {"a0.h0": 1, "a0.h1": -5, "m0": 3, "a1.h0": 0, "m1": 2}

    def tell(c, choosing, ablation):
        assert choosing
        lost = set(small.graph.senders) - {edge.partition("->")[0] for edge in c.edges}
        is_model = c.n_edges > 10
        return [0.0 if is_model else sum(gaps.get(name, 0) for name in lost)] * 7

    held = told(tell, Circuit.of_edges(small.graph, [f"{name}->logits" for name in NAMES]))
    found = greedy_sets(held, NAMES)
    assert list(found) == [f"greedy set {i + 1}" for i in range(GREEDY_STEPS)]
    # -5, then the rest of one sign can only bring it back: 0, 1, 2 each open the least loss
    assert list(found.values()) == [
        ("a0.h1",),
        ("a0.h1", "a1.h0"),
        ("a0.h1", "a1.h0", "a0.h0"),
        ("a0.h1", "a1.h0", "a0.h0", "m1"),
    ]
    assert len(greedy_sets(held, NAMES[:2])) == 2
    assert greedy_sets(held, ()) == {}


def test_incompleteness_takes_the_same_components_out_of_circuit_and_model(case):
    sets = [(), ("m0",), ("a0.h1", "m1")]
    found = incompleteness(case, sets, ablation="mean")
    graph = case.model.graph
    for row, k in zip(found, sets, strict=True):
        silent = torch.tensor([name in k for name in graph.senders])
        masks = [m.clone() for m in (case.circuit.edge_mask, graph.edge_mask)]
        for mask in masks:
            mask[silent] = False
        circuits = [Circuit.full(graph).with_edges(mask) for mask in masks]
        c, m = case.values(circuits, ablation="mean")
        np.testing.assert_allclose(row, c - m, atol=1e-12)
    on_discovery = incompleteness(case, sets, choosing=True)
    assert on_discovery.shape == (3, len(case.choosing))


def test_signs_do_not_depend_on_whether_more_is_better(new_case, case):
    classes = component_classes(new_case(metric=KLDivergence()))
    sizes = {
        sign: sum(len(m) for n, m in classes.items() if n.endswith(sign))
        for sign in ("for", "against")
    }
    assert sizes["against"] == 0  # KL to the clean run can only grow
    assert sizes["for"] == pytest.approx(len(inner_components(case.circuit)))
