"""Sets of components to knock out: those that may expose backups.

    by class   components of one kind that act at the same role, with the same sign
    random     each component with probability 1/2, seeded
    greedy     one component at a time, the one that opens the largest gap to the model

A component's class is where it acts: the token role (or position) at which noising it changes the
metric most on the discovery pairs, by exact activation patching. Wang et al. 2022
(arXiv:2211.00593, section 4.2) use classes found by hand, and random and greedy sets.
"""

import random
from collections import defaultdict

import numpy as np

from circuitkit.circuits.circuit import Circuit, kind_of
from circuitkit.circuits.graph import INPUT
from circuitkit.interventions.patching import patch_activations
from circuitkit.interventions.sites import site_named
from circuitkit.prompts.columns import all_positions, by_role
from circuitkit.statistics.bootstrap import Values
from circuitkit.validation.case import Case

Components = tuple[str, ...]
N_RANDOM = 10
GREEDY_STEPS = 4


def inner_components(circuit: Circuit) -> Components:
    """Return the heads and MLPs of a circuit, and of an MLP that is taken apart its units.

    What only reads, as an MLP whose units are what writes, is not among them.
    """
    writing = set(circuit.graph.senders)
    return tuple(name for name in circuit.components if name in writing and name != INPUT)


def component_classes(case: Case) -> dict[str, Components]:
    """Return the circuit's heads and MLPs by class, as {"heads at END, for": (...)}."""
    return case.once("component classes", lambda: _classes(case))


def _classes(case: Case) -> dict[str, Components]:
    pairs, held = case.choosing, set(inner_components(case.circuit))
    columns = by_role(pairs) if any(len(r) > 1 for r in pairs.roles) else all_positions(pairs)
    found: dict[str, list[str]] = defaultdict(list)
    for site in ("heads", "mlp"):
        if site == "mlp" and not case.model.graph.has_mlps:
            continue
        effects = patch_activations(
            case.model,
            pairs,
            site_named(site),
            columns,
            metric=case.metric,
            memory=case.memory,
        )
        for row, values in zip(effects.rows, effects.effects.mean(-1).numpy(), strict=True):
            at = int(np.abs(values).argmax())
            sign = "for" if values[at] >= 0 else "against"
            for name in held.intersection(case.circuit.graph.parts_of(row)):
                found[f"{kind_of(name)}s at {effects.columns[at]}, {sign}"].append(name)
    order = {name: number for number, name in enumerate(case.circuit.graph.senders)}
    return {
        name: tuple(sorted(members, key=lambda member: order[member]))
        for name, members in sorted(found.items())
    }


def random_sets(components: Components, *, seed: int) -> dict[str, Components]:
    """Return random subsets, each component in with probability 1/2."""
    rng = random.Random(seed)
    return {
        f"random set {i + 1}": tuple(name for name in components if rng.random() < 0.5)
        for i in range(N_RANDOM)
    }


def greedy_sets(case: Case, components: Components) -> dict[str, Components]:
    """Return the sets that greedy search passes through, on the discovery pairs."""
    chosen: Components = ()
    sets = {}
    for step in range(min(GREEDY_STEPS, len(components))):
        candidates = [(*chosen, name) for name in components if name not in chosen]
        gaps = np.abs(incompleteness(case, candidates, choosing=True).mean(1))
        chosen = candidates[int(gaps.argmax())]
        sets[f"greedy set {step + 1}"] = chosen
    return sets


def incompleteness(
    case: Case, sets: list[Components], *, choosing: bool = False, ablation: str = ""
) -> Values:
    """Return F(C minus K) - F(M minus K) of each set K and pair, [set, pair]."""
    full = Circuit.full(case.model.graph)
    without = [circuit.without(k) for circuit in (case.circuit, full) for k in sets]
    values = case.values(without, choosing=choosing, ablation=ablation)
    return np.asarray(values[: len(sets)] - values[len(sets) :])
