"""The command line. Each command parses, calls the library, and shows the result.

Long because each command lists its options where its help is made from them.

Exit codes: 0 done (validate: the circuit is supported), 1 the circuit is refuted,
2 bad input or no judgement possible, 130 interrupted.
"""

from pathlib import Path
from typing import Annotated, Any

import cattrs
import typer

from circuitkit.cli.bench_validation import bench_validation_command
from circuitkit.cli.check import check_command
from circuitkit.cli.compare import compare_command
from circuitkit.cli.diff import diff_command
from circuitkit.cli.discover import (
    announce,
    bench_discovery_command,
    discover_command,
    forget_checkpoint,
    with_checkpoint,
)
from circuitkit.cli.interpret import interpret_command
from circuitkit.cli.options import (
    AblationOption,
    AnywayOption,
    BatchOption,
    DeviceOption,
    DtypeOption,
    EdgesOption,
    JsonOption,
    MemoryOption,
    MethodOption,
    MetricOption,
    MinimalOption,
    ModelOption,
    NOption,
    PromptsOption,
    QuietOption,
    ScoringAblationOption,
    SeedOption,
    SetOption,
    SignedOption,
    TaskArgument,
    asked,
    parse_batch_size,
    parse_bytes,
    parse_paths,
    parse_settings,
    run_name,
)
from circuitkit.cli.terminal import (
    OUT,
    bars,
    reported_errors,
    show_baseline,
    show_heat_map,
    show_json,
    show_rows,
    show_verdict,
)
from circuitkit.cli.validate import validate_command
from circuitkit.discovery.methods import DEFAULT, method_named
from circuitkit.errors import PromptError
from circuitkit.interventions.ablation import require_ablation
from circuitkit.interventions.patching import patch_activations
from circuitkit.interventions.path_patching import MLPs, patch_paths
from circuitkit.interventions.recorded import Direction
from circuitkit.interventions.sites import SITES, site_named
from circuitkit.prompts.columns import columns_at, columns_named
from circuitkit.reporting.content import verdict_sentences
from circuitkit.reporting.figures import heat_map_svg
from circuitkit.reporting.gallery import write_gallery
from circuitkit.reporting.write import FORMATS, write_report
from circuitkit.study.pipeline import heat_map, path_map, study
from circuitkit.study.records import (
    load_record,
    save_record,
)
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Request, subject_of
from circuitkit.task import find_task, registered_tasks
from circuitkit.validation.baseline import measure_baseline
from circuitkit.work.files import require_writable_directory, require_writable_file, write_whole
from circuitkit.zoo import zoo_models
from circuitkit.zoo.pico.train import train_pico

app = typer.Typer(
    name="circuitkit",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Find circuits in transformers, and try hard to refute them.\n\n"
    "Start with `circuitkit run ioi`: it needs no network and writes a report to reports/.",
)


