"""One card a component: what it is for, what it reads, what it writes, what goes without it.

Effects are in the metric's unit, positive for the behaviour: of single edges as interventions/edges
measures them, of whole components as causes.py does.
"""

from collections.abc import Mapping, Sequence

from circuitkit.circuits.circuit import Circuit, kind_of
from circuitkit.circuits.graph import INPUT
from circuitkit.interpretation.findings import Card, HeadWeights, Link, Loss, Role
from circuitkit.interpretation.groups import group_name, summary_of
from circuitkit.interpretation.roles.causes import backups, losses
from circuitkit.interpretation.roles.evidence import Evidence
from circuitkit.interpretation.sweeps.logit_attribution import promoted
from circuitkit.interpretation.weights.heads import head_weights
from circuitkit.statistics.bootstrap import mean_estimate

N_TOKENS = 5


def cards_of(
    evidence: Evidence, roles: Mapping[str, Sequence[Role]], notes: list[str] | None = None
) -> tuple[Card, ...]:
    """Return the card of every head and MLP of the circuit; `notes` gets what is left out."""
    weights, said = _weights(evidence, list(roles))
    if notes is not None:
        notes += said
    taking_over = backups(evidence.case, evidence.edge_effects)
    says = {name: summary_of(its) for name, its in roles.items()} | {INPUT: "the tokens"}
    return tuple(
        _card(evidence, name, its, says, taking_over.get(name, ()), weights.get(name))
        for name, its in roles.items()
    )


def _weights(
    evidence: Evidence, names: Sequence[str]
) -> tuple[dict[str, HeadWeights | None], list[str]]:
    """Return what the weights of the heads say, and what was left out, said once."""
    found: dict[str, HeadWeights | None] = {}
    notes: dict[str, None] = {}
    for name in names:
        if kind_of(name) == "head":
            found[name], note = head_weights(evidence.case.model, name, evidence.case.circuit.edges)
            notes[note] = None
    return found, [note for note in notes if note]


def _card(
    evidence: Evidence,
    component: str,
    roles: Sequence[Role],
    says: Mapping[str, str],
    backed_up_by: tuple[str, ...],
    weights: HeadWeights | None,
) -> Card:
    edges = evidence.case.circuit.edges
    into = [edge for edge in edges if Circuit.ends(edge)[1] == component]
    out = [edge for edge in edges if Circuit.ends(edge)[0] == component]
    named = promoted(evidence.case.model, evidence.attribution, component, N_TOKENS)
    return Card(
        component=component,
        group=group_name(component, roles),
        summary=says[component],
        roles=tuple(roles),
        reads=_links(evidence, into, says, end=0),
        feeds=_links(evidence, out, says, end=1),
        direct=evidence.attribution.estimate(component),
        promotes=named.promotes,
        demotes=named.demotes,
        losses=_losses(evidence, component, backed_up_by),
        backups=backed_up_by,
        weights=weights,
    )


def _links(
    evidence: Evidence, edges: Sequence[str], says: Mapping[str, str], *, end: int
) -> tuple[Link, ...]:
    """Return the edges, largest effect first, with what is said of the component at their ends."""
    effects = evidence.edge_effects
    strongest = sorted(edges, key=lambda edge: -abs(effects[edge].mean()))
    return tuple(
        Link(edge, mean_estimate(effects[edge]), says.get(Circuit.ends(edge)[end], ""))
        for edge in strongest
    )


def _losses(evidence: Evidence, component: str, backed_up_by: tuple[str, ...]) -> tuple[Loss, ...]:
    alone: tuple[str, ...] = (component,)
    sets = [alone, (*alone, *backed_up_by)] if backed_up_by else [alone]
    effects = losses(evidence.case, sets)
    return tuple(Loss(k, mean_estimate(effect)) for k, effect in zip(sets, effects, strict=True))
