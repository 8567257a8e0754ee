"""The command line. Each command parses, calls one function of the library, and shows the result.

Exit codes: 0 done (validate: the circuit is supported), 1 the circuit is refuted,
2 bad input or no judgement possible, 130 interrupted.
"""

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import cattrs
import typer

from circuitkit.circuit import Circuit
from circuitkit.circuit_file import load_circuit, save_circuit
from circuitkit.discovery.selection import prune_dead_ends, select_top
from circuitkit.errors import CircuitFileError, MethodError
from circuitkit.files import require_writable_directory, write_whole
from circuitkit.interventions.patching import (
    SITES,
    Direction,
    all_positions,
    by_position,
    by_role,
    patch_activations,
    site_named,
)
from circuitkit.metrics import METRICS, LogitDifference, metric_named
from circuitkit.pipeline import (
    ABLATIONS,
    Settings,
    Subject,
    discover,
    heat_map,
    judge,
    smallest_faithful,
    study,
    with_provenance,
)
from circuitkit.interventions.ablation import ablation_named
from circuitkit.prompt_file import discovery_pairs, read_prompt_file, splits_of
from circuitkit.reporting.figures import heat_map_svg
from circuitkit.reporting.record import HeatMap, load_record, save_record
from circuitkit.reporting.write import write_report
from circuitkit.task import Splits, find_task, registered_tasks, sample_splits
from circuitkit.terminal import (
    EXIT_FAILED,
    EXIT_NOT_JUDGED,
    NOTES,
    OUT,
    bars,
    reported_errors,
    show_json,
    show_table,
)
from circuitkit.validation.baseline import Baseline, measure_baseline, require_able
from circuitkit.validation.verdict import REFUTED, UNDECIDED, Thresholds, Verdict
from circuitkit.zoo import load_model, zoo_models
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