@app.command()
def run(
    task: TaskArgument = "",
    model: ModelOption = "pico",
    prompts: PromptsOption = None,
    metric: MetricOption = "",
    n: NOption = 100,
    seed: SeedOption = 0,
    method: MethodOption = DEFAULT,
    options: SetOption = None,
    edges: EdgesOption = 0,
    signed: SignedOption = False,
    minimal: MinimalOption = False,
    explained: Annotated[
        bool, typer.Option("--explain", help="Also say what each component does: `interpret`.")
    ] = False,
    ablation: AblationOption = "mean",
    scoring_ablation: ScoringAblationOption = "resample",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Run directory to write.")
    ] = None,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
    batch_size: BatchOption = "auto",
    memory: MemoryOption = "",
    anyway: AnywayOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find a circuit, judge it on held-out prompts, and write a report.

    Example: `circuitkit run ioi`, then open reports/ioi--pico--eap/report.html
    """
    with reported_errors(as_json=as_json):
        request = asked(task, prompts, metric, model, n, seed, device, dtype)
        method_named(method, parse_settings(options))
        settings = Settings(
            seed=seed,
            method=method,
            method_settings=parse_settings(options),
            scoring_ablation=require_ablation(scoring_ablation, "--scoring-ablation"),
            n_edges=edges,
            ablation=require_ablation(ablation),
            signed=signed,
            minimal=minimal,
            memory=parse_bytes(memory),
            batch_size=parse_batch_size(batch_size),
            anyway=anyway,
        )
        directory = output or Path("reports") / run_name(request, method)
        require_writable_directory(directory)
        settings = with_checkpoint(settings, None, directory / "search.sqlite")
        subject = subject_of(request)
        announce(subject, settings, shown=not (quiet or as_json))
        with bars(shown=not (quiet or as_json)) as stage:
            record = study(subject, settings, stage, explained=explained)
        save_record(record, directory)
        write_report(record, directory, ("html", "md", "svg"))
        forget_checkpoint(settings, None)
        verdict = record.validation.verdict
        if as_json:
            show_json({"directory": str(directory), "verdict": cattrs.unstructure(verdict)})
            return
        show_baseline(record.validation.baseline, subject.task, subject.model.name)
        show_verdict(verdict)
        for reason in verdict_sentences(record)[1:]:
            OUT.print(reason, soft_wrap=True)
        OUT.print(f"Report: {directory / 'report.html'}", soft_wrap=True)


@app.command()
def tasks(
    model: Annotated[
        str, typer.Option("--model", help="Also measure how this model does on each task.")
    ] = "",
    n: NOption = 100,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """List the tasks; with --model, how the model does on each.

    Example: `circuitkit tasks --model pico`
    """
    with reported_errors(as_json=as_json):
        rows = []
        for name in registered_tasks():
            row: dict[str, Any] = {"task": name, "description": find_task(name).description}
            if model:
                row |= _baseline_row(asked(name, model=model, n=n, seed=seed))
            rows.append(row)
        show_rows("Tasks", rows, as_json=as_json)


@app.command()
def models(
    task: Annotated[
        str, typer.Option("--task", help="Also measure how each model does on this task.")
    ] = "",
    n: NOption = 100,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """List the models that ship; with --task, how each does on it.

    Local directories and Hugging Face names work wherever --model is taken.
    """
    with reported_errors(as_json=as_json):
        rows = []
        for entry in zoo_models():
            row: dict[str, Any] = {"model": entry.name, "description": entry.description}
            if task:
                row |= _baseline_row(asked(task, model=entry.name, n=n, seed=seed))
            rows.append(row)
        show_rows("Models", rows, as_json=as_json)


@app.command()
def patch(
    task: TaskArgument = "",
    at: Annotated[
        str, typer.Option("--at", help=", ".join(f"{s.name} ({s.description})" for s in SITES))
    ] = "heads",
    by: Annotated[str, typer.Option("--by", help="Columns: role, position or all.")] = "role",
    direction: Annotated[
        Direction, typer.Option(help="noising: is it needed? denoising: is it enough?")
    ] = Direction.NOISING,
    model: ModelOption = "pico",
    prompts: PromptsOption = None,
    metric: MetricOption = "",
    n: NOption = 32,
    seed: SeedOption = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the heat map here as SVG.")
    ] = None,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
    memory: MemoryOption = "",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure exact effects by activation patching, as a heat map.

    Example: `circuitkit patch ioi --at heads --by role`
    """
    with reported_errors(as_json=as_json):
        site, columns, budget = site_named(at), columns_named(by), parse_bytes(memory)
        if output is not None:
            require_writable_file(output)
        subject = subject_of(asked(task, prompts, metric, model, n, seed, device, dtype))
        pairs = subject.splits.discovery
        with bars(shown=not (quiet or as_json)) as stage:
            effects = patch_activations(
                subject.model,
                pairs,
                site,
                columns(pairs),
                metric=subject.metric,
                direction=direction,
                memory=budget,
                progress=stage(f"Patching: {at}"),
            )
        heat = heat_map(effects, site.description, subject.metric.unit)
        if output is not None:
            write_whole(output, heat_map_svg(heat))
        if as_json:
            show_json(cattrs.unstructure(heat))
        else:
            show_heat_map(heat, len(pairs))


