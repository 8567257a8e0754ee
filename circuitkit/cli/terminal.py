"""What the command line shows: progress bars with an ETA, tables, and errors as one message."""

import json
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import CircuitkitError, PictureWarning, PrecisionWarning
from circuitkit.interpretation.section import HeatMap
from circuitkit.study.method_comparison import MethodRow
from circuitkit.validation.areas import FRACTIONS
from circuitkit.validation.baseline import Baseline
from circuitkit.validation.verdict import REFUTED, UNDECIDED, Check, Verdict, answer_rows
from circuitkit.work.text import error_text, plain

EXIT_FAILED = 1  # a circuit was judged and does not hold
EXIT_NOT_JUDGED = 2  # bad input, or no judgement possible
EXIT_INTERRUPTED = 130
N_FRAMES = 4  # of a traceback, in the message of a bug
SHOWN_SHARES = (0.02, 0.05, 0.1, 0.2)


class PlainConsole(Console):
    """A console that shows text as it is: `[b]` is no markup, and no escape sequence gets through.

    Names of tasks, roles and paths are a stranger's text, and stand in every message.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        """Print objects; what is text, as plain text."""
        shown = [Text(plain(each)) if isinstance(each, str) else each for each in objects]
        super().print(*shown, **options)


OUT = PlainConsole(highlight=False)
NOTES = PlainConsole(stderr=True, highlight=False)


@contextmanager
def bars(*, shown: bool) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Yield a function that starts a titled bar and returns its `progress(done, total)`."""
    columns = (
        TextColumn("{task.description:<22}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=NOTES, disable=not shown) as progress:

        def stage(title: str) -> Callable[[int, int], None]:
            task = progress.add_task(plain(title), total=None)

            def update(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            return update

        yield stage


@contextmanager
def reported_errors(*, as_json: bool = False) -> Iterator[None]:
    """Turn what is raised in the block into a message and an exit code.

    Only a verdict ends with EXIT_FAILED: anything unforeseen, SystemExit too, was no judgement.
    """
    try:
        with noted_warnings():
            yield
    except CircuitkitError as error:
        fail(error, as_json=as_json)
    except KeyboardInterrupt:
        NOTES.print(
            "Interrupted. Nothing half-written was left behind; a search that keeps what is done "
            "goes on when the same command is given again."
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise  # an exit code that was meant
    except BrokenPipeError:  # whoever read the output has gone
        raise typer.Exit(EXIT_NOT_JUDGED) from None
    except BaseException as error:
        fail(error, as_json=as_json)


@contextmanager
def noted_warnings() -> Iterator[None]:
    """Show our own warnings as one sentence each, without a place in the code."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            if issubclass(category, (PictureWarning, PrecisionWarning)):
                NOTES.print(f"Note: {message}", soft_wrap=True)
            else:
                shown(message, category, *rest)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def fail(error: BaseException, *, as_json: bool) -> NoReturn:
    """Show the error and leave with EXIT_NOT_JUDGED; one that was not foreseen is a bug."""
    message = str(error) if isinstance(error, CircuitkitError) else _bug(error)
    if as_json:
        show_json({"error": type(error).__name__, "message": message})
    else:
        NOTES.print(alarming(type(error).__name__, message), soft_wrap=True)
    raise typer.Exit(EXIT_NOT_JUDGED)


def alarming(label: str, text: str) -> Text:
    """Return a text behind a red label."""
    return Text.assemble((plain(label), "bold red"), f": {plain(text)}")


def _bug(error: BaseException) -> str:
    """Return what to say of an error that nobody foresaw, with where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)[-N_FRAMES:]
    at = ", ".join(f"{Path(frame.filename).name} line {frame.lineno}" for frame in frames)
    return (
        f"command: must end with a result or an error of its own, got {error_text(error)} (at "
        f"{at}). Nothing was judged. This is a bug in circuitkit: please report it, with the "
        "command and this message."
    )


def show_json(data: Any) -> None:
    """Print data as JSON on standard output, and nothing else."""
    sys.stdout.write(json.dumps(data, indent=1) + "\n")


def show_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; cells are shown as they are, never as markup."""
    table = Table(title=Text(plain(title), "bold"), title_justify="left")
    for i, name in enumerate(header):
        table.add_column(
            Text(plain(name)), overflow="fold", justify="left" if i == 0 else "default"
        )
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    OUT.print(table)


def show_rows(title: str, rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print dictionaries as a table, or as JSON."""
    if as_json:
        show_json(rows)
        return
    header = list(dict.fromkeys(key for row in rows for key in row))
    show_table(title, header, [[str(row.get(key, "")) for key in header] for row in rows])


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
        f"{model} on {task}",
        ("measure", "value [95 % interval]"),
        [
            ("accuracy", str(baseline.accuracy)),
            (f"{baseline.metric}, clean ({baseline.unit})", str(baseline.clean)),
            (f"{baseline.metric}, corrupted ({baseline.unit})", str(baseline.corrupted)),
        ],
    )


def show_verdict(verdict: Verdict) -> None:
    """Print the questions, their checks, what there is to say of those that fail, the sentence."""
    show_table(
        "Verdict by question",
        ("question", "answer", "checks", "the same measurement"),
        answer_rows(verdict),
    )
    for answer in verdict.questions:
        OUT.print(Text.assemble("\n", (plain(answer.asks), "bold"), f" {answer.outcome}"))
        for check in (each for each in verdict.checks if each.criterion in answer.checks):
            OUT.print(f"  {_checked(check)}", soft_wrap=True)
    OUT.print("")
    for check in verdict.checks:
        if check.note and (check.value is None or check.outcome in (REFUTED, UNDECIDED)):
            OUT.print(f"{check.criterion}: {check.note}", soft_wrap=True)
    OUT.print(verdict.sentence, soft_wrap=True)


def _checked(check: Check) -> str:
    """Return a check in a line: its value, its bound and outcome if it has one, what it means."""
    n = "" if check.value is None or check.value.n == 1 else f", n = {check.value.n}"
    bound = f"; must be {check.rule}: {check.outcome}" if check.is_judged else ""
    same = f", the same measurement as {check.same_as}" if check.same_as else ""
    return f"{check.criterion:<18} {check.got}{n}{bound} ({check.measures}{same})"


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
        f"{path}: {circuit.n_edges} edges, {len(circuit.components)} components "
        f"({n_selected} edges selected, {n_selected - circuit.n_edges} that lead nowhere or are "
        "not needed removed)",
        soft_wrap=True,
    )
    if circuit.n_edges == 0:
        NOTES.print("No edge lies on a path from the input to the logits: ask for more --edges.")
