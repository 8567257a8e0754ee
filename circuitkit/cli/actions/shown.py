"""How the terminal shows what the library returns: verdicts, baselines, heat maps, circuits."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.text import Text

from circuitkit.circuits.circuit import Circuit
from circuitkit.cli.terminal import NOTES, OUT, filled, show_json, show_table
from circuitkit.interpretation.section import HeatMap
from circuitkit.reporting.content import short_model
from circuitkit.study.method_comparison import MethodRow
from circuitkit.validation.areas import FRACTIONS
from circuitkit.validation.baseline import Baseline
from circuitkit.validation.verdict import REFUTED, UNDECIDED, Check, Verdict
from circuitkit.work.text import counted, plain

SHOWN_SHARES = (0.02, 0.05, 0.1, 0.2)


def show_comparison(
    rows: Sequence[MethodRow], refused: Mapping[str, str], path: Path, *, as_json: bool
) -> None:
    """Print the methods beside each other, the best first, and why others are missing."""
    if as_json:
        found = [
            {
                "method": row.method,
                "cpr": row.areas.cpr,
                "cmd": row.areas.cmd,
                "faithfulness": dict(zip(map(str, FRACTIONS), row.areas.faithfulness, strict=True)),
                "seconds": row.seconds,
            }
            for row in rows
        ]
        show_json({"methods": found, "left_out": dict(refused), "plot": str(path)})
        return
    shown = [i for i, share in enumerate(FRACTIONS) if share in SHOWN_SHARES]
    show_table(
        "Methods by CMD (less is better); faithfulness at a share of all edges",
        ("method", "CPR", "CMD", *(f"{FRACTIONS[i]:.0%}" for i in shown), "seconds"),
        [
            [
                row.method,
                f"{row.areas.cpr:.3f}",
                f"{row.areas.cmd:.3f}",
                *(f"{row.areas.faithfulness[i]:.2f}" for i in shown),
                f"{row.seconds:.1f}",
            ]
            for row in rows
        ],
    )
    for name, reason in refused.items():
        OUT.print(f"left out: {name}: {reason}", soft_wrap=True)
    OUT.print(str(path), soft_wrap=True)


def show_baseline(baseline: Baseline, task: str, model: str) -> None:
    """Print how the model does on the task."""
    show_table(
        f"{short_model(model)} on {task}",
        ("measure", "value [95 % interval]"),
        [
            ("accuracy", str(baseline.accuracy)),
            (f"{baseline.metric}, clean ({baseline.unit})", str(baseline.clean)),
            (f"{baseline.metric}, corrupted ({baseline.unit})", str(baseline.corrupted)),
        ],
    )


def show_verdict(verdict: Verdict, *, verbose: bool = False) -> None:
    """Print the questions, their checks, what there is to say of those that fail, the sentence.

    Checks without a bound are counted, and shown if `verbose`.
    """
    hidden = 0
    for answer in verdict.questions:
        OUT.print(Text.assemble("\n", (plain(answer.asks), "bold"), f" {answer.outcome}"))
        for check in (each for each in verdict.checks if each.criterion in answer.checks):
            if check.is_judged or verbose:
                OUT.print(filled(_checked(check), "  ", "      "))
            else:
                hidden += 1
    OUT.print("")
    for note in notes_of(verdict):
        OUT.print(filled(note, "", "  "))
    if hidden:
        OUT.print(filled(f"{counted(hidden, 'more check')} without a bound: see --verbose."))
    OUT.print(filled(verdict.sentence))


def notes_of(verdict: Verdict) -> list[str]:
    """Return what there is to say of the checks that fail, the same of several once.

    What the sentence of the verdict says already is left out.
    """
    about: dict[str, list[str]] = {}
    for check in verdict.checks:
        if check.note and (check.value is None or check.outcome in (REFUTED, UNDECIDED)):
            about.setdefault(check.note, []).append(check.criterion)
    return [
        f"{', '.join(names)}: {note}"
        for note, names in about.items()
        if note not in verdict.sentence
    ]


def _checked(check: Check) -> str:
    """Return a check in a line: its value, its bound and outcome if it has one, what it means."""
    n = "" if check.value is None or check.value.n == 1 else f", n = {check.value.n}"
    bound = f"; must be {check.rule}: {check.outcome}" if check.is_judged else ""
    same = f", the same measurement as {check.same_as}" if check.same_as else ""
    return f"{check.criterion}: {check.got}{n}{bound} ({check.measures}{same})"


def show_heat_map(heat: HeatMap, n_pairs: int) -> None:
    """Print the mean effects of a sweep."""
    show_table(
        f"Effect of {heat.direction} the {heat.description}, in {heat.unit}, mean of {n_pairs} "
        f"pairs; patching everything: {heat.whole:.3g}. Positive supports the behaviour.",
        ("", *heat.columns),
        [
            (row, *(f"{value:+.3f}" for value in values))
            for row, values in zip(heat.rows, heat.values, strict=True)
        ],
    )


def show_circuit(circuit: Circuit, path: Path, *, as_json: bool) -> None:
    """Print where a circuit was written and how large it is."""
    n_selected = circuit.provenance.recipe.selection.n_selected
    facts = {
        "path": str(path),
        "edges_selected": n_selected,
        "edges": circuit.n_edges,
        "components": len(circuit.components),
    }
    if as_json:
        show_json(facts)
        return
    OUT.print(
        f"{path}: {counted(circuit.n_edges, 'edge')}, "
        f"{counted(len(circuit.components), 'component')} ({counted(n_selected, 'edge')} selected, "
        f"{n_selected - circuit.n_edges} that lead nowhere or are not needed removed)",
        soft_wrap=True,
    )
    if circuit.n_edges == 0:
        NOTES.print("No edge lies on a path from the input to the logits: ask for more --edges.")