@app.command()
def path(
    task: TaskArgument = "",
    senders: Annotated[
        str,
        typer.Option(
            "--from",
            help="Senders, each a row: a0.h1,m2; joined by + to be replaced together; "
            "or heads, mlps, all.",
        ),
    ] = "heads",
    to: Annotated[
        str,
        typer.Option("--to", help="Receivers: logits, m3, 'a3.h0<q>', a3.h0; several by commas."),
    ] = "logits",
    mlps: Annotated[
        MLPs,
        typer.Option(help="recomputed: paths through MLPs count too; frozen: direct ones only."),
    ] = MLPs.RECOMPUTED,
    at: Annotated[
        str, typer.Option("--at", help="Where senders are replaced: all, a role, or a position.")
    ] = "all",
    direction: Annotated[
        Direction, typer.Option(help="noising: is it needed? denoising: is it enough?")
    ] = Direction.NOISING,
    model: ModelOption = "pico",
    prompts: PromptsOption = None,
    metric: MetricOption = "",
    n: NOption = 32,
    seed: SeedOption = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the heat map here as SVG.")
    ] = None,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
    memory: MemoryOption = "",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure what senders do to receivers along given paths, other heads frozen.

    Example: `circuitkit path ioi --from heads --to 'a3.h0<q>'`
    """
    with reported_errors(as_json=as_json):
        budget = parse_bytes(memory)
        if output is not None:
            require_writable_file(output)
        subject = subject_of(asked(task, prompts, metric, model, n, seed, device, dtype))
        pairs = subject.splits.discovery
        paths = parse_paths(subject.model.graph, senders, to)
        with bars(shown=not (quiet or as_json)) as stage:
            effects = patch_paths(
                subject.model,
                pairs,
                paths,
                subject.metric,
                columns_at(pairs, at),
                mlps=mlps,
                direction=direction,
                memory=budget,
                progress=stage("Path patching"),
            )
        what = f"paths to {to} (MLPs {mlps.value})"
        heat = path_map(effects, what, direction, subject.metric.unit)
        if output is not None:
            write_whole(output, heat_map_svg(heat))
        if as_json:
            show_json(cattrs.unstructure(heat))
        else:
            show_heat_map(heat, len(pairs))


app.command(name="discover")(discover_command)
app.command(name="bench-discovery")(bench_discovery_command)
app.command(name="bench-validation")(bench_validation_command)
app.command(name="diff")(diff_command)
app.command(name="compare")(compare_command)


app.command(name="validate")(validate_command)
app.command(name="interpret")(interpret_command)
app.command(name="check")(check_command)


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    formats: Annotated[
        str, typer.Option("--format", help=f"Comma-separated: {', '.join(FORMATS)}.")
    ] = "html,md,svg",
    as_json: JsonOption = False,
) -> None:
    """Make the reports of a run directory again from its data files.

    Example: `circuitkit report reports/ioi--pico--eap --format pdf`
    """
    with reported_errors(as_json=as_json):
        written = write_report(load_record(directory), directory, formats.split(","))
        if as_json:
            show_json([str(path) for path in written])
        else:
            for path in written:
                OUT.print(str(path), soft_wrap=True)


@app.command()
def gallery(
    folder: Annotated[Path, typer.Argument(help="The folder that holds run directories.")] = Path(
        "reports"
    ),
    as_json: JsonOption = False,
) -> None:
    """Make an index page of the run directories in a folder.

    Example: `circuitkit gallery reports`, then open reports/index.html
    """
    with reported_errors(as_json=as_json):
        written = [str(path) for path in write_gallery(folder)]
        if as_json:
            show_json(written)
        else:
            OUT.print("\n".join(written), soft_wrap=True)


@app.command(name="train-pico")
def train_pico_command(
    output: Annotated[Path, typer.Option("-o", "--output", help="Directory for the weights.")],
    seed: SeedOption = 0,
) -> None:
    """Train the pico model again from its recipe, on the CPU.

    Example: `circuitkit train-pico -o my-pico`, then `circuitkit run ioi --model my-pico`
    """
    with reported_errors():
        require_writable_directory(output)
        OUT.print(str(train_pico(output, seed=seed)), soft_wrap=True)


def main() -> None:
    """Run the command line."""
    app()


def _baseline_row(request: Request) -> dict[str, str]:
    try:
        subject = subject_of(request)
    except PromptError:
        return {"can do it": "no: its tokenizer lacks the words"}
    baseline = measure_baseline(subject.model, subject.splits.validation, subject.metric)
    return {
        "accuracy": str(baseline.accuracy),
        "clean": f"{baseline.clean} {baseline.unit}",
        "corrupted": f"{baseline.corrupted} {baseline.unit}",
        "can do it": "no" if baseline.fault else "yes",
    }
