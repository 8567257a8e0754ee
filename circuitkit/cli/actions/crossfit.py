"""What `crossfit` does: find a circuit for each fold of the pairs, and judge all of them."""

from dataclasses import replace
from pathlib import Path

from circuitkit.cli.actions.costs import show_plan
from circuitkit.cli.actions.discover import able_subject
from circuitkit.cli.actions.requests import (
    announce_drawing,
    request_of,
    search_settings,
    units_of,
)
from circuitkit.cli.loading import EXIT_FAILED, EXIT_NOT_JUDGED
from circuitkit.cli.options import BatchedMachine, Plannable, What
from circuitkit.cli.rules import Search
from circuitkit.cli.terminal import OUT, bars, filled, show_json, show_table
from circuitkit.errors import MethodError
from circuitkit.study.folds import CrossFit, cross_fit
from circuitkit.study.records import to_json
from circuitkit.validation.verdict import REFUTED, SUPPORTED
from circuitkit.work.files import require_writable_file, write_whole

EXIT = {SUPPORTED: 0, REFUTED: EXIT_FAILED}


def judge_folds(
    what: What, search: Search, machine: BatchedMachine, shown: Plannable, folds: int, output: Path
) -> int:
    """Find and judge the circuits, write and show what they keep, and return the exit code."""
    if units_of(search).kind:
        raise MethodError(
            f"crossfit: must come without --units, got --units {search.units}. Units are chosen on "
            "all pairs, so that no fold would be unseen. Leave it out."
        )
    settings = search_settings(search, what.seed, machine)
    request = replace(request_of(what, machine), n_validation=1, discovery_only=True)
    require_writable_file(output)
    announce_drawing(request.n, shown=shown.has_bars)
    subject = able_subject(request, search)
    if shown.plan:
        show_plan(subject, settings, subject.splits.discovery, shown)
        return 0
    with bars(shown=shown.has_bars) as stage:
        found = cross_fit(subject, settings, folds, stage)
    told = {
        "task": subject.task,
        "model": subject.model.name,
        "model_digest": subject.model.digest,
        "command": subject.command,
        **found.facts,
    }
    write_whole(output, to_json(told))
    if shown.as_json:
        show_json(told)
    else:
        _show(found, output)
    return EXIT.get(found.outcome, EXIT_NOT_JUDGED)


def _show(found: CrossFit, output: Path) -> None:
    show_table(
        "Folds: each circuit was found on the other folds",
        ("fold", "found on", "judged on", "edges", "faithfulness"),
        [
            (
                str(number),
                str(fold.n_found_on),
                str(fold.n_judged_on),
                str(fold.circuit.n_edges),
                "–" if fold.faithfulness is None else f"{fold.faithfulness:.3f}",
            )
            for number, fold in enumerate(found.folds, 1)
        ],
    )
    OUT.print(filled(f"Two of the circuits share {found.overlap:.0%} of their edges on average."))
    OUT.print(filled(found.sentence))
    OUT.print(str(output), soft_wrap=True)
