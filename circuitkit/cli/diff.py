"""The command that compares two circuits: in a picture, in tables, and by running both.

Long because the command lists its options where its help is made from them.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from circuitkit.circuits.diff import diff_circuits
from circuitkit.circuits.file import load_circuit
from circuitkit.cli.diff_tables import N_SHOWN, Side, facts_of, show_edges, show_swaps
from circuitkit.cli.options import (
    AblationOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    MemoryOption,
    MetricOption,
    PromptsOption,
    QuietOption,
    asked,
    parse_bytes,
    picture_format,
)
from circuitkit.cli.terminal import OUT, bars, reported_errors, show_json
from circuitkit.errors import CircuitFileError, MethodError, TaskError
from circuitkit.interventions.ablation import require_ablation
from circuitkit.reporting.diff_dot import diff_dot
from circuitkit.reporting.render import render_dot
from circuitkit.study.cases import require_same_tokenizer
from circuitkit.study.difference import FaithfulnessDifference, measure_difference
from circuitkit.study.recipe import require_no_code
from circuitkit.study.request import own_seed
from circuitkit.study.subject import Request, Subject, subject_of
from circuitkit.task import find_task
from circuitkit.work.files import write_whole


def diff_command(
    a: Annotated[Path, typer.Argument(help="The circuit file of circuit A.")],
    b: Annotated[Path, typer.Argument(help="The circuit file of circuit B.")],
    run: Annotated[
        bool,
        typer.Option(
            "--run/--no-run", help="Run both circuits, or compare the files alone: loads no model."
        ),
    ] = True,
    show_all: Annotated[
        bool, typer.Option("--all", help=f"Show every edge, not the {N_SHOWN} strongest of each.")
    ] = False,
    task: Annotated[
        str, typer.Option("--task", help="Task to run both on (default: the circuits' own).")
    ] = "",
    prompts: PromptsOption = None,
    metric: MetricOption = "",
    model: Annotated[
        str,
        typer.Option(
            "--model", help="Run both in this model alone (default: each circuit's own model)."
        ),
    ] = "",
    n: Annotated[int, typer.Option("--n", help="Validation pairs.")] = 100,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of sampling (default: that of circuit A).")
    ] = None,
    ablation: AblationOption = "mean",
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The picture, as .svg, .png or .pdf.")
    ] = Path("circuit-diff.svg"),
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
    memory: MemoryOption = "",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare two circuits: the edges of both, of one alone, and the effect of swapping them.

    Example: `circuitkit diff eap.json eap-ig.json -o diff.png`
    """
    with reported_errors(as_json=as_json):
        budget, ablation = parse_bytes(memory), require_ablation(ablation)
        format = picture_format(output)
        first, second = Side("A", a, load_circuit(a)), Side("B", b, load_circuit(b))
        diff = diff_circuits(first.circuit, second.circuit)
        swaps: list[FaithfulnessDifference] = []
        if run:
            base = asked(task, prompts, metric, model, n, 0, device, dtype, n_validation=n)
            request = _completed(base, seed, first, second)
            subjects = [
                _subject_in(request, name, (first, second), is_own=not model)
                for name in _models(model, first, second)
            ]
            with bars(shown=not (quiet or as_json)) as stage:
                swaps = [
                    measure_difference(
                        subject,
                        first.circuit,
                        second.circuit,
                        ablation=ablation,
                        memory=budget,
                        progress=stage(f"Running in {subject.model.name}"),
                    )
                    for subject in subjects
                ]
        dot = diff_dot(first.circuit, second.circuit, first.label, second.label)
        write_whole(output, render_dot(dot, format))
        if as_json:
            show_json(facts_of(first, second, diff, swaps) | {"picture": str(output)})
            return
        show_edges(first, second, diff, limit=None if show_all else N_SHOWN)
        if swaps:
            show_swaps(swaps, first, second)
        OUT.print(str(output), soft_wrap=True)


def _completed(request: Request, seed: int | None, a: Side, b: Side) -> Request:
    """Return the request with what was not asked for taken from the circuits.

    Raises:
        MethodError: they do not say it, or not the same.
    """
    origins = [side.circuit.provenance for side in (a, b)]
    sizes = [origin.recipe.pairs.n for origin in origins]
    task = request.task
    if not task and request.prompts is None:
        named = [origin.recipe.pairs.task or origin.task for origin in origins]
        task = _agreed("task", named, "--task or --prompts")
        require_no_code(task, "diff")
        _require_findable(task)
    metrics = [origin.recipe.pairs.metric for origin in origins]
    return replace(
        request,
        task=task,
        metric=request.metric or _agreed("metric", metrics, "--metric", needed=False),
        n=max(sizes) or request.n,
        seed=own_seed(a.circuit) if seed is None else seed,
    )


def _agreed(what: str, said: list[str], option: str, *, needed: bool = True) -> str:
    """Return the one thing that the circuits say, or "" where none says anything."""
    names = sorted({name for name in said if name})
    if len(names) > 1 or (needed and not names):
        raise MethodError(
            f"diff: circuits A and B must name one {what}, got {' and '.join(names) or 'none'}. "
            f"Both are run on the same. Give {option}, or compare the files alone with --no-run."
        )
    return names[0] if names else ""


def _require_findable(task: str) -> None:
    try:
        find_task(task)
    except TaskError as error:
        raise MethodError(
            f"diff: the task that the circuits name must be found here, got {task!r}. It gives the "
            "prompts on which both run. Give --task my_task.py:MyTask or --prompts pairs.jsonl, or "
            "compare the files alone with --no-run."
        ) from error


def _models(asked: str, a: Side, b: Side) -> list[str]:
    """Return the models to run both circuits in: the one asked for, or each circuit's own.

    Raises:
        MethodError: a circuit does not name its model.
    """
    if asked:
        return [asked]
    for side in (a, b):
        if not side.circuit.provenance.model:
            raise MethodError(
                f"diff: circuit file {str(side.path)!r} must name its model, got none. Both "
                "circuits are run in the model of each. Give --model, or compare the files alone "
                "with --no-run."
            )
    ours, theirs = a.circuit.provenance, b.circuit.provenance
    is_one = ours.model_digest and ours.model_digest == theirs.model_digest
    return [ours.model] if is_one else list(dict.fromkeys((ours.model, theirs.model)))


def _subject_in(request: Request, model: str, sides: Sequence[Side], *, is_own: bool) -> Subject:
    """Return the subject in one model.

    Raises:
        CircuitFileError: it is not the model that a circuit says, or reads other tokens.
    """
    subject = subject_of(replace(request, model=model))
    for side in sides:
        origin, where = side.circuit.provenance, f"circuit file {str(side.path)!r}"
        remedy = "Give another --model, or compare the files alone with --no-run."
        require_same_tokenizer(side.circuit, subject.model, where, remedy)
        digest, expected = subject.model.digest, origin.model_digest
        is_same = not expected or origin.model != model or subject.model.has_weights(expected)
        if is_own and not is_same:
            raise CircuitFileError(
                f"{where}: its model {model!r} must have the weights it was found in, got {digest} "
                f"where they were {expected}. What is measured would be said of other "
                f"weights. Restore them, or run both in what is there now: --model {model}."
            )
    return subject
