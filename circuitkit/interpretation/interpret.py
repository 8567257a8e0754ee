"""Everything that is said of a circuit, in one call: from a case to an Interpretation.

1. roles, cards and groups of its heads and MLPs          on the validation pairs
2. patterns and attributions of some prompts              to look at
3. the sections of sections.py: lens, tracing, directions

What cannot be measured here is left out, and a note says why.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from circuitkit.circuits.circuit import Circuit, kind_of
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.errors import CircuitkitError, CriterionError, MethodError
from circuitkit.interpretation.cards import cards_of
from circuitkit.interpretation.findings import Interpretation, PromptView, TemplatePatterns
from circuitkit.interpretation.groups import group_edges, grouped
from circuitkit.interpretation.roles.causes import gap_of
from circuitkit.interpretation.roles.claims import roles_from
from circuitkit.interpretation.roles.evidence import Evidence
from circuitkit.interpretation.section import Section
from circuitkit.interpretation.sections import MEASURED
from circuitkit.interpretation.sweeps.patterns import by_template, prompt_views, resting_heads
from circuitkit.statistics.bootstrap import mean_estimate
from circuitkit.validation.case import Case
from circuitkit.validation.judge import MIN_TO_JUDGE
from circuitkit.work.progress import Progress, silent

N_PROMPTS = 8  # that a reader may pick
Stage = Callable[[str], Progress]


def require_whole(graph: ComponentGraph) -> None:
    """Refuse a circuit of units: roles are those of heads and whole MLPs.

    Raises:
        MethodError: an MLP is taken apart.
    """
    if graph.units:
        raise MethodError(
            f"interpretation: MLPs must be whole, got {graph.units[0]}. Roles are known of heads "
            "and of MLPs alone. Interpret the circuit of whole MLPs."
        )


def interpret(case: Case, task: str, stage: Stage = lambda title: silent) -> Interpretation:
    """Return what the parts of a case's circuit do, with the evidence.

    Raises:
        CriterionError: too few pairs, or the circuit has no edge.
        VanishingGapError: the model and the empty circuit cannot be told apart.
        MemoryBudgetError: not even one pair fits.
    """
    model, pairs, metric = case.model, case.validation, case.metric
    require_whole(case.circuit.graph)
    _require_something(case)
    evidence = Evidence(case)
    roles = roles_from(evidence, stage("Roles of components"))
    groups = grouped(roles)
    templates, notes = _templates(case, roles)
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
        sections=_sections(case, notes, stage),
        notes=tuple(notes),
    )


def _require_something(case: Case) -> None:
    """Refuse too few independent pairs, and a circuit without an edge."""
    pairs = case.validation
    if pairs.n_clusters < MIN_TO_JUDGE:
        raise CriterionError(
            f"interpretation: needs at least {MIN_TO_JUDGE} pairs, got {pairs.n_clusters} "
            f"independent ones in {len(pairs)}. Roles are claimed on tests over pairs. Raise --n, "
            "or take prompts that differ more."
        )
    if not case.circuit.n_edges:
        raise CriterionError(
            "interpretation: the circuit must have an edge, got none. It has no parts that could "
            "do something. Interpret a larger circuit."
        )


def _templates(
    case: Case, components: Iterable[str]
) -> tuple[tuple[TemplatePatterns, ...], list[str]]:
    """Return the patterns of the heads among the components, and notes on what they do not say."""
    heads = [name for name in components if kind_of(name) == "head"]
    if not heads:
        return (), ["Attention: the circuit has no heads, so there are no patterns."]
    templates = by_template(case.model, case.validation, heads, memory=case.memory)
    return templates, [*resting_heads(templates).values()]


def _sections(case: Case, notes: list[str], stage: Stage) -> tuple[Section, ...]:
    """Return what can be measured of MEASURED; `notes` gets why the rest cannot."""
    found = []
    for title, measure in MEASURED.items():
        try:
            found.append(measure(case, stage(title)))
        except CircuitkitError as error:
            notes.append(f"{title}: left out. {error}")
    return tuple(found)


def _prompts(evidence: Evidence) -> tuple[PromptView, ...]:
    """Return the first prompts to look at, each with its metric in the whole model."""
    case = evidence.case
    shown = case.validation.select(range(min(N_PROMPTS, len(case.validation))))
    views = prompt_views(
        case.model, shown, evidence.attribution, evidence.components, memory=case.memory
    )
    [whole] = case.values([Circuit.full(case.model.graph)])
    return tuple(replace(view, value=float(whole[row])) for row, view in enumerate(views))
