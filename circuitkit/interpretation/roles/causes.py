"""What the behaviour loses when components are ablated in the whole model, alone and together.

    effect(K)     = gain(M) - gain(M minus K)          more is better, in the metric's unit
    effect(u | v) = effect({u, v}) - effect({v})       what u does once v is gone
    u takes over from v if effect(u | v) - effect(u) is above LEAST of the gap (t-test over pairs,
    Holm's correction) and effect(u | v) is too

M is the model, `minus K` the model in which nothing reads what K writes (Wang et al. 2022,
arXiv:2211.00593, section 3.4, on backup name movers). Backups are looked for behind the LEADING
components by the exact effect of their edges, which a backup does not hide.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from circuitkit.circuits.circuit import Circuit, layer_of
from circuitkit.statistics.bootstrap import Estimate, Values
from circuitkit.validation.case import Case
from circuitkit.validation.knock_outs import inner_components
from circuitkit.validation.minimality import holm, p_above

LEAST = 0.02  # share of the gap below which nothing is said to matter
ALPHA = 0.01
LEADING = 8


def losses(case: Case, sets: Sequence[tuple[str, ...]]) -> Values:
    """Return the effect of ablating each set of components, [set, pair]."""
    full = Circuit.full(case.model.graph)
    whole, *without = case.values([full, *(full.without(members) for members in sets)])
    return np.asarray(sign_of(case) * (whole - np.stack(without)))


def joint_losses(case: Case, names: Sequence[str]) -> Values:
    """Return what each component is worth where others do not stand in, [component, pair].

    The larger, by its mean, of two: what the circuit loses with it, nothing else of the model being
    there; and what it adds to the loss of all the other `names` together in the whole model.
    """
    whole, *without = case.values([case.circuit, *(case.circuit.without((n,)) for n in names)])
    in_circuit = np.asarray(sign_of(case) * (whole - np.stack(without)))
    others = [tuple(other for other in names if other != name) for name in names]
    together, *but_one = losses(case, [tuple(names), *others])
    among = np.asarray(together - np.stack(but_one))
    larger = np.abs(in_circuit.mean(1)) >= np.abs(among.mean(1))
    return np.where(larger[:, None], in_circuit, among)


def sign_of(case: Case) -> int:
    """Return what turns the metric into a gain: -1 where less is better."""
    return 1 if case.metric.higher_is_better else -1


def gap_of(case: Case) -> Values:
    """Return gain(M) - gain(0) of each pair."""
    full, empty = case.ends()
    return np.asarray(sign_of(case) * (full - empty))


def share(case: Case, effects: Values) -> Estimate:
    """Return the mean effect as a share of the gap."""
    return case.share_of_gap(sign_of(case) * effects)


def least_effect(case: Case) -> float:
    """Return the effect below which nothing is said to matter, in the metric's unit."""
    return LEAST * abs(float(gap_of(case).mean()))


def backups(case: Case, edge_effects: Mapping[str, Values]) -> dict[str, tuple[str, ...]]:
    """Return, for each component, those that take over when it is gone; most effective first.

    `edge_effects` are the exact effects of the circuit's edges, [pair] each. Only components with a
    receiver in common are tried, which the first of them must be shown to matter to.
    """
    return case.once("backups", lambda: _backups(case, edge_effects), edge_effects)


def _backups(case: Case, edge_effects: Mapping[str, Values]) -> dict[str, tuple[str, ...]]:
    jobs = _candidates(case, edge_effects)
    found: dict[str, tuple[str, ...]] = {}
    if not jobs:
        return found
    names = sorted({name for job in jobs for name in job})
    alone = dict(zip(names, losses(case, [(name,) for name in names]), strict=True))
    both = losses(case, jobs)
    more = np.stack([row - alone[v] - alone[u] for row, (u, v) in zip(both, jobs, strict=True)])
    then = more + np.stack([alone[u] for u, _ in jobs])
    takes_over = holm(p_above(more, least_effect(case)), ALPHA) & (more.mean(1) > 0)
    takes_over &= then.mean(1) >= least_effect(case)
    for number in np.argsort(-more.mean(1)).tolist():
        if takes_over[number]:
            u, v = jobs[number]
            found[v] = (*found.get(v, ()), u)
    return found


def _candidates(case: Case, edge_effects: Mapping[str, Values]) -> list[tuple[str, str]]:
    """Return pairs of a later component and an earlier one that it may back up."""
    readers: dict[str, set[str]] = defaultdict(set)
    does: dict[str, set[str]] = defaultdict(set)
    size: dict[str, float] = defaultdict(float)
    for edge, effects in edge_effects.items():
        sender, _, receiver = edge.partition("->")
        effect = abs(float(effects.mean()))
        readers[sender].add(receiver)
        size[sender] = max(size[sender], effect)
        if effect >= least_effect(case):
            does[sender].add(receiver)
    inner = set(inner_components(case.circuit))
    leading = sorted(inner & set(does), key=lambda name: -size[name])[:LEADING]
    layers = {name: layer_of(name, case.model.graph) for name in inner}
    return [
        (u, v)
        for v in leading
        for u in sorted(inner - {v})
        if layers[u] >= layers[v] and readers[u] & does[v]
    ]
