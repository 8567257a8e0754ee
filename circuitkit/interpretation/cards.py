"""One card a component: what it is for, what it reads, what it writes, what goes without it.

Effects are in the metric's unit, positive for the behaviour: of single edges as interventions/edges
measures them, of whole components as causes.py does.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuit import Circuit
from circuitkit.graph import INPUT
from circuitkit.interpretation.causes import backups, losses
from circuitkit.interpretation.evidence import Evidence
from circuitkit.interpretation.groups import group_name, summary_of
from circuitkit.interpretation.record import Card, Link, Loss, Role, Written
from circuitkit.validation.bootstrap import Estimate, mean_estimate

N_LINKS = 12  # edges in and out that a card shows, the strongest
N_TOKENS = 5


def cards_of(evidence: Evidence, roles: Mapping[str, Sequence[Role]]) -> tuple[Card, ...]:
    """Return the card of every head and MLP of the circuit."""
    taking_over = backups(evidence.case, evidence.edge_effects)
    return tuple(_card(evidence, name, roles, taking_over.get(name, ())) for name in roles)


def _card(
    evidence: Evidence,
    component: str,
    roles: Mapping[str, Sequence[Role]],
    backed_up_by: tuple[str, ...],
) -> Card:
    says = {name: summary_of(its) for name, its in roles.items()} | {INPUT: "the tokens"}
    edges = evidence.case.circuit.edges
    into = [edge for edge in edges if Circuit.ends(edge)[1] == component]
    out = [edge for edge in edges if Circuit.ends(edge)[0] == component]
    logits = evidence.ends.direct_logits(component)
    return Card(
        component=component,
        group=group_name(component, roles[component]),
        summary=summary_of(roles[component]),
        roles=tuple(roles[component]),
        reads=_links(evidence, into, {edge: says[Circuit.ends(edge)[0]] for edge in into}),
        feeds=_links(evidence, out, {edge: says.get(Circuit.ends(edge)[1], "") for edge in out}),
        direct=_direct(evidence, logits),
        promotes=_tokens(evidence, logits, largest=True),
        demotes=_tokens(evidence, logits, largest=False),
        losses=_losses(evidence, component, backed_up_by),
        backups=backed_up_by,
    )


def _links(evidence: Evidence, edges: Sequence[str], says: Mapping[str, str]) -> tuple[Link, ...]:
    effects = evidence.edge_effects
    strongest = sorted(edges, key=lambda edge: -abs(effects[edge].mean()))[:N_LINKS]
    return tuple(Link(edge, mean_estimate(effects[edge]), says[edge]) for edge in strongest)


def _direct(evidence: Evidence, logits: Float[Tensor, "pair vocab"]) -> Estimate | None:
    """Return what is added to the answers' logits over the wrong ones, or over all others."""
    labels = evidence.case.validation.labels
    right = _mean_of(logits, labels.answers)
    if right is None:
        return None
    wrong = _mean_of(logits, labels.wrong_answers)
    return mean_estimate((right - (logits.mean(1) if wrong is None else wrong)).numpy())


def _mean_of(logits: Float[Tensor, "pair vocab"], ids: Tensor) -> Float[Tensor, " pair"] | None:
    known = ids >= 0
    if not bool(known.any(1).all()):
        return None
    picked = logits.gather(1, ids.clamp(min=0)) * known
    return picked.sum(1) / known.sum(1)


def _tokens(
    evidence: Evidence, logits: Float[Tensor, "pair vocab"], *, largest: bool
) -> tuple[Written, ...]:
    """Return the tokens whose logits are moved most, against the mean of the vocabulary."""
    mean = (logits - logits.mean(1, keepdim=True)).mean(0)
    values, ids = torch.topk(mean, min(N_TOKENS, len(mean)), largest=largest)
    text = evidence.case.model.text_of
    return tuple(
        Written(text([token]), value)
        for token, value in zip(ids.tolist(), values.tolist(), strict=True)
    )


def _losses(evidence: Evidence, component: str, backed_up_by: tuple[str, ...]) -> tuple[Loss, ...]:
    alone: tuple[str, ...] = (component,)
    sets = [alone, (*alone, *backed_up_by)] if backed_up_by else [alone]
    effects = losses(evidence.case, sets)
    return tuple(Loss(k, mean_estimate(effect)) for k, effect in zip(sets, effects, strict=True))
