"""What `compare` does: circuits of different models, by what their components do."""

from dataclasses import replace
from pathlib import Path

import cattrs

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import load_circuit
from circuitkit.cli.actions.pictures import picture_format
from circuitkit.cli.actions.requests import subject_of_file
from circuitkit.cli.options import CircuitGround, Machine, Pairs, Shown
from circuitkit.cli.terminal import OUT, bars, filled, show_json, show_table
from circuitkit.interpretation.comparison import (
    Comparison,
    Overlap,
    PairComparison,
    compare,
    require_several,
)
from circuitkit.interpretation.file import load_interpretation
from circuitkit.interpretation.findings import Interpretation
from circuitkit.interventions.ablation import require_ablation
from circuitkit.reporting.comparison_dot import comparison_dot
from circuitkit.reporting.render import render_dot
from circuitkit.study.pipeline import explain
from circuitkit.study.records import circuit_file_of
from circuitkit.study.settings import Settings, Stage
from circuitkit.study.subject import Subject
from circuitkit.work.files import write_whole

ALIKE = 0.1  # similarity below which matched components are not shown as alike


def compare_circuits(
    circuits: list[Path],
    pairs: Pairs,
    machine: Machine,
    shown: Shown,
    output: Path,
) -> None:
    """Interpret what is not interpreted, compare, draw, and show."""
    settings = Settings(ablation=require_ablation(pairs.ablation), memory=machine.budget)
    format = picture_format(output)
    require_several(len(circuits))
    known = [_known(path) for path in circuits]
    todo = {
        at: _subject(path, pairs, machine)
        for at, (path, one) in enumerate(zip(circuits, known, strict=True))
        if one is None
    }
    with bars(shown=shown.has_bars) as stage:
        found = [one or _interpreted(*todo[at], settings, stage) for at, one in enumerate(known)]
    comparison = compare(found, seed=pairs.seed)
    write_whole(output, render_dot(comparison_dot(comparison), format))
    if shown.as_json:
        facts = {"universal": comparison.universal, "picture": str(output)}
        show_json(cattrs.unstructure(comparison) | facts)
        return
    show_comparison(comparison, circuits)
    OUT.print(str(output), soft_wrap=True)


def _known(path: Path) -> Interpretation | None:
    """Return the interpretation that a run directory holds, if it is one that holds one."""
    return load_interpretation(path) if path.is_dir() else None


def _subject(path: Path, pairs: Pairs, machine: Machine) -> tuple[Subject, Circuit]:
    file = circuit_file_of(path)
    circuit = load_circuit(file)
    ground = CircuitGround(n=pairs.n, bos=pairs.bos, allow_task_code=pairs.allow_task_code)
    return subject_of_file(circuit, file, ground, machine), circuit


def _interpreted(
    subject: Subject, circuit: Circuit, settings: Settings, stage: Stage
) -> Interpretation:
    return explain(subject, circuit, replace(settings, seed=circuit.provenance.seed), stage)


def show_comparison(comparison: Comparison, paths: list[Path]) -> None:
    """Print who is compared, the overlaps, what is shared by role, and which components match."""
    letters = comparison.letters
    for letter, task, model, path in zip(
        letters, comparison.tasks, comparison.models, paths, strict=True
    ):
        OUT.print(f"{letter}: {task} in {model} ({path})", soft_wrap=True)
    for note in comparison.notes:
        OUT.print(filled(note))
    show_table(
        f"Overlap of the graphs, 0 to 1; by chance: mean (95 % quantile) of {comparison.n_deals} "
        "deals of B's names",
        ("", "groups", "by chance", "p", "matched components", "by chance", "p", "matched"),
        [_overlap_row(pair, letters) for pair in comparison.pairs],
    )
    _show_groups(comparison, letters)
    shares = zip(letters, comparison.universal, strict=True)
    carried = ", ".join(f"{letter} {share:.0%}" for letter, share in shares)
    OUT.print(filled(f"Edges that every model has carry {carried} of the effect between groups."))
    for pair in comparison.pairs:
        _show_matches(pair, letters)


def _show_matches(pair: PairComparison, letters: tuple[str, ...]) -> None:
    a, b = letters[pair.a], letters[pair.b]
    rows = [(m.a, m.b, f"{m.similarity:.2f}") for m in pair.matches if m.similarity >= ALIKE]
    if rows:
        title = (
            f"Components of {a} and {b}, matched by what they do; similarity 1: they do the same"
        )
        show_table(title, (a, b, "similarity"), rows)
    _show_rest(pair)


def _show_rest(pair: PairComparison) -> None:
    unlike = sum(match.similarity < ALIKE for match in pair.matches)
    if unlike:
        were = "was" if unlike == 1 else "were"
        more = " more" if unlike < len(pair.matches) else ""
        OUT.print(f"{unlike}{more} {were} matched with a similarity below {ALIKE}: not alike.")


def _show_groups(comparison: Comparison, letters: tuple[str, ...]) -> None:
    show_table(
        "Groups: their components, and what the most important one is worth, as a share of the gap",
        ("group", *letters),
        [
            (
                group.name,
                *(
                    f"{', '.join(names)} ({worth:.0%})" if names else "–"
                    for names, worth in zip(group.components, group.worth, strict=True)
                ),
            )
            for group in comparison.groups
        ],
    )
    show_table(
        "Edges between groups: effects, as shares of the gap",
        ("from", "to", "into", *letters, "in"),
        [
            (
                edge.sender,
                edge.receiver,
                edge.read,
                *(f"{share:.2f}" for share in edge.shares),
                f"{edge.n_models} of {len(letters)}",
            )
            for edge in comparison.edges
        ],
    )


def _overlap_row(pair: PairComparison, letters: tuple[str, ...]) -> tuple[str, ...]:
    return (
        f"{letters[pair.a]} and {letters[pair.b]}",
        *_cells(pair.groups),
        *_cells(pair.matched),
        f"{len(pair.matches)} of {pair.n_a} and {pair.n_b}",
    )


def _cells(overlap: Overlap) -> tuple[str, str, str]:
    by_chance = f"{overlap.null:.2f} ({overlap.null_high:.2f})"
    return f"{overlap.value:.2f}", by_chance, f"{overlap.p:.3f}"
