"""What the command line shows: progress bars with an ETA, tables, and errors as one message."""

import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from textwrap import fill
from typing import Any, NoReturn, TextIO

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
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

from circuitkit.cli.loading import EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_NOT_JUDGED
from circuitkit.errors import (
    CircuitkitError,
    LogWarning,
    PictureWarning,
    PrecisionWarning,
    SampleWarning,
    TaskCodeError,
    VanishingGapError,
)
from circuitkit.work.interrupts import Interrupted, is_ctrl_c, listening
from circuitkit.work.strangers import place_in_task
from circuitkit.work.text import error_text, plain

UNJUDGED = (TaskCodeError, VanishingGapError)  # not what was given: what came of it
ANY_WIDTH = 100_000  # columns: more than any table has
N_FRAMES = 4  # of a traceback, in the message of a bug


_JSON_OUT: ContextVar[TextIO | None] = ContextVar("standard output", default=None)


class PlainConsole(Console):
    """A console that shows text as it is: `[b]` is no markup, and no escape sequence gets through.

    Names of tasks, roles and paths are a stranger's text, and stand in every message.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        """Print objects; what is text, as plain text."""
        shown = [Text(plain(each)) if isinstance(each, str) else each for each in objects]
        super().print(*shown, **options)

    def on_broken_pipe(self) -> None:
        """Let `reported_errors` hear that the reader has gone, with nothing more to write."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
        raise BrokenPipeError


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
def reported_errors(*, as_json: bool = False, verbose: bool = False) -> Iterator[None]:
    """Turn what is raised in the block into a message and an exit code.

    Whatever is raised was no judgement, an exit with code 0 too. With `as_json`, what is printed
    meanwhile, by a task say, goes to standard error: `show_json` alone writes JSON. With `verbose`,
    an error that nobody foresaw is shown with all of its traceback.
    """
    failure: BaseException | None = None
    was_key = False
    try:
        with listening():
            try:
                with noted_warnings(), _set_aside(as_json):
                    yield
            except BaseException as error:
                failure, was_key = error, is_ctrl_c(error)
    except Interrupted as error:  # while the listening ended
        failure, was_key = error, True
    if was_key:
        NOTES.print(
            "Interrupted. Nothing half-written was left behind; a search that keeps what is done "
            "goes on when the same command is given again."
        )
        raise typer.Exit(EXIT_INTERRUPTED)
    if isinstance(failure, BrokenPipeError):  # whoever read the output has gone
        raise typer.Exit(EXIT_NOT_JUDGED)
    if failure is not None:
        if verbose and not isinstance(failure, CircuitkitError):
            NOTES.print("".join(traceback.format_exception(failure)), soft_wrap=True)
        fail(failure, as_json=as_json)


@contextmanager
def _set_aside(as_json: bool) -> Iterator[None]:
    """Let standard output stand for standard error in the block, if only JSON may go there."""
    if not as_json:
        yield
        return
    token = _JSON_OUT.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _JSON_OUT.reset(token)


@contextmanager
def noted_warnings() -> Iterator[None]:
    """Show our own warnings as one sentence each, without a place in the code."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            if issubclass(category, (LogWarning, PictureWarning, PrecisionWarning, SampleWarning)):
                NOTES.print(f"Note: {message}", soft_wrap=True)
            else:
                shown(message, category, *rest)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def fail(error: BaseException, *, as_json: bool) -> NoReturn:
    """Show the error and leave; one that was not foreseen is a bug, or of a task's own code."""
    is_ours = isinstance(error, CircuitkitError)
    message = str(error) if is_ours else _unforeseen(error)
    bad_input = is_ours and not isinstance(error, UNJUDGED)
    if as_json:
        show_json({"error": type(error).__name__, "message": message})
    else:
        NOTES.print(alarming(type(error).__name__, message), soft_wrap=True)
    raise typer.Exit(EXIT_BAD_INPUT if bad_input else EXIT_NOT_JUDGED)


def alarming(label: str, text: str) -> Text:
    """Return a text behind a red label."""
    return Text.assemble((plain(label), "bold red"), f": {plain(text)}")


def _unforeseen(error: BaseException) -> str:
    """Return what to say of an error that nobody foresaw, with where it was raised."""
    place = place_in_task(error)
    if place:
        return (
            f"task code: must run without error, got {error_text(error)} ({place}). Nothing was "
            "judged. Mend the task."
        )
    frames = traceback.extract_tb(error.__traceback__)[-N_FRAMES:]
    at = ", ".join(f"{Path(frame.filename).name} line {frame.lineno}" for frame in frames)
    return (
        f"command: must end with a result or an error of its own, got {error_text(error)} (at "
        f"{at}). Nothing was judged. This is a bug in circuitkit: please report it, with the "
        "command and this message."
    )


def filled(text: str, first: str = "", rest: str = "") -> str:
    """Return text broken between words to the width, its first line and the others indented."""
    return fill(
        plain(text),
        OUT.width,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    )


def wrapped(head: str, *texts: str) -> str:
    """Return a line, and texts under it, indented and broken between words to the width."""
    return "\n".join([plain(head), *(filled(text, "  ", "  ") for text in texts)])


def show_json(data: Any) -> None:
    """Print data as JSON on standard output, and nothing else."""
    out = _JSON_OUT.get() or sys.stdout
    out.write(json.dumps(data, indent=1) + "\n")


def show_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; cells are shown as they are, never as markup.

    Where the terminal is so narrow that words would be broken, each row is a list of its cells.
    """
    table = Table()
    for i, name in enumerate(header):
        words = [word for text in (name, *(row[i] for row in rows)) for word in plain(text).split()]
        table.add_column(
            Text(plain(name)),
            overflow="fold",
            justify="left" if i == 0 else "default",
            min_width=max(map(cell_len, words), default=0),
        )
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    OUT.print(Text(filled(title), "bold"))  # over the table, as a narrow one would break it up
    anything = OUT.options.update(max_width=ANY_WIDTH)
    if Measurement.get(OUT, anything, table).minimum <= OUT.width:
        OUT.print(table)
        return
    for first, *cells in rows:
        OUT.print(wrapped(first, *(f"{n}: {c}" for n, c in zip(header[1:], cells, strict=True))))


def show_rows(title: str, rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print dictionaries as a table, or as JSON."""
    if as_json:
        show_json(rows)
        return
    header = list(dict.fromkeys(key for row in rows for key in row))
    show_table(title, header, [[str(row.get(key, "")) for key in header] for row in rows])
