"""The whole of circuitkit in one call: from splits and a model to a record that can be reported.

1. baseline     can the model do the task? (refused if not)
2. heat maps    exact activation patching on some discovery pairs
3. scores       of all edges on the discovery pairs, by EAP-IG or another method
4. circuit      of the size that is asked for, or chosen on the discovery pairs (choices.py)
5. validation   faithfulness, curve and verdict on the validation pairs
6. explanation  what each part does, where it is asked for
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import EdgeScores, component_of
from circuitkit.circuits.random_circuits import select_random
from circuitkit.circuits.selection import prune_dead_ends
from circuitkit.circuits.units import ERROR
from circuitkit.circuits.whole_edges import everywhere
from circuitkit.errors import CircuitkitError
from circuitkit.interpretation.findings import Interpretation
from circuitkit.interpretation.interpret import interpret
from circuitkit.interpretation.section import HeatMap, grids
from circuitkit.interventions.patching import PatchingEffects, patch_activations
from circuitkit.interventions.path_patching import PathEffects
from circuitkit.interventions.recorded import Direction
from circuitkit.interventions.sites import site_named
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.model.recording import record
from circuitkit.prompts.columns import all_positions, by_role
from circuitkit.prompts.pairs import PromptPair, PromptPairs
from circuitkit.statistics.bootstrap import mean_estimate
from circuitkit.study.cases import case_of, judge_case
from circuitkit.study.choices import find_by_default
from circuitkit.study.column_gain import gain_of_columns
from circuitkit.study.records import RunInfo, RunRecord, Sample, Validation
from circuitkit.study.search import Found, best_edges, find
from circuitkit.study.settings import Settings, Stage, installed_versions
from circuitkit.study.subject import Subject
from circuitkit.validation.baseline import measure_baseline, require_able
from circuitkit.validation.case import Case
from circuitkit.validation.curve import Curve, Ladder, measure_curve, sizes_for
from circuitkit.validation.faithfulness import Faithfulness, faithfulness_under
from circuitkit.validation.judge import warn_if_too_few
from circuitkit.work.progress import Progress, silent

REPORTED = ("mean", "zero", "resample")  # beside the chosen one, how far faithfulness moves
N_HEAT_MAP_PAIRS = 32
N_CURVE_PAIRS = 100  # a picture: no verdict rests on it
N_SAMPLES = 5
N_TOP_TOKENS = 3


def explain(
    subject: Subject, circuit: Circuit, settings: Settings, stage: Stage = lambda title: silent
) -> Interpretation:
    """Return what the parts of a circuit do, on pairs that did not find it.

    Raises:
        CriterionError: a validation prompt is one of those that found the circuit.
        GraphError: the circuit belongs to another architecture.
        VanishingGapError: ablating everything does not change the metric.
    """
    return explain_case(case_of(subject, circuit, settings), subject, stage)


def explain_case(
    case: Case, subject: Subject, stage: Stage = lambda title: silent
) -> Interpretation:
    """Return what the parts of a case's circuit do; of edges at columns, as whole edges."""
    return interpret(replace(case, circuit=everywhere(case.circuit)), subject.task, stage)


def study(
    subject: Subject,
    settings: Settings,
    stage: Stage = lambda title: silent,
    *,
    explained: bool = False,
) -> RunRecord:
    """Return the whole record of one task on one model; `explained`: with what its parts do.

    Raises:
        BaselineError: the model cannot do the task (unless `settings.anyway`).
        VanishingGapError: ablating everything does not change the metric.
        PromptError, MemoryBudgetError: as the parts raise them.
    """
    validation = subject.splits.validation
    warn_if_too_few(validation)
    baseline = measure_baseline(subject.model, validation, subject.metric)
    if not settings.anyway:
        require_able(baseline, subject.model.name, subject.task)
    heat_maps = measure_heat_maps(subject, settings, stage)
    found = (find_by_default if settings.is_automatic else find)(subject, settings, stage)
    circuit, settings = found.circuit, found.settings
    curve = _curve(subject, found.scores, settings, stage("Faithfulness curve"))
    case = case_of(subject, circuit, settings)
    faithfulness = under_each_ablation(case)
    found = replace(found, reasons=(*found.reasons, *gain_of_columns(case, found.scores)))
    verdict = judge_case(subject, case, settings, stage)
    subject = replace(subject, reasons=(*subject.reasons, *error_reliance(case)))
    origin = replace(circuit.provenance, verdict=verdict.outcome)
    samples = sample_prompts(subject.model, validation, subject.metric)
    return RunRecord(
        _info(subject, found),
        replace(circuit, provenance=origin),
        Validation(settings.thresholds, baseline, samples, tuple(faithfulness), curve, verdict),
        heat_maps,
        explain_case(case, subject, stage) if explained else None,
    )


