"""The roles of a circuit's components: where heads look, and what all of them are for.

attends   attention_roles.py: attention to what a role names, against random sources
does      functions.py: exact effects of noising edges, against LEAST of the gap

A role is claimed if it beats its null by a test whose p-values are corrected over everything that
was tried (Holm), is large enough to be one, and if the component matters at all: alone, through an
edge, when another is gone, or jointly: in the circuit, where nothing else of the model stands in,
as minimality asks. What is not shown to matter in any of these ways is idle: a head may look
anywhere and be read by nobody.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from circuitkit.circuits.circuit import kind_of
from circuitkit.interpretation.findings import ATTENDS, DOES, Role
from circuitkit.interpretation.roles.attention import (
    FIRST,
    POSITIONAL,
    SELF,
    RoleAttention,
    attention_to_roles,
    strongest_first,
)
from circuitkit.interpretation.roles.candidate import RoleCandidate
from circuitkit.interpretation.roles.causes import (
    ALPHA,
    LEAST,
    joint_losses,
    least_effect,
    losses,
    share,
)
from circuitkit.interpretation.roles.evidence import Evidence
from circuitkit.interpretation.roles.functions import (
    BACKUP,
    IDLE,
    JOINT,
    UNIT,
    functions_of,
    stand_ins,
)
from circuitkit.statistics.bootstrap import Values, mean_estimate
from circuitkit.validation.case import Case
from circuitkit.validation.minimality import holm_adjusted, p_above
from circuitkit.work.progress import Progress, silent

MIN_ATTENTION = 0.2  # of a head's attention, at the places where it acts
RESTING = 0.5  # the same for the first token and its own place, where heads rest
MOVED = 0.5  # of what is above chance, which goes when the tokens are shuffled
VAGUE = (POSITIONAL, FIRST, SELF)  # said only where nothing more telling is known


def find_roles(case: Case) -> dict[str, tuple[Role, ...]]:
    """Return the roles of every head and MLP of a case's circuit, those that are claimed first.

    Measured on the validation pairs, under the case's ablation.

    Raises:
        VanishingGapError: the model and the empty circuit cannot be told apart.
    """
    return roles_from(Evidence(case))


def roles_from(evidence: Evidence, progress: Progress = silent) -> dict[str, tuple[Role, ...]]:
    """Return the roles that some evidence shows. Progress counts components."""
    case, names = evidence.case, evidence.components
    alone = losses(case, [(name,) for name in names])
    does = []
    for done, name in enumerate(names):
        progress(done, len(names))
        does += functions_of(evidence, name)
    does += stand_ins(evidence)
    heads = [name for name in names if kind_of(name) == "head"]
    looks = [candidate for head in heads for candidate in looks_of(evidence, head)]
    progress(len(names), len(names))
    causal_p = holm_adjusted(
        np.array([*p_above(alone, least_effect(case)), *(candidate.p for candidate in does)])
    )
    of_alone, of_does = causal_p[: len(names)], causal_p[len(names) :]
    matters = {name for name, p in zip(names, of_alone, strict=True) if p <= ALPHA}
    matters |= {t.component for t, p in zip(does, of_does, strict=True) if p <= ALPHA and t.large}
    jointly = _jointly_needed(case, [name for name in names if name not in matters])
    matters |= set(jointly)
    of_looks = holm_adjusted(np.array([candidate.p for candidate in looks]))
    found: dict[str, list[Role]] = {name: [] for name in names}
    for candidate, p in (*zip(does, of_does, strict=True), *zip(looks, of_looks, strict=True)):
        is_claimed = bool(p <= ALPHA) and candidate.large and candidate.component in matters
        found[candidate.component].append(candidate.role(float(p), claimed=is_claimed))
    for name, effects, p in zip(names, alone, of_alone, strict=True):
        if name in jointly:
            found[name].append(_joint(case, effects, *jointly[name]))
        elif name not in matters:
            found[name].append(_idle(case, effects, float(p)))
    return {name: tuple(_sorted(_telling(roles))) for name, roles in found.items()}


def looks_of(evidence: Evidence, head: str) -> list[RoleCandidate]:
    """Return where a head may look from the places at which it acts, strongest first."""
    where, destinations = evidence.acts_at(head)
    found = attention_to_roles(
        evidence.pattern_of(head),
        evidence.pattern_of(head, shuffled=True),
        evidence.prompts,
        destinations,
        evidence.sources,
    )
    return [_look(head, where, attention) for attention in strongest_first(found)]


def claimed(roles: Sequence[Role], kind: str) -> list[Role]:
    """Return the roles of a kind that are claimed, strongest first."""
    return [role for role in roles if role.claimed and role.kind == kind]


def _look(head: str, where: str, attention: RoleAttention) -> RoleCandidate:
    score, null = mean_estimate(attention.per_pair), attention.mean
    least = RESTING if attention.role in (FIRST, SELF) else MIN_ATTENTION
    large = score.value >= max(least, twice(null))
    from_where = f" from {where}" if where else ""
    says = f"{score} of its attention{from_where} goes there, chance gives {null:.2g}"
    if attention.unmoved is not None:
        gone = mean_estimate(attention.per_pair - attention.unmoved)
        large &= gone.low > 0 and gone.value >= MOVED * (score.value - null)
        says += f", the same places with the tokens shuffled {attention.unmoved.mean():.2g}"
    name, p = attention.role, attention.p
    return RoleCandidate(head, name, ATTENDS, score, "attention", null, p, large, says)


def _jointly_needed(case: Case, names: Sequence[str]) -> dict[str, tuple[Values, float]]:
    """Return those of some components that matter together with others: effects, corrected p."""
    if not names:
        return {}
    effects = joint_losses(case, names)
    corrected = holm_adjusted(p_above(effects, least_effect(case)))
    return {
        name: (own, float(p))
        for name, own, p in zip(names, effects, corrected, strict=True)
        if p <= ALPHA and abs(own.mean()) >= least_effect(case)
    }


def _joint(case: Case, alone: Values, jointly: Values, p: float) -> Role:
    score = share(case, jointly)
    says = (
        f"ablating it alone in the whole model costs {share(case, alone)} of the gap; where "
        "nothing stands in for it, in the circuit or without the others that do nothing alone, "
        f"{score}"
    )
    return Role(JOINT, DOES, score, UNIT, LEAST, p, claimed=True, evidence=says)


def twice(null: float) -> float:
    """Return the attention that is twice what chance gives, for a role of any size.

    What two draws of random sources hold together: about 2 null where that is small, and below 1
    where it is not, so that a role which covers half of what is in reach can be claimed.
    """
    return 1 - (1 - null) ** 2


def _idle(case: Case, effects: Values, p: float) -> Role:
    score = share(case, effects)
    says = f"ablating it costs {score} of the gap, not shown to be above {LEAST:.0%}; no edge is"
    says += ", alone or in the circuit. Minimality asks for less: more than a random edge does"
    return Role(IDLE, DOES, score, UNIT, LEAST, p, claimed=True, evidence=says)


def _telling(roles: list[Role]) -> list[Role]:
    """Return the roles, the vague ways to look claimed only where no other is."""
    looks = claimed(roles, ATTENDS)
    if all(role.name in VAGUE for role in looks):
        return roles
    return [
        replace(role, claimed=False) if role in looks and role.name in VAGUE else role
        for role in roles
    ]


def _sorted(roles: list[Role]) -> list[Role]:
    """Return claimed roles first, what it is for before where it looks, by size.

    What a component does only in another's absence counts half.
    """
    does = [role for role in roles if role.kind == DOES]
    does.sort(key=lambda role: -abs(role.score.value) * (0.5 if role.name == BACKUP else 1.0))
    looks = [role for role in roles if role.kind == ATTENDS]
    return sorted([*does, *looks], key=lambda role: not role.claimed)
