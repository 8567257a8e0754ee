"""What the command line shows: progress bars with an ETA, tables, and errors as one message."""

import json
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
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

from circuitkit.cli.loading import EXIT_INTERRUPTED
from circuitkit.errors import CircuitkitError, PictureWarning, PrecisionWarning, SampleWarning
from circuitkit.work.text import error_text, plain

EXIT_FAILED = 1  # a circuit was judged and does not hold
EXIT_NOT_JUDGED = 2  # bad input, or no judgement possible
N_FRAMES = 4  # of a traceback, in the message of a bug


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
            if issubclass(category, (PictureWarning, PrecisionWarning, SampleWarning)):
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
