"""What `check` does: the contracts of a pyproject.toml, judged for a reader and for CI."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from circuitkit.cli.loading import EXIT_FAILED, EXIT_NOT_JUDGED
from circuitkit.cli.options import Shown
from circuitkit.cli.terminal import (
    OUT,
    alarming,
    bars,
    show_json,
    show_table,
)
from circuitkit.contracts.check import (
    BROKEN,
    HOLDS,
    NOT_JUDGED,
    ContractResult,
    check_contracts,
    outcome_of_contracts,
)
from circuitkit.contracts.parsing import read_contracts
from circuitkit.contracts.report import annotations, junit_xml, markdown, summary_line, to_json
from circuitkit.contracts.wording import value_of
from circuitkit.work.files import require_writable_file, unwritable, write_whole

EXIT = {HOLDS: 0, BROKEN: EXIT_FAILED, NOT_JUDGED: EXIT_NOT_JUDGED}


def judge_contracts(
    config: Path, matching: str, junit: Path | None, summary: Path | None, shown: Shown
) -> int:
    """Judge the contracts, show and write the results, and return the exit code."""
    for path in (junit, summary):
        if path is not None:
            require_writable_file(path)
    contracts = read_contracts(config)
    with bars(shown=shown.has_bars) as stage:
        results = check_contracts(contracts, matching=matching, progress=stage("Judging"))
    if junit is not None:
        write_whole(junit, junit_xml(results))
    if summary is not None:
        write_whole(summary, markdown(results))
    if shown.as_json:
        show_json(to_json(results))
    else:
        show_results(results)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        tell_github(results)
    return EXIT[outcome_of_contracts(results)]


def show_results(results: Sequence[ContractResult]) -> None:
    """Print the table, then the message of everything that does not hold."""
    rows = [(result.name, item) for result in results for item in result.items]
    show_table(
        "Contracts",
        ("contract", "criterion", "value [95 % interval]", "must be", "outcome"),
        [
            (
                name,
                item.criterion,
                "not measured" if item.check is None else value_of(item.check),
                "" if item.check is None else item.check.rule,
                item.outcome,
            )
            for name, item in rows
        ],
    )
    for _, item in rows:
        if item.outcome != HOLDS:
            OUT.print(alarming(item.outcome, item.message), soft_wrap=True)
    OUT.print(summary_line(results), soft_wrap=True)


def tell_github(results: Sequence[ContractResult]) -> None:
    """Print annotations, and add the summary to that of the job.

    On standard error, which the runner reads too, so that --json stays JSON.

    Raises:
        OutputError: the job's summary cannot be written.
    """
    for line in annotations(results):
        sys.stderr.write(line + "\n")
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if not page:
        return
    try:
        with Path(page).open("a") as file:
            file.write(markdown(results))
    except OSError as error:
        raise unwritable(Path(page), error) from error
