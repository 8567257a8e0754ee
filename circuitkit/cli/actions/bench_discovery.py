"""What `bench-discovery` does: how well does every method recover circuits whose truth is known?"""

from dataclasses import replace
from pathlib import Path

from circuitkit.bench.scoreboard.page import write_board
from circuitkit.bench.scoreboard.run import Plan, measure_board
from circuitkit.cli.actions.reports import show_paths
from circuitkit.cli.benches import Board
from circuitkit.cli.options import Shown
from circuitkit.cli.terminal import bars
from circuitkit.cli.values import parse_names, parse_seeds, typed_command
from circuitkit.study.settings import installed_versions
from circuitkit.work.files import require_writable_directory


def measure_methods(asked: Board, shown: Shown, output: Path, *, workers: int) -> None:
    """Measure the methods, and write the page."""
    plan = Plan(
        methods=parse_names(asked.methods),
        models=parse_names(asked.models),
        difficulties=parse_names(asked.difficulties),
        seeds=parse_seeds(asked.seeds),
        n=asked.n,
    )
    plan = plan if asked.trained else replace(plan, trained_tasks=())
    require_writable_directory(output)
    with bars(shown=shown.has_bars) as stage:
        board = measure_board(
            plan,
            checkpoint=output / "results.sqlite",
            workers=workers,
            progress=stage("Measuring methods"),
        )
    versions = ", ".join(f"{name} {number}" for name, number in installed_versions().items())
    written = write_board(board, output, typed_command(), versions)
    show_paths(written, as_json=shown.as_json)
