"""What `interpret` does: say what each part of a circuit does."""

from dataclasses import replace
from pathlib import Path

from circuitkit.circuits.file import load_circuit
from circuitkit.cli.actions.costs import show_plan
from circuitkit.cli.actions.requests import (
    announce_drawing,
    ground_settings,
    subject_of_file,
)
from circuitkit.cli.options import CircuitGround, Machine, Plannable
from circuitkit.cli.terminal import OUT, bars, show_json, show_table
from circuitkit.interpretation.file import INTERPRETATION_FILE, save_interpretation
from circuitkit.interpretation.findings import Card, Interpretation
from circuitkit.interpretation.section import plain
from circuitkit.reporting.write import save_run
from circuitkit.study.pipeline import explain
from circuitkit.study.records import circuit_file_of, load_record
from circuitkit.work.files import require_writable_directory


def interpret_file(
    circuit: Path, ground: CircuitGround, machine: Machine, shown: Plannable, output: Path | None
) -> None:
    """Interpret a circuit, write what was found, remake its report, and show it."""
    directory = output or (circuit if circuit.is_dir() else None)
    # the interpretation that is there may be of another version: it is made anew
    record = load_record(circuit, interpreted=False) if circuit.is_dir() else None
    path = circuit_file_of(circuit)
    loaded = load_circuit(path)
    settings = ground_settings(loaded, ground, machine)
    if directory is not None:
        require_writable_directory(directory)
    announce_drawing(ground.n, shown=shown.has_bars)
    subject = subject_of_file(loaded, path, ground, machine)
    if shown.plan:
        show_plan(subject, settings, subject.splits.validation, shown)
        return
    with bars(shown=shown.has_bars) as stage:
        found = explain(subject, loaded, settings, stage)
    if record is not None and directory == circuit:
        told = replace(record, interpretation=found)
        save_run(told, directory, ("html", "md", "svg"))
    elif directory is not None:
        save_interpretation(found, directory)
    if shown.as_json:
        show_json(plain(found))
        return
    show_interpretation(found)
    if directory is not None:
        OUT.print(str(directory / INTERPRETATION_FILE), soft_wrap=True)


def show_interpretation(found: Interpretation) -> None:
    """Print one line a component and the evidence for its first role, then what was left out."""
    show_table(
        f"Components of the circuit of {found.task} in {found.model}. What is lost without each, "
        f"in {found.unit}, of {found.gap}",
        ("component", "group", "what it does", "lost without it", "and its backups"),
        [_row(card) for card in found.cards],
    )
    for card in found.cards:
        for role in card.roles[:1]:
            OUT.print(f"{card.component}: {role.name}: {role.evidence}", soft_wrap=True)
    for section in found.sections:
        said = [(section.title, sentence) for sentence in section.sentences]
        for title, says in said + [(each.name, each.says) for each in section.pictures]:
            if says:
                OUT.print(f"{title}: {says}", soft_wrap=True)
    for note in found.notes:
        OUT.print(note, soft_wrap=True)


def _row(card: Card) -> tuple[str, ...]:
    alone, *together = card.losses
    more = f"{together[0].effect} ({', '.join(card.backups)})" if together else ""
    return (card.component, card.group, card.summary, str(alone.effect), more)
