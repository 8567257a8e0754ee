"""What `diff` does: two circuits in a picture, in tables, and by running both."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from circuitkit.circuits.circuit import Provenance
from circuitkit.circuits.diff import diff_circuits
from circuitkit.circuits.file import load_circuit
from circuitkit.circuits.recipe import PairsRecipe
from circuitkit.cli.actions.diff_tables import Side, facts_of, show_edges, show_swaps
from circuitkit.cli.actions.pictures import picture_format
from circuitkit.cli.actions.requests import model_of, request_of
from circuitkit.cli.options import CommonGround, Machine, Shown, What
from circuitkit.cli.terminal import OUT, bars, show_json
from circuitkit.errors import CircuitFileError, MethodError, TaskError
from circuitkit.interventions.ablation import require_ablation
from circuitkit.reporting.diff_dot import diff_dot
from circuitkit.reporting.render import render_dot
from circuitkit.study.cases import require_same_tokenizer
from circuitkit.study.difference import FaithfulnessDifference, measure_difference
from circuitkit.study.recipe import require_no_code
from circuitkit.study.records import circuit_file_of
from circuitkit.study.request import own_seed
from circuitkit.study.subject import Request, Subject, subject_of
from circuitkit.task import find_task
from circuitkit.work.files import write_whole
from circuitkit.work.text import shown as shown_text


def diff_files(
    files: tuple[Path, Path],
    ground: CommonGround | None,
    machine: Machine,
    shown: Shown,
    output: Path,
    *,
    limit: int | None,
) -> None:
    """Compare two circuit files, run both on the ground if there is one, draw, and show."""
    format = picture_format(output)
    if ground is not None:
        require_ablation(ground.ablation)
    first, second = (
        Side(letter, path, load_circuit(circuit_file_of(path)))
        for letter, path in zip("AB", files, strict=True)
    )
    diff = diff_circuits(first.circuit, second.circuit)
    swaps = [] if ground is None else _run_both(first, second, ground, machine, shown)
    dot = diff_dot(first.circuit, second.circuit, first.label, second.label)
    write_whole(output, render_dot(dot, format))
    if shown.as_json:
        show_json(facts_of(first, second, diff, swaps) | {"picture": str(output)})
        return
    show_edges(first, second, diff, limit=limit)
    if swaps:
        show_swaps(swaps, first, second)
    OUT.print(str(output), soft_wrap=True)


def _run_both(
    a: Side, b: Side, ground: CommonGround, machine: Machine, shown: Shown
) -> list[FaithfulnessDifference]:
    request = _completed(_asked(ground, machine), ground, a, b)
    subjects = [
        _subject_in(request, name, (a, b), is_own=not ground.model)
        for name in _models(model_of(ground), a, b)
    ]
    with bars(shown=shown.has_bars) as stage:
        return [
            measure_difference(
                subject,
                a.circuit,
                b.circuit,
                ablation=ground.ablation,
                memory=machine.budget,
                progress=stage(f"Running in {subject.model.name}"),
            )
            for subject in subjects
        ]


def _asked(ground: CommonGround, machine: Machine) -> Request:
    what = What(
        *(ground.task, model_of(ground), ground.prompts, ground.metric, ground.n),
        bos=ground.bos,
        format=ground.format,
        columns=ground.columns,
    )
    return request_of(what, machine, n_validation=ground.n)


def _completed(request: Request, ground: CommonGround, a: Side, b: Side) -> Request:
    """Return the request with what was not asked for taken from the circuits.

    Raises:
        MethodError: they do not say it, or not the same.
    """
    origins = [side.circuit.provenance for side in (a, b)]
    sizes = [origin.recipe.pairs.n for origin in origins]
    if not request.task and request.prompts is None:
        own = _own_task(origins, allowed=ground.allow_task_code)
        request = replace(request, task=own.task, task_digest=own.task_digest)
    metrics = [origin.recipe.pairs.metric for origin in origins]
    return replace(
        request,
        metric=request.metric or _agreed("metric", metrics, "--metric", needed=False),
        n=max(sizes) or request.n,
        seed=own_seed(a.circuit) if ground.seed is None else ground.seed,
    )


def _own_task(origins: Sequence[Provenance], *, allowed: bool) -> PairsRecipe:
    """Return the one task that circuits name, with the digest of its file if it has one.

    Raises:
        MethodError: they name none, or not the same, or one that is not found here.
        CircuitFileError: it is a file of Python that is not to be run.
    """
    named = [origin.recipe.pairs.task or origin.task for origin in origins]
    task = _agreed("task", named, "--task or --prompts")
    digests = [origin.recipe.pairs.task_digest for origin in origins]
    own = PairsRecipe(task, task_digest=_agreed("task file", digests, "--task", needed=False))
    require_no_code(own, "diff", allowed=allowed)
    _require_findable(own)
    return own


def _agreed(what: str, said: list[str], option: str, *, needed: bool = True) -> str:
    """Return the one thing that the circuits say, or "" where none says anything."""
    names = sorted({name for name in said if name})
    if len(names) > 1 or (needed and not names):
        raise MethodError(
            f"diff: circuits A and B must name one {what}, got {' and '.join(names) or 'none'}. "
            f"Both are run on the same. Give {option}, or compare the files alone with --no-run."
        )
    return names[0] if names else ""


def _require_findable(own: PairsRecipe) -> None:
    try:
        find_task(own.task, digest=own.task_digest)
    except TaskError as error:
        raise MethodError(
            "diff: the task that the circuits name must be found here, got "
            f"{shown_text(own.task)}. It gives the prompts on which both run. Give --task "
            "my_task.py:MyTask or --prompts pairs.jsonl, or compare the files alone with --no-run."
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
    first = sides[0].circuit
    apart = replace(request, units=first.provenance.recipe.units, apart=first.graph.units)
    subject = subject_of(replace(apart, model=model))
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
