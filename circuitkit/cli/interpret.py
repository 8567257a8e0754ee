"""The command `interpret`: what each part of a circuit does, as cards."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from circuitkit.circuits.file import load_circuit
from circuitkit.cli.options import (
    AblationOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    MemoryOption,
    MetricOption,
    PromptsOption,
    QuietOption,
    parse_bytes,
    typed_command,
)
from circuitkit.cli.terminal import OUT, bars, reported_errors, show_json, show_table
from circuitkit.interpretation.file import INTERPRETATION_FILE, save_interpretation
from circuitkit.interpretation.findings import Card, Interpretation
from circuitkit.interpretation.section import plain
from circuitkit.interventions.ablation import require_ablation
from circuitkit.reporting.write import write_report
from circuitkit.study.pipeline import explain
from circuitkit.study.records import circuit_file_of, load_record, save_record
from circuitkit.study.request import Overrides, subject_of_circuit
from circuitkit.study.settings import Settings
from circuitkit.work.files import require_writable_directory


def interpret_command(
    circuit: Annotated[
        Path, typer.Argument(help="A circuit file, or a run directory, whose report is remade.")
    ],
    task: Annotated[
        str, typer.Option("--task", help="Task to look at (default: the circuit's own).")
    ] = "",
    model: Annotated[
        str, typer.Option("--model", help="Model to look into (default: the circuit's own).")
    ] = "",
    prompts: PromptsOption = None,
    metric: MetricOption = "",
    n: Annotated[int, typer.Option("--n", help="Pairs that did not find the circuit.")] = 100,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of sampling (default: the circuit's own).")
    ] = None,
    ablation: AblationOption = "mean",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help=f"Directory for {INTERPRETATION_FILE}."),
    ] = None,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
    memory: MemoryOption = "",
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Go on although the model has other weights.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say what each part of a circuit does, and show why: roles, effects, backups, attention.

    Example: `circuitkit interpret reports/ioi--pico--eap`, then open its report.html
    """
    with reported_errors(as_json=as_json):
        directory = output or (circuit if circuit.is_dir() else None)
        # the interpretation that is there may be of another version: it is made anew
        record = load_record(circuit, interpreted=False) if circuit.is_dir() else None
        path = circuit_file_of(circuit)
        loaded = load_circuit(path)
        settings = Settings(
            seed=loaded.provenance.seed if seed is None else seed,
            ablation=require_ablation(ablation),
            memory=parse_bytes(memory),
        )
        if directory is not None:
            require_writable_directory(directory)
        subject = subject_of_circuit(
            loaded,
            path,
            Overrides(task, prompts, metric, model, n, seed, device, dtype, typed_command()),
            anyway=anyway,
        )
        with bars(shown=not (quiet or as_json)) as stage:
            found = explain(subject, loaded, settings, stage)
        if record is not None and directory == circuit:
            told = replace(record, interpretation=found)
            save_record(told, directory)
            write_report(told, directory, ("html", "md", "svg"))
        elif directory is not None:
            save_interpretation(found, directory)
        if as_json:
            show_json(plain(found))
        else:
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
