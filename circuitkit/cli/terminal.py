"""What the command line shows: progress bars with an ETA, tables, and errors as one message."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from circuitkit.cli.loading import EXIT_INTERRUPTED
from circuitkit.errors import CircuitkitError

EXIT_FAILED = 1  # a circuit was judged and does not hold
EXIT_NOT_JUDGED = 2  # bad input, or no judgement possible

OUT = Console(highlight=False)
NOTES = Console(stderr=True, highlight=False)


@contextmanager
def bars(*, shown: bool) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Yield a function that starts a titled bar and returns its `progress(done, total)`."""
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=NOTES, disable=not shown) as progress:

        def stage(title: str) -> Callable[[int, int], None]:
            task = progress.add_task(title, total=None)

            def update(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            return update

        yield stage


@contextmanager
def reported_errors(*, as_json: bool = False) -> Iterator[None]:
    """Turn errors raised on purpose, and Ctrl-C, into a message and an exit code."""
    try:
        yield
    except CircuitkitError as error:
        fail(error, as_json=as_json)
    except KeyboardInterrupt:
        NOTES.print(
            "Interrupted. Nothing half-written was left behind; a search that keeps what is done "
            "goes on when the same command is given again."
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None


def fail(error: CircuitkitError, *, as_json: bool) -> NoReturn:
    """Show the error and leave with EXIT_NOT_JUDGED."""
    if as_json:
        show_json({"error": type(error).__name__, "message": str(error)})
    else:
        NOTES.print(f"[bold red]{type(error).__name__}[/]: {escape(str(error))}", soft_wrap=True)
    raise typer.Exit(EXIT_NOT_JUDGED)


def show_json(data: Any) -> None:
    """Print data as JSON on standard output, and nothing else."""
    sys.stdout.write(json.dumps(data, indent=1) + "\n")


def show_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; cells are shown as they are, never as markup."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for i, name in enumerate(header):
        table.add_column(name, overflow="fold", justify="left" if i == 0 else "default")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    OUT.print(table)


def show_rows(title: str, rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print dictionaries as a table, or as JSON."""
    if as_json:
        show_json(rows)
        return
    header = list(dict.fromkeys(key for row in rows for key in row))
    show_table(title, header, [[str(row.get(key, "")) for key in header] for row in rows])
