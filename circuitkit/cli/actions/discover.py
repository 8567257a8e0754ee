"""What `discover` does: find one circuit, or compare all methods; and what long searches keep."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import save_circuit
from circuitkit.circuits.selection import select_top
from circuitkit.cli.actions.costs import show_plan
from circuitkit.cli.actions.requests import (
    announce_drawing,
    request_of,
    search_settings,
    units_of,
)
from circuitkit.cli.actions.shown import show_circuit, show_comparison
from circuitkit.cli.options import BatchedMachine, Plannable, What
from circuitkit.cli.rules import Search, SearchOrAll
from circuitkit.cli.terminal import NOTES, bars
from circuitkit.discovery.methods import DEFAULT, METHODS
from circuitkit.errors import MethodError
from circuitkit.prompts.columns import Columns, columns_named
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.reporting.method_plot import comparison_svg
from circuitkit.study.method_comparison import compare_methods
from circuitkit.study.recipe import with_provenance
from circuitkit.study.search import find_circuit as search_circuit
from circuitkit.study.settings import Settings, Stage, method_of, work_of
from circuitkit.study.subject import Request, Subject, subject_of
from circuitkit.validation.baseline import measure_baseline, require_able
from circuitkit.work.files import require_writable_file, write_whole

MAX_FILE_NAME = 60  # letters of a role or position in the name of its file


def find_circuit(
    what: What,
    search: SearchOrAll,
    machine: BatchedMachine,
    shown: Plannable,
    output: Path | None,
    checkpoint: Path | None,
) -> None:
    """Find a circuit, or compare all methods; write and show it."""
    if search.compares:
        _require_nothing_ignored(search, checkpoint)
    columns = _columns(search)
    output = output or Path("methods.svg" if search.compares else "circuit.json")
    settings = search_settings(
        search,
        what.seed,
        machine,
        method=DEFAULT if search.compares else search.method,
        threshold=search.threshold,
        selection=search.select,
    )
    request = _request(what, search, machine)
    kept = checkpoint_beside(output, request, settings)
    settings = with_checkpoint(settings, checkpoint, kept)
    require_writable_file(output)
    announce_drawing(request.n, shown=shown.has_bars)
    subject = able_subject(request, search)
    if shown.plan:
        return show_plan(subject, settings, subject.splits.discovery, shown)
    with bars(shown=shown.has_bars) as stage:
        if search.compares:
            return _compare(subject, settings, output, stage, as_json=shown.as_json)
        announce(subject, settings, shown=shown.has_bars)
        circuit, _ = search_circuit(subject, settings, stage)
        parts = {} if columns is None else _by_column(subject, settings, columns, stage)
    _save(circuit, parts, output)
    forget_checkpoint(settings, checkpoint)
    show_circuit(circuit, output, as_json=shown.as_json)


def _request(what: What, search: SearchOrAll, machine: BatchedMachine) -> Request:
    """Return what is asked for: where the size is given, no pair need be held back to choose it."""
    whole_file = (search.edges > 0 or search.threshold > 0) and not search.compares
    return request_of(what, machine, discovery_only=whole_file, units=units_of(search))


def _save(circuit: Circuit, parts: Mapping[str, Circuit], output: Path) -> None:
    save_circuit(circuit, output)
    for name, part in zip(file_names(list(parts)), parts.values(), strict=True):
        save_circuit(part, output.with_suffix(f".{name}.json"))


def able_subject(request: Request, search: Search) -> Subject:
    """Return what is studied, if the model can do it, or if that is not asked for.

    Raises:
        BaselineError: the model cannot do the task.
    """
    subject = subject_of(request)
    if not search.anyway:
        baseline = measure_baseline(subject.model, subject.splits.discovery, subject.metric)
        require_able(baseline, subject.model.name, subject.task)
    return subject


def _compare(
    subject: Subject, settings: Settings, output: Path, stage: Stage, *, as_json: bool
) -> None:
    rows, refused = compare_methods(subject, settings, stage)
    write_whole(output, comparison_svg(rows, subject.task, subject.model.name))
    show_comparison(rows, refused, output, as_json=as_json)


def _columns(search: SearchOrAll) -> Callable[[PromptPairs], Columns] | None:
    """Return how pairs are cut into columns; None where that is not asked for.

    Raises:
        MethodError: no such columns, or no size for their circuits.
    """
    if not search.by:
        return None
    if search.edges == 0 or search.compares:
        raise MethodError(
            f"--by: must come with --edges and one method, got --by {search.by} alone. Every "
            f"{search.by} has a circuit of that many edges. Add --edges 50, say."
        )
    return columns_named(search.by)


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


def file_names(names: Sequence[str]) -> list[str]:
    """Return names of files for names of any text, no two of them the same."""
    found: list[str] = []
    for name in names:
        base = re.sub(r"[^\w.-]+", "-", name)[:MAX_FILE_NAME].strip(".") or "unnamed"
        tried = (base if number == 1 else f"{base}-{number}" for number in count(1))
        taken = {each.lower() for each in found}  # some file systems do not tell case apart
        found.append(next(each for each in tried if each.lower() not in taken))
    return found


def checkpoint_beside(output: Path, request: Request, settings: Settings) -> Path:
    """Return where a search keeps what is done: named by the work, whatever its output is called.

    So the same search into another file beside goes on from there too.
    """
    asked = replace(request, command="", device="cpu")
    how = replace(settings, memory=None, batch_size=None, anyway=False, workers="", checkpoint=None)
    digest = hashlib.sha256(repr((asked, how)).encode(errors="replace")).hexdigest()[:8]
    return output.parent / f"search-{settings.method}-{digest}.sqlite"


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
        kept = str(settings.checkpoint)
        note = f"What is done is kept in {kept}; the same command resumes it."
        NOTES.print(note, soft_wrap=True)


def _require_nothing_ignored(search: SearchOrAll, checkpoint: Path | None) -> None:
    given = {
        "--set": bool(search.options),
        "--edges-at": bool(search.edges_at),
        "--edges": search.edges > 0,
        "--threshold": search.threshold > 0,
        "--select": search.select != "top",
        "--checkpoint": checkpoint is not None,
    }
    named = [name for name, is_given in given.items() if is_given]
    if named:
        raise MethodError(
            f"--method all: must go without {', '.join(given)}, got {', '.join(named)}. Methods "
            "are compared at many sizes, with their defaults. Leave these out, or name one method."
        )
