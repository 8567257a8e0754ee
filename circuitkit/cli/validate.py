"""The command `validate`: a circuit file against the criteria."""

from pathlib import Path
from typing import Annotated

import cattrs
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
from circuitkit.cli.terminal import (
    EXIT_FAILED,
    EXIT_NOT_JUDGED,
    bars,
    reported_errors,
    show_json,
    show_verdict,
)
from circuitkit.interventions.ablation import require_ablation
from circuitkit.statistics.bound import Bound
from circuitkit.study.cases import judge
from circuitkit.study.records import Judgement, save_judgement
from circuitkit.study.request import Overrides, subject_of_circuit
from circuitkit.study.settings import Settings, installed_versions
from circuitkit.validation.criteria import CRITERIA, Thresholds, read_thresholds
from circuitkit.validation.judge import require_known
from circuitkit.validation.verdict import REFUTED, UNDECIDED
from circuitkit.work.files import require_writable_file


def validate_command(
    circuit: Annotated[Path, typer.Argument(help="A circuit file.")],
    task: Annotated[
        str, typer.Option("--task", help="Task to judge on (default: the circuit's own).")
    ] = "",
    model: Annotated[
        str, typer.Option("--model", help="Model to judge (default: the circuit's own).")
    ] = "",
    prompts: PromptsOption = None,
    metric: MetricOption = "",
    n: Annotated[int, typer.Option("--n", help="Validation pairs.")] = 100,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of sampling (default: the circuit's own).")
    ] = None,
    ablation: AblationOption = "mean",
    thresholds: Annotated[
        Path | None,
        typer.Option(help="TOML file of bounds, as `faithfulness = { min = 0.85 }`."),
    ] = None,
    criteria: Annotated[
        str, typer.Option(help=f"Comma-separated, default all: {', '.join(CRITERIA)}.")
    ] = "",
    min_faithfulness: Annotated[
        float | None, typer.Option(help="The whole interval must lie above.")
    ] = None,
    max_edge_share: Annotated[
        float | None, typer.Option(help="At most this share of all edges.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the judgement here as JSON.")
    ] = None,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
    memory: MemoryOption = "",
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Judge although the model has other weights.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Judge a circuit on prompts that did not find it. Exit code 0: supported, 1: refuted.

    Example: `circuitkit validate circuit.json`
    """
    with reported_errors(as_json=as_json):
        loaded = load_circuit(circuit)
        origin = loaded.provenance
        names = tuple(name.strip() for name in criteria.split(",") if name.strip())
        require_known(names)
        bounds = read_thresholds(thresholds) if thresholds else Thresholds()
        if min_faithfulness is not None:
            bounds = bounds.with_bounds({"faithfulness": Bound(min=min_faithfulness)})
        if max_edge_share is not None:
            bounds = bounds.with_bounds({"edge-share": Bound(max=max_edge_share)})
        if output is not None:
            require_writable_file(output)
        settings = Settings(
            seed=origin.seed if seed is None else seed,
            ablation=require_ablation(ablation),
            memory=parse_bytes(memory),
            thresholds=bounds,
            criteria=names,
        )
        subject = subject_of_circuit(
            loaded,
            circuit,
            Overrides(task, prompts, metric, model, n, seed, device, dtype, typed_command()),
            anyway=anyway,
        )
        with bars(shown=not (quiet or as_json)) as stage:
            verdict = judge(subject, loaded, settings, stage)
        judgement = Judgement(
            thresholds=bounds,
            circuit=str(circuit),
            task=subject.task,
            model=subject.model.name,
            model_digest=subject.model.digest,
            ablation=settings.ablation,
            seed=settings.seed,
            command=subject.command,
            versions=installed_versions(),
            verdict=verdict,
        )
        if output is not None:
            save_judgement(judgement, output)
        if as_json:
            show_json(cattrs.unstructure(judgement))
        else:
            show_verdict(verdict)
        codes = {REFUTED: EXIT_FAILED, UNDECIDED: EXIT_NOT_JUDGED}
        raise typer.Exit(codes.get(verdict.outcome, 0))
