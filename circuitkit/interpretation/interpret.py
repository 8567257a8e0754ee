"""Everything that is said of a circuit, in one call: from a case to an Interpretation.

1. roles, cards and groups of its heads and MLPs          on the validation pairs
2. patterns and attributions of some prompts              to look at
3. the logit lens, and causal tracing of the subject      on the first N_SWEPT validation pairs
4. directions: encoded, and used?                         found on discovery pairs

What cannot be measured here is left out, and a note says why.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from circuitkit.circuits.circuit import Circuit, kind_of
from circuitkit.errors import CircuitkitError, CriterionError
from circuitkit.interpretation.cards import cards_of
from circuitkit.interpretation.directions.search import measure_directions
from circuitkit.interpretation.findings import DirectionRow, Interpretation, PromptView, Sweep
from circuitkit.interpretation.groups import group_edges, grouped
from circuitkit.interpretation.roles.causes import gap_of
from circuitkit.interpretation.roles.claims import roles_from
from circuitkit.interpretation.roles.evidence import Evidence
from circuitkit.interpretation.sweeps.logit_lens import logit_lens
from circuitkit.interpretation.sweeps.patterns import by_template, prompt_views, resting_heads
from circuitkit.interpretation.sweeps.tracing import trace_facts
from circuitkit.prompts.columns import by_role
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import mean_estimate
from circuitkit.validation.case import Case
from circuitkit.validation.judge import MIN_TO_JUDGE
from circuitkit.work.progress import Progress, silent

N_PROMPTS = 8  # that a reader may pick
N_SWEPT = 32  # pairs of the lens and of tracing
T = TypeVar("T")
Stage = Callable[[str], Progress]


def interpret(case: Case, task: str, stage: Stage = lambda title: silent) -> Interpretation:
    """Return what the parts of a case's circuit do, with the evidence.

    Raises:
        CriterionError: too few pairs.
        VanishingGapError: the model and the empty circuit cannot be told apart.
        MemoryBudgetError: not even one pair fits.
    """
    model, pairs, metric = case.model, case.validation, case.metric
    if len(pairs) < MIN_TO_JUDGE:
        raise CriterionError(
            f"interpretation: needs at least {MIN_TO_JUDGE} pairs, got {len(pairs)}. Roles are "
            "claimed on tests over pairs. Raise --n."
        )
    notes: list[str] = []
    evidence = Evidence(case)
    told = stage("Roles of components")
    roles = roles_from(evidence, told)
    groups = grouped(roles)
    heads = [name for name in roles if kind_of(name) == "head"]
    swept = pairs.select(range(min(N_SWEPT, len(pairs))))
    templates = by_template(model, pairs, heads, memory=case.memory) if heads else ()
    if not heads:
        notes.append("Attention: the circuit has no heads, so there are no patterns.")
    notes += resting_heads(templates).values()
    notes += evidence.attribution.notes
    return Interpretation(
        task=task,
        model=model.name,
        model_digest=model.digest,
        metric=metric.name,
        unit=metric.unit,
        ablation=case.ablation,
        n_pairs=len(pairs),
        seed=case.seed,
        gap=mean_estimate(gap_of(case)),
        cards=cards_of(evidence, roles, notes),
        groups=groups,
        group_edges=group_edges(case, groups),
        prompts=_prompts(evidence),
        templates=templates,
        sweeps=(*_lens(case, swept, notes), *_tracing(case, swept, notes, stage)),
        directions=_directions(case, notes, stage),
        notes=tuple(notes),
    )


def _prompts(evidence: Evidence) -> tuple[PromptView, ...]:
    """Return the first prompts to look at, each with its metric in the whole model."""
    case = evidence.case
    shown = case.validation.select(range(min(N_PROMPTS, len(case.validation))))
    views = prompt_views(
        case.model, shown, evidence.attribution, evidence.components, memory=case.memory
    )
    [whole] = case.values([Circuit.full(case.model.graph)])
    return tuple(replace(view, value=float(whole[row])) for row, view in enumerate(views))


def _lens(case: Case, pairs: PromptPairs, notes: list[str]) -> tuple[Sweep, ...]:
    def measure() -> tuple[Sweep, ...]:
        lens = logit_lens(case.model, pairs, by_role(pairs), memory=case.memory)
        return lens.difference, lens.answer_on_top

    return _or_note(notes, "Logit lens", measure)


def _tracing(case: Case, pairs: PromptPairs, notes: list[str], stage: Stage) -> tuple[Sweep, ...]:
    def measure() -> tuple[Sweep, ...]:
        return trace_facts(
            case.model,
            pairs,
            case.metric,
            seed=case.seed,
            memory=case.memory,
            progress=stage("Causal tracing"),
        )

    return _or_note(notes, "Causal tracing", measure)


def _directions(case: Case, notes: list[str], stage: Stage) -> tuple[DirectionRow, ...]:
    def measure() -> tuple[DirectionRow, ...]:
        return measure_directions(
            case.model,
            case.discovery,
            case.validation,
            case.metric,
            seed=case.seed,
            memory=case.memory,
            progress=stage("Directions"),
        )

    return _or_note(notes, "Directions", measure)


def _or_note(notes: list[str], what: str, measure: Callable[[], tuple[T, ...]]) -> tuple[T, ...]:
    """Return what is measured; or nothing, and note why."""
    try:
        return measure()
    except CircuitkitError as error:
        notes.append(f"{what}: left out. {error}")
        return ()