def measure_heat_maps(
    subject: Subject, settings: Settings, stage: Stage = lambda title: silent
) -> tuple[HeatMap, ...]:
    """Return a noising heat map of every site on the first discovery pairs, by role."""
    pairs = subject.splits.discovery
    pairs = pairs.select(range(min(N_HEAT_MAP_PAIRS, len(pairs))))
    has_roles = any(len(roles) > 1 for roles in pairs.roles)  # END is always there
    columns = by_role(pairs) if has_roles else all_positions(pairs)
    maps = []
    for site in (site_named(name) for name in _heat_map_sites(subject.model)):
        effects = patch_activations(
            subject.model,
            pairs,
            site,
            columns,
            metric=subject.metric,
            memory=settings.memory,
            progress=stage(f"Patching: {site.name}"),
        )
        maps.append(heat_map(effects, site.description, subject.metric.unit))
    return tuple(maps)


def path_map(effects: PathEffects, description: str, direction: Direction, unit: str) -> HeatMap:
    """Return the mean effects of paths over pairs, with intervals, as a heat map."""
    rows = tuple(path.partition(" -> ")[0] for path in effects.paths)
    as_sweep = PatchingEffects(
        "path", direction, rows, effects.columns, effects.effects, effects.gap
    )
    return heat_map(as_sweep, description, unit)


def _heat_map_sites(model: SubjectModel) -> tuple[str, ...]:
    return ("resid", "attn", "mlp", "heads") if model.graph.has_mlps else ("resid", "heads")


def heat_map(effects: PatchingEffects, description: str, unit: str) -> HeatMap:
    """Return the mean effects of a sweep over its pairs, with intervals."""
    cells = [[mean_estimate(pairs) for pairs in row] for row in effects.effects.numpy()]
    values, low, high = grids(cells)
    return HeatMap(
        effects.site,
        description,
        unit,
        effects.rows,
        effects.columns,
        values,
        low,
        high,
        whole=float(effects.gap.mean()),
        direction=effects.direction.value,
    )


def sample_prompts(model: SubjectModel, pairs: PromptPairs, metric: Metric) -> tuple[Sample, ...]:
    """Return the first pairs as a reader sees them, with the model's likeliest next tokens."""
    shown = pairs.select(range(min(N_SAMPLES, len(pairs))))
    _, logits = record(model, shown.clean_batch)
    labels = shown.with_clean_logits(logits).labels.to(logits.device)
    values: list[float] = metric.values(logits, labels).tolist()
    first = logits if logits.ndim == 2 else logits[:, 0]  # where the answer begins
    top = first.softmax(-1).topk(min(N_TOP_TOKENS, logits.shape[-1]), dim=-1)
    answers = [shown.answers_of(row) for row in range(len(shown))]
    return tuple(
        Sample(
            clean=model.text_of(pair.clean),
            corrupted=model.text_of(pair.corrupted),
            answers=_as_given(model, pair, pair.answers, right),
            wrong_answers=_as_given(model, pair, pair.wrong_answers, wrong),
            top=tuple(
                (model.text_of([token]), probability)
                for token, probability in zip(tokens.tolist(), probabilities.tolist(), strict=True)
            ),
            metric=value,
        )
        for pair, (right, wrong), value, tokens, probabilities in zip(
            shown.pairs, answers, values, top.indices, top.values, strict=True
        )
    )


