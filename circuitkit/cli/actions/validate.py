"""What `validate` does: hold a circuit file against the criteria."""

from pathlib import Path

import cattrs

from circuitkit.circuits.file import load_circuit
from circuitkit.cli.actions.costs import show_plan
from circuitkit.cli.actions.requests import (
    announce_drawing,
    announce_pairs,
    ground_settings,
    subject_of_file,
)
from circuitkit.cli.actions.shown import show_verdict
from circuitkit.cli.loading import EXIT_FAILED, EXIT_NOT_JUDGED
from circuitkit.cli.options import CircuitGround, Machine, Plannable
from circuitkit.cli.rules import Bounds
from circuitkit.cli.terminal import bars, show_json
from circuitkit.cli.values import parse_names
from circuitkit.statistics.bound import Bound
from circuitkit.study.cases import judge
from circuitkit.study.records import Judgement, circuit_file_of, save_judgement
from circuitkit.study.settings import Settings, installed_versions
from circuitkit.study.subject import Subject
from circuitkit.validation.criteria import Thresholds, read_thresholds
from circuitkit.validation.judge import require_known
from circuitkit.validation.verdict import REFUTED, SUPPORTED, Verdict
from circuitkit.work.files import require_writable_file

EXIT = {SUPPORTED: 0, REFUTED: EXIT_FAILED}


def judge_file(
    path: Path,
    ground: CircuitGround,
    bounds: Bounds,
    machine: Machine,
    shown: Plannable,
    output: Path | None,
) -> int:
    """Judge a circuit file, write and show the judgement, and return the exit code."""
    path = circuit_file_of(path)
    circuit = load_circuit(path)
    criteria = parse_names(bounds.criteria)
    require_known(criteria)
    if output is not None:
        require_writable_file(output)
    settings = ground_settings(
        circuit, ground, machine, thresholds=thresholds_of(bounds), criteria=criteria
    )
    announce_drawing(ground.n, shown=shown.has_bars)
    subject = subject_of_file(circuit, path, ground, machine)
    if shown.plan:
        show_plan(subject, settings, subject.splits.validation, shown)
        return 0
    announce_pairs(subject, settings)
    with bars(shown=shown.has_bars) as stage:
        verdict = judge(subject, circuit, settings, stage)
    judgement = _judgement(path, subject, settings, verdict)
    if output is not None:
        save_judgement(judgement, output)
    if shown.as_json:
        show_json(cattrs.unstructure(judgement))
    else:
        show_verdict(verdict, verbose=shown.verbose)
    return EXIT.get(verdict.outcome, EXIT_NOT_JUDGED)


def thresholds_of(bounds: Bounds) -> Thresholds:
    """Return the thresholds of these options.

    Raises:
        CriterionError: the file cannot be read.
    """
    found = read_thresholds(bounds.thresholds) if bounds.thresholds else Thresholds()
    if bounds.min_faithfulness is not None:
        found = found.with_bounds({"faithfulness": Bound(min=bounds.min_faithfulness)})
    if bounds.max_edge_share is not None:
        found = found.with_bounds({"edge-share": Bound(max=bounds.max_edge_share)})
    return found


def _judgement(path: Path, subject: Subject, settings: Settings, verdict: Verdict) -> Judgement:
    return Judgement(
        thresholds=settings.thresholds,
        circuit=str(path),
        task=subject.task,
        model=subject.model.name,
        model_digest=subject.model.digest,
        ablation=settings.ablation,
        seed=settings.seed,
        command=subject.command,
        versions=installed_versions(),
        verdict=verdict,
        n_pairs=len(subject.splits.validation),
        n_repeats=subject.splits.validation.n_repeats,
        n_clusters=subject.splits.validation.n_clusters,
        align=subject.splits.validation.align,
    )
