"""The commands that search: one method, all methods beside each other, and the scoreboard.

Long because each command lists its options where its help is made from them.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from circuitkit.bench.scoreboard.page import write_board
from circuitkit.bench.scoreboard.run import Plan, measure_board
from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import save_circuit
from circuitkit.circuits.selection import SELECTIONS, select_top
from circuitkit.cli.options import (
    AblationOption,
    AnywayOption,
    BatchOption,
    DeviceOption,
    DtypeOption,
    EdgesOption,
    JsonOption,
    MemoryOption,
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
    parse_settings,
    typed_command,
)
from circuitkit.cli.terminal import (
    NOTES,
    OUT,
    bars,
    reported_errors,
    show_circuit,
    show_comparison,
    show_json,
)
from circuitkit.discovery.methods import DEFAULT, METHODS
from circuitkit.errors import MethodError
from circuitkit.interventions.ablation import require_ablation
from circuitkit.prompts.columns import Columns, columns_named
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.reporting.figures import comparison_svg
from circuitkit.study.method_comparison import compare_methods
from circuitkit.study.recipe import with_provenance
from circuitkit.study.search import find_circuit
from circuitkit.study.settings import (
    Settings,
    Stage,
    installed_versions,
    method_of,
    work_of,
)
from circuitkit.study.subject import Subject, subject_of
from circuitkit.validation.baseline import measure_baseline, require_able
from circuitkit.work.files import require_writable_directory, require_writable_file, write_whole
from circuitkit.zoo.planted import BLUEPRINTS, DIFFICULTIES

ALL = "all"


def discover_command(
    task: TaskArgument = "",
    method: Annotated[
        str,
        typer.Option(
            "--method", help=f"{', '.join(METHODS)}; or {ALL}, for a table that compares them."
        ),
    ] = DEFAULT,
    options: SetOption = None,
    edges: EdgesOption = 0,
    threshold: Annotated[
        float, typer.Option(help="Keep the edges that score at least this; 0: use --edges.")
    ] = 0.0,
    select: Annotated[
        str, typer.Option(help="top: the best edges; greedy: the best that lead on to the logits.")
    ] = "top",
    signed: SignedOption = False,
    minimal: MinimalOption = False,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            help="role or position: also what the edges carry at each, a circuit file for each "
            "(needs --edges).",
        ),
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Circuit file (default circuit.json), or plot with --method all."
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="Long searches keep what is done here, and the same command resumes "
            "(default: beside the output)."
        ),
    ] = None,
    model: ModelOption = "pico",
    prompts: PromptsOption = None,
    metric: MetricOption = "",
    n: NOption = 100,
    seed: SeedOption = 0,
    ablation: AblationOption = "mean",
    scoring_ablation: ScoringAblationOption = "resample",
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
    batch_size: BatchOption = "auto",
    memory: MemoryOption = "",
    anyway: AnywayOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Score every edge and write the best ones as a circuit file in MIB's format.

    Examples: `circuitkit discover ioi --method eap-ig --edges 50 -o circuit.json`,
    `circuitkit discover ioi --method all`
    """
    with reported_errors(as_json=as_json):
        compares = method == ALL
        if compares:
            _require_nothing_ignored(options, edges, threshold, select, checkpoint)
        _require_selection(select, edges, threshold)
        columns = _columns(by, edges, compares=compares)
        output = output or Path("methods.svg" if compares else "circuit.json")
        settings = Settings(
            seed=seed,
            method=DEFAULT if compares else method,
            method_settings=parse_settings(options),
            n_edges=edges,
            threshold=threshold,
            selection=select,
            ablation=require_ablation(ablation),
            scoring_ablation=require_ablation(scoring_ablation, "--scoring-ablation"),
            signed=signed,
            minimal=minimal,
            memory=parse_bytes(memory),
            batch_size=parse_batch_size(batch_size),
        )
        settings = with_checkpoint(settings, checkpoint, output.with_suffix(f".{method}.sqlite"))
        require_writable_file(output)
        request = asked(task, prompts, metric, model, n, seed, device, dtype)
        has_size = edges > 0 or threshold > 0
        subject = subject_of(replace(request, discovery_only=has_size and not compares))
        if not anyway:
            baseline = measure_baseline(subject.model, subject.splits.discovery, subject.metric)
            require_able(baseline, subject.model.name, subject.task)
        with bars(shown=not (quiet or as_json)) as stage:
            if compares:
                _compare(subject, settings, output, stage, as_json=as_json)
                return
            announce(subject, settings, shown=not (quiet or as_json))
            circuit, _ = find_circuit(subject, settings, stage)
            parts = {} if columns is None else _by_column(subject, settings, columns, stage)
        save_circuit(circuit, output)
        for name, part in parts.items():
            save_circuit(part, output.with_suffix(f".{name}.json"))
        forget_checkpoint(settings, checkpoint)
        show_circuit(circuit, output, as_json=as_json)


