"""What an explanation costs: `run TASK --explain` beside `run TASK`, in one process after another.

    python benchmarks/explain.py [TASK] [--rounds 3]

Prints the seconds of each and their ratio; rounds take turns, and the median ratio counts.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer


def main(
    task: Annotated[str, typer.Argument(help="A task name or my_task.py:MyTask.")] = "ioi",
    rounds: Annotated[int, typer.Option("--rounds", help="How often each is run.")] = 3,
) -> None:
    """Time both, start included."""
    ratios = []
    for _ in range(rounds):
        plain, explained = seconds("run", task), seconds("run", task, "--explain")
        ratios.append(explained / plain)
        print(f"run {plain:.0f} s, run --explain {explained:.0f} s, ratio {ratios[-1]:.2f}")
    print(f"median ratio {statistics.median(ratios):.2f}")


def seconds(*words: str) -> float:
    """Return the wall time of a command that writes into a directory of its own."""
    with TemporaryDirectory() as directory:
        started = time.perf_counter()
        output = str(Path(directory) / "run")
        command = [sys.executable, "-m", "circuitkit", *words, "-q", "-o", output]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode > 1:  # 1: refuted, which is a result too
            sys.exit(done.stderr.decode())
        return time.perf_counter() - started


if __name__ == "__main__":
    typer.run(main)