def _as_given(
    model: SubjectModel, pair: PromptPair, answers: Sequence[Any], ids: Sequence[Sequence[int]]
) -> tuple[str, ...]:
    """Return answers as text, those that are text as they were given."""
    if not isinstance(pair.answer_after, str):  # a sequence for each place
        answers = [answer for some in answers for answer in some]
    both = zip(answers, ids, strict=True)
    return tuple(each if isinstance(each, str) else model.text_of(own) for each, own in both)


def _curve(
    subject: Subject,
    scores: EdgeScores,
    settings: Settings,
    progress: Progress,
) -> Curve:
    return measure_curve(
        subject.model,
        subject.splits.validation.select(range(min(N_CURVE_PAIRS, len(subject.splits.validation)))),
        Ladder(
            select=lambda size: prune_dead_ends(best_edges(scores, size, settings)),
            draw=lambda size, seed: select_random(scores, size, seed=seed),
            sizes=sizes_for(scores.graph.n_edges),
            n_random=settings.n_random,
        ),
        subject.metric,
        Work(subject.ablations[settings.ablation], memory=settings.memory, progress=progress),
    )


def under_each_ablation(case: Case) -> list[Faithfulness]:
    """Return faithfulness under the chosen ablation, then under the others that can be judged.

    Raises:
        VanishingGapError: ablating everything, as chosen, does not change the metric.
    """
    results = [faithfulness_under(case, case.ablation)]
    for name in REPORTED:
        if name != case.ablation:
            with suppress(CircuitkitError):
                results.append(faithfulness_under(case, name))
    return results


def error_reliance(case: Case) -> tuple[str, ...]:
    """Return how faithful the circuit is with all edges of error terms, and with none of them.

    Error terms are what dictionaries leave out of an MLP: a circuit that needs them has not been
    found among features.
    """
    graph = case.circuit.graph
    is_error = torch.tensor([graph.kind_of(name) == ERROR for name in graph.senders])
    if not bool(is_error.any()):
        return ()
    kinds = [graph.kind_of(component_of(name)) for name in graph.receivers]
    is_read = torch.tensor([kind == ERROR for kind in kinds])
    errors = graph.edge_mask & (is_error.unsqueeze(1) | is_read)
    said = []
    for how, mask in (
        ("as found", case.circuit.edge_mask),
        ("with every edge of an error term", case.circuit.edge_mask | errors),
        ("with none of them", case.circuit.edge_mask & ~errors),
    ):
        found = faithfulness_under(
            replace(case, circuit=case.circuit.with_edges(mask)), case.ablation
        )
        said.append(f"{found.value} {how}")
    n = int((case.circuit.edge_mask & errors).sum())
    return (f"{n} edges come from error terms or lead into them. Faithfulness: {'; '.join(said)}.",)


def _info(subject: Subject, found: Found) -> RunInfo:
    splits, settings, recipe = subject.splits, found.settings, found.circuit.provenance.recipe
    return RunInfo(
        task=subject.task,
        description=subject.description,
        model=subject.model.name,
        model_digest=subject.model.digest,
        method=settings.method,
        ablation=settings.ablation,
        metric=subject.metric.name,
        unit=subject.metric.unit,
        seed=settings.seed,
        n_discovery=len(splits.discovery),
        n_validation=len(splits.validation),
        n_reference=len(splits.reference),
        n_dropped=splits.discovery.n_dropped + splits.validation.n_dropped,
        n_repeats=splits.discovery.n_repeats + splits.validation.n_repeats,
        n_clusters=splits.validation.n_clusters,
        align=", ".join(sorted({splits.discovery.align, splits.validation.align} - {""})),
        n_edges_selected=recipe.selection.n_selected,
        command=subject.command,
        versions=installed_versions(),
        recipe=recipe,
        choices=tuple(filter(None, (splits.validation.reading, *subject.reasons, *found.reasons))),
    )