def bench_discovery_command(
    methods: Annotated[
        str, typer.Option("--methods", help=f"Comma-separated: {', '.join(METHODS)}.")
    ] = ",".join(METHODS),
    models: Annotated[
        str, typer.Option("--models", help=f"Comma-separated: {', '.join(BLUEPRINTS)}.")
    ] = ",".join(BLUEPRINTS),
    difficulties: Annotated[
        str, typer.Option("--difficulties", help=f"Comma-separated: {', '.join(DIFFICULTIES)}.")
    ] = ",".join(DIFFICULTIES),
    seeds: Annotated[str, typer.Option("--seeds", help="Comma-separated numbers.")] = "0",
    n: Annotated[int, typer.Option("--n", min=4, help="Pairs of each planted split.")] = 24,
    trained: Annotated[
        bool, typer.Option("--trained/--no-trained", help="CPR and CMD on pico's tasks as well.")
    ] = True,
    workers: Annotated[int, typer.Option(min=1, help="Processes, of one thread each.")] = 1,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Directory of the page, plots and data.")
    ] = Path("scoreboard"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure how well every method recovers circuits whose truth is known.

    What is measured is kept in DIR/results.sqlite: the same command goes on where it was stopped.

    Example: `circuitkit bench-discovery --methods eap,eap-ig,exact --seeds 0 -o board`
    """
    with reported_errors(as_json=as_json):
        plan = Plan(
            methods=_names(methods),
            models=_names(models),
            difficulties=_names(difficulties),
            seeds=tuple(_seed(text) for text in _names(seeds)),
            n=n,
        )
        plan = plan if trained else replace(plan, trained_tasks=())
        require_writable_directory(output)
        with bars(shown=not (quiet or as_json)) as stage:
            board = measure_board(
                plan,
                checkpoint=output / "results.sqlite",
                workers=workers,
                progress=stage("Measuring methods"),
            )
        versions = ", ".join(f"{name} {number}" for name, number in installed_versions().items())
        written = write_board(board, output, typed_command(), versions)
        if as_json:
            show_json([str(path) for path in written])
        else:
            for path in written:
                OUT.print(str(path), soft_wrap=True)


def _compare(
    subject: Subject, settings: Settings, output: Path, stage: Stage, *, as_json: bool
) -> None:
    rows, refused = compare_methods(subject, settings, stage)
    write_whole(output, comparison_svg(rows, subject.task, subject.model.name))
    show_comparison(rows, refused, output, as_json=as_json)


def _columns(by: str, edges: int, *, compares: bool) -> Callable[[PromptPairs], Columns] | None:
    """Return how pairs are cut into columns; None where that is not asked for.

    Raises:
        MethodError: no such columns, or no size for their circuits.
    """
    if not by:
        return None
    if edges == 0 or compares:
        raise MethodError(
            f"--by: must come with --edges and one method, got --by {by} alone. Every {by} has a "
            "circuit of that many edges. Add --edges 50, say."
        )
    return columns_named(by)


def _by_column(
    subject: Subject,
    settings: Settings,
    columns: Callable[[PromptPairs], Columns],
    stage: Stage,
) -> dict[str, Circuit]:
    """Return the best edges at each role or position; dead ends stay, as paths cross columns."""
    pairs = subject.splits.discovery
    work = work_of(subject, settings, stage("Scoring by column"))
    found = columns(pairs)
    parts = method_of(settings).score_columns(subject.model, pairs, subject.metric, found, work)
    return {
        name: with_provenance(
            select_top(scores, settings.n_edges, signed=settings.ranks_signed),
            subject,
            settings,
            n_selected=settings.n_edges,
        )
        for name, scores in zip(found.names, parts, strict=True)
    }


def with_checkpoint(settings: Settings, asked: Path | None, default: Path) -> Settings:
    """Return the settings with the file in which a long search keeps what is done.

    Raises:
        MethodError: a file is asked for, and the method is none that resumes.
    """
    method = method_of(settings)
    if method.is_resumable:
        return replace(settings, checkpoint=asked or default)
    if asked is not None:
        resumable = ", ".join(name for name, kind in METHODS.items() if kind.is_resumable)
        raise MethodError(
            f"--checkpoint: the method must be one that resumes ({resumable}), got "
            f"{method.name!r}. It keeps nothing while it works. Leave the option out."
        )
    return settings


def forget_checkpoint(settings: Settings, asked: Path | None) -> None:
    """Delete what a finished search kept, unless its file was asked for."""
    if settings.checkpoint is not None and asked is None:
        settings.checkpoint.unlink(missing_ok=True)


def announce(subject: Subject, settings: Settings, *, shown: bool) -> None:
    """Say how long a long search takes, and where it keeps what is done."""
    if not shown:  # an estimate takes runs of the model
        return
    method = method_of(settings)
    estimate = method.estimate(subject.model, subject.splits.discovery)
    if estimate is None:
        return
    NOTES.print(f"{method.name}: {estimate}", soft_wrap=True)
    if settings.checkpoint is not None:
        note = f"What is done is kept in {settings.checkpoint}; the same command resumes it."
        NOTES.print(note, soft_wrap=True)


def _require_nothing_ignored(
    options: list[str] | None, edges: int, threshold: float, select: str, checkpoint: Path | None
) -> None:
    given = {
        "--set": bool(options),
        "--edges": edges > 0,
        "--threshold": threshold > 0,
        "--select": select != "top",
        "--checkpoint": checkpoint is not None,
    }
    named = [name for name, is_given in given.items() if is_given]
    if named:
        raise MethodError(
            f"--method all: must go without {', '.join(given)}, got {', '.join(named)}. Methods "
            "are compared at many sizes, with their defaults. Leave these out, or name one method."
        )


def _require_selection(select: str, edges: int, threshold: float) -> None:
    if select not in SELECTIONS:
        raise MethodError(
            f"--select: must be one of {', '.join(SELECTIONS)}, got {select!r}. It says which "
            "edges make the circuit. Choose one."
        )
    if threshold < 0 or (threshold > 0 and (edges > 0 or select != "top")):
        raise MethodError(
            f"--threshold: must be at least 0, and the only rule of selection, got {threshold} "
            f"with --edges {edges} and --select {select}. Each gives a circuit of its own. Use one."
        )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _seed(text: str) -> int:
    if not text.isdigit():
        raise MethodError(
            f"--seeds: must be whole numbers as 0,1, got {text!r}. Each is a planted model of its "
            "own. Write numbers."
        )
    return int(text)