TaskArgument = Annotated[
    str, typer.Argument(help="A task name (see `circuitkit tasks`) or my_task.py:MyTask.")
]
ModelOption = Annotated[
    str, typer.Option("--model", help="Zoo name, local directory or Hugging Face name.")
]
PromptsOption = Annotated[
    Path | None,
    typer.Option("--prompts", help="JSON Lines file of prompt pairs, instead of TASK."),
]
MetricOption = Annotated[
    str,
    typer.Option(
        "--metric",
        help="Overrides the task's metric: " + ", ".join(m.name for m in METRICS) + ".",
    ),
]
NOption = Annotated[int, typer.Option("--n", help="Pairs in each of discovery and validation.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of all sampling.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...")]
DtypeOption = Annotated[str, typer.Option("--dtype", help="float32, float64, bfloat16, float16.")]
BatchOption = Annotated[
    str, typer.Option("--batch-size", help="Pairs a pass: auto (what fits) or a number.")
]
MemoryOption = Annotated[
    str, typer.Option("--memory", help="Budget, as 4GB or 500MB (default: a share of what is free).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="No progress bars.")]
AblationOption = Annotated[
    str, typer.Option("--ablation", help=f"What is not in the circuit becomes: {', '.join(ABLATIONS)}.")
]
EdgesOption = Annotated[
    int, typer.Option("--edges", min=0, help="Edges to select; 0: the fewest that are faithful.")
]
SignedOption = Annotated[
    bool, typer.Option("--signed", help="Rank by signed instead of absolute score.")
]
AnywayOption = Annotated[
    bool, typer.Option("--anyway", help="Go on although the model cannot do the task.")
]


@app.command()
def run(
    task: Annotated[str, typer.Argument(help="A task name or my_task.py:MyTask.")] = "",
    model: ModelOption = "pico",
    prompts: PromptsOption = None,
    metric: MetricOption = "",
    n: NOption = 100,
    seed: SeedOption = 0,
    edges: EdgesOption = 0,
    signed: SignedOption = False,
    ablation: AblationOption = "mean",
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
        directory = output or Path("reports") / _run_name(task, prompts, model)
        settings = _settings(seed, edges, signed, ablation, batch_size, memory, anyway)
        require_writable_directory(directory)
        subject = _subject(task, prompts, metric, model, n, seed, device, dtype)
        with bars(shown=not (quiet or as_json)) as stage:
            record = study(subject, settings, stage)
        save_record(record, directory)
        write_report(record, directory, ("html", "md", "svg"))
        if as_json:
            show_json({"directory": str(directory), **_verdict_json(record.validation.verdict)})
            return
        _show_baseline(record.validation.baseline, subject.task, subject.model.name)
        _show_verdict(record.validation.verdict)
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
                row |= _baseline_row(_subject(name, None, "", model, n, seed, "cpu", "float32"))
            rows.append(row)
        _show_rows("Tasks", rows, as_json)


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
                row |= _baseline_row(_subject(task, None, "", entry.name, n, seed, "cpu", "float32"))
            rows.append(row)
        _show_rows("Models", rows, as_json)


@app.command()
def patch(
    task: Annotated[str, typer.Argument(help="A task name or my_task.py:MyTask.")] = "",
    at: Annotated[
        str, typer.Option("--at", help=", ".join(f"{s.name} ({s.description})" for s in SITES))
    ] = "heads",
    by: Annotated[str, typer.Option("--by", help="Columns: role, position or all.")] = "role",
    direction: Annotated[
        Direction,
        typer.Option(help="noising: is it needed? denoising: is it enough?"),
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
        site = site_named(at)
        budget = _bytes_of(memory)
        if output is not None:
            require_writable_directory(output.parent)
        subject = _subject(task, prompts, metric, model, n, seed, device, dtype)
        pairs = subject.splits.discovery
        choices = {"role": by_role, "position": by_position, "all": all_positions}
        if by not in choices:
            raise MethodError(
                f"--by: must be one of {', '.join(choices)}, got {by!r}. It says which positions "
                "are patched together. Choose one."
            )
        with bars(shown=not (quiet or as_json)) as stage:
            effects = patch_activations(
                subject.model,
                pairs,
                site,
                choices[by](pairs),
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
            _show_heat_map(heat, len(pairs))


@app.command(name="discover")
def discover_command(
    task: Annotated[str, typer.Argument(help="A task name or my_task.py:MyTask.")] = "",
    method: Annotated[str, typer.Option("--method", help="How edges are scored: eap.")] = "eap",
    edges: EdgesOption = 0,
    signed: SignedOption = False,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Circuit file to write.")
    ] = Path("circuit.json"),
    model: ModelOption = "pico",
    prompts: PromptsOption = None,
    metric: MetricOption = "",
    n: NOption = 100,
    seed: SeedOption = 0,
    ablation: AblationOption = "mean",
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
    batch_size: BatchOption = "auto",
    memory: MemoryOption = "",
    anyway: AnywayOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Score every edge and write the best ones as a circuit file in MIB's format.

    Example: `circuitkit discover ioi --edges 50 -o circuit.json`
    """
    with reported_errors(as_json=as_json):
        if method != "eap":
            raise MethodError(
                f"method {method!r}: must be one of eap. It says how edges are scored. Choose one."
            )
        settings = _settings(seed, edges, signed, ablation, batch_size, memory, anyway)
        require_writable_directory(output.parent)
        subject = _subject(
            task, prompts, metric, model, n, seed, device, dtype, discovery_only=edges > 0
        )
        if not anyway:
            baseline = measure_baseline(subject.model, subject.splits.discovery, subject.metric)
            require_able(baseline, subject.model.name, subject.task)
        with bars(shown=not (quiet or as_json)) as stage:
            scores = discover(subject, settings, stage("Scoring edges"))
            values = ablation_named(ablation, subject.splits.reference)
            n_edges = edges or smallest_faithful(subject, scores, values, settings, stage)
        selected = select_top(scores, n_edges, signed=signed)
        circuit = with_provenance(prune_dead_ends(selected), subject, settings)
        save_circuit(circuit, output)
        _show_circuit(circuit, n_edges, output, as_json)


@app.command()
def validate(
    circuit: Annotated[Path, typer.Argument(help="A circuit file.")],
    task: Annotated[
        str, typer.Option("--task", help="Task to judge on (default: the circuit's own).")
    ] = "",
    model: Annotated[
        str, typer.Option("--model", help="Model to judge (default: the circuit's own).")
    ] = "",
    prompts: PromptsOption = None,
    metric: MetricOption = "",
    n: NOption = 100,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of sampling (default: the circuit's own).")
    ] = None,
    ablation: AblationOption = "mean",
    min_faithfulness: Annotated[
        float, typer.Option(help="The whole interval must lie above.")
    ] = Thresholds.min_faithfulness,
    max_edge_share: Annotated[
        float, typer.Option(help="At most this share of all edges.")
    ] = Thresholds.max_edge_share,
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
        settings = Settings(
            seed=origin.seed if seed is None else seed,
            ablation=ablation,
            memory=_bytes_of(memory),
            thresholds=Thresholds(min_faithfulness, max_edge_share),
        )
        subject = _subject(
            task or ("" if prompts else origin.task),
            prompts,
            metric or str(origin.settings.get("metric", "")),
            model or origin.model or "pico",
            int(origin.settings.get("n_discovery", n)),
            settings.seed,
            device,
            dtype,
            n_validation=n,
        )
        _require_same_weights(loaded, subject, circuit, anyway)
        with bars(shown=not (quiet or as_json)) as stage:
            faithfulness, verdict = judge(subject, loaded, settings, stage)
        if as_json:
            show_json(_verdict_json(verdict) | {"faithfulness": cattrs.unstructure(faithfulness)})
        else:
            show_table(
                "Faithfulness by ablation",
                ("ablation", "faithfulness", "circuit", "model", "empty"),
                [
                    (f.ablation, str(f.value), str(f.circuit), str(f.model), str(f.empty))
                    for f in faithfulness
                ],
            )
            _show_verdict(verdict)
        if verdict.outcome == REFUTED:
            raise typer.Exit(EXIT_FAILED)
        if verdict.outcome == UNDECIDED:
            raise typer.Exit(EXIT_NOT_JUDGED)


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    formats: Annotated[
        list[str], typer.Option("--format", help="html, md, svg, png, pdf; can be repeated.")
    ] = ["html", "md", "svg"],  # noqa: B006  (typer copies it)
    as_json: JsonOption = False,
) -> None:
    """Make the reports of a run directory again from its data files.

    Example: `circuitkit report reports/ioi--pico--eap --format pdf`
    """
    with reported_errors(as_json=as_json):
        known = ("html", "md", "svg", "png", "pdf")
        if not set(formats) <= set(known):
            raise MethodError(
                f"--format: must be among {', '.join(known)}, got {', '.join(formats)}. Choose one."
            )
        written = write_report(load_record(directory), directory, formats)  # type: ignore[arg-type]
        if as_json:
            show_json([str(path) for path in written])
        else:
            for path in written:
                OUT.print(str(path), soft_wrap=True)


@app.command(name="train-pico")
def train_pico_command(
    output: Annotated[Path, typer.Option("-o", "--output", help="Directory for the weights.")],
    seed: SeedOption = 0,
) -> None:
    """Train the pico model again from its recipe (about half an hour on 2 cores).

    Example: `circuitkit train-pico -o my-pico`, then `circuitkit run ioi --model my-pico`
    """
    with reported_errors():
        require_writable_directory(output)
        train_pico(output, seed=seed)


def main() -> None:
    """Run the command line."""
    app()


def _subject(
    task: str,
    prompts: Path | None,
    metric: str,
    model: str,
    n: int,
    seed: int,
    device: str,
    dtype: str,
    *,
    n_validation: int | None = None,
    discovery_only: bool = False,
) -> Subject:
    """Return what is studied. Names are checked before the model is loaded."""
    if bool(task) == (prompts is not None):
        raise MethodError(
            f"task: must be given as TASK or as --prompts, got {'both' if task else 'neither'}. "
            "It says what to measure. Try `circuitkit run ioi`, or see `circuitkit tasks`."
        )
    chosen = metric_named(metric) if metric else None
    command = shlex.join(["circuitkit", *sys.argv[1:]])
    if prompts is not None:
        lines = read_prompt_file(prompts)
        loaded = load_model(model, device=device, dtype=dtype)
        if discovery_only:
            pairs = discovery_pairs(lines, loaded.tokenizer)
            splits = Splits(pairs, pairs, pairs)
        else:
            splits = splits_of(lines, loaded.tokenizer, seed=seed)
        name = prompts.stem
        return Subject(
            name, f"Pairs of {prompts.name}", chosen or LogitDifference(), loaded, splits, command
        )
    found = find_task(task)
    loaded = load_model(model, device=device, dtype=dtype)
    splits = sample_splits(found, loaded.tokenizer, n=n, seed=seed, n_validation=n_validation)
    return Subject(
        found.name, found.description, chosen or found.metric, loaded, splits, command
    )


def _settings(
    seed: int, edges: int, signed: bool, ablation: str, batch_size: str, memory: str, anyway: bool
) -> Settings:
    if ablation not in ABLATIONS:
        raise MethodError(
            f"--ablation: must be one of {', '.join(ABLATIONS)}, got {ablation!r}. Choose one."
        )
    if batch_size != "auto" and not (batch_size.isdigit() and int(batch_size) > 0):
        raise MethodError(
            f"--batch-size: must be auto or a positive number, got {batch_size!r}. It is in pairs. "
            "Leave it out for what fits."
        )
    return Settings(
        seed=seed,
        n_edges=edges,
        signed=signed,
        ablation=ablation,
        batch_size=None if batch_size == "auto" else int(batch_size),
        memory=_bytes_of(memory),
        anyway=anyway,
    )


def _bytes_of(memory: str) -> int | None:
    """Return the bytes of a budget as 4GB or 500MB; None for the default."""
    if not memory:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(kB|KB|MB|GB|TB)", memory.strip())
    if match is None:
        raise MethodError(
            f"--memory: must be a size as 4GB or 500MB, got {memory!r}. It bounds the batches."
        )
    power = ("KB", "MB", "GB", "TB").index(match[2].upper()) + 1
    return int(float(match[1]) * 1000**power)


def _run_name(task: str, prompts: Path | None, model: str) -> str:
    """Return <task>--<model>--<method>, safe as a directory name."""
    what = prompts.stem if prompts is not None else Path(task.replace(":", "-")).name
    parts = (what.replace(".py", ""), Path(model).name, "eap")
    return "--".join(re.sub(r"[^\w.-]+", "-", part) or "unnamed" for part in parts)


def _require_same_weights(circuit: Circuit, subject: Subject, path: Path, anyway: bool) -> None:
    expected = circuit.provenance.model_digest
    if expected and expected != subject.model.digest and not anyway:
        raise CircuitFileError(
            f"circuit file {str(path)!r}: must be of the model judged, got weights "
            f"{subject.model.digest} where it was found in {expected}. Its claim is about other "
            "weights. Load that model, or judge it here all the same with --anyway."
        )


def _baseline_row(subject: Subject) -> dict[str, str]:
    baseline = measure_baseline(subject.model, subject.splits.validation, subject.metric)
    return {
        "accuracy": str(baseline.accuracy),
        baseline.metric: str(baseline.clean),
        "on corrupted": str(baseline.corrupted),
        "can do it": "no" if baseline.fault else "yes",
    }


def _show_rows(title: str, rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        show_json(rows)
        return
    header = list(dict.fromkeys(key for row in rows for key in row))
    show_table(title, header, [[str(row.get(key, "")) for key in header] for row in rows])


def _show_baseline(baseline: Baseline, task: str, model: str) -> None:
    show_table(
        f"{model} on {task}",
        ("measure", "value [95 % interval]"),
        [
            ("accuracy", str(baseline.accuracy)),
            (f"{baseline.metric}, clean ({baseline.unit})", str(baseline.clean)),
            (f"{baseline.metric}, corrupted ({baseline.unit})", str(baseline.corrupted)),
        ],
    )


def _show_verdict(verdict: Verdict) -> None:
    show_table(
        "Verdict",
        ("criterion", "must be", "value [95 % interval]", "n", "outcome"),
        [
            (c.criterion, c.rule, str(c.value), str(c.value.n), c.outcome)
            for c in verdict.checks
        ],
    )
    OUT.print(verdict.sentence, soft_wrap=True)


def _show_heat_map(heat: HeatMap, n_pairs: int) -> None:
    show_table(
        f"Effect of {heat.direction} the {heat.description}, in {heat.unit}, mean of {n_pairs} "
        f"pairs; patching everything: {heat.gap:.3g}. Positive supports the behaviour.",
        ("", *heat.columns),
        [
            (row, *(f"{value:+.3f}" for value in values))
            for row, values in zip(heat.rows, heat.values, strict=True)
        ],
    )


def _show_circuit(circuit: Circuit, n_selected: int, path: Path, as_json: bool) -> None:
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
        f"{path}: {circuit.n_edges} edges, {len(circuit.components)} components "
        f"({n_selected} edges selected, {n_selected - circuit.n_edges} dead ends removed)",
        soft_wrap=True,
    )
    if circuit.n_edges == 0:
        NOTES.print("No edge lies on a path from the input to the logits: ask for more --edges.")


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    data: dict[str, Any] = cattrs.unstructure(verdict)
    return {"verdict": data}
