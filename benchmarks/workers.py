"""What workers gain: the exact sweep by one process with one thread, and by workers with one each.

    python benchmarks/workers.py [--workers 2] [--task ioi] [--model pico] [--n 200] [--times 3]

Both take turns in one run, so that what else the machine does falls on both; the load is printed.
Wall time says what was gained then. Processor time does not depend on what else runs: with a core
for each worker, the gain is the number of workers times that of one process over that of all.
Scores must be the same bit for bit.
"""

import argparse
import os
import time
from collections.abc import Callable
from multiprocessing import active_children
from statistics import median

import psutil
import torch

from circuitkit.circuits.graph import EdgeScores
from circuitkit.study.settings import Settings, method_of, work_of
from circuitkit.study.subject import Request, Subject, subject_of
from circuitkit.study.workers import executor_of
from circuitkit.work.executors.items import IN_PROCESS, Executor


def sweep(subject: Subject, settings: Settings, executor: Executor) -> EdgeScores:
    """Return the exact effect of every edge."""
    work = work_of(subject, settings, executor=executor)
    pairs = subject.splits.discovery
    return method_of(settings).score_edges(subject.model, pairs, subject.metric, work)


def processor_seconds() -> float:
    """Return what this process and its workers have used; those of Ray are not seen."""
    pids = [os.getpid(), *(each.pid for each in active_children() if each.pid)]
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(each.user + each.system for each in times)


def timed(run: Callable[[], EdgeScores]) -> tuple[float, float, EdgeScores]:
    """Return the seconds on the clock and those of processors that a sweep takes."""
    start, used = time.perf_counter(), processor_seconds()
    scores = run()
    return time.perf_counter() - start, processor_seconds() - used, scores


def main() -> None:
    """Measure and print."""
    asked = parsed()
    torch.set_num_threads(1)
    subject = subject_of(Request(task=asked.task, model=asked.model, n=asked.n))
    alone = Settings(method="exact", batch_size=asked.batch)
    shared = Settings(method="exact", batch_size=asked.batch, workers=asked.workers)
    n = len(subject.splits.discovery)
    print(f"{subject.model.graph}; {n} pairs, batches of {asked.batch}; {os.cpu_count()} cores")
    with executor_of(subject, shared) as executor:
        first, _, expected = timed(lambda: sweep(subject, shared, executor))
        print(f"first sweep, start of the workers included: {first:.1f} s")
        rows = []
        for _ in range(asked.times):
            one = timed(lambda: sweep(subject, alone, IN_PROCESS))
            many = timed(lambda: sweep(subject, shared, executor))
            assert torch.equal(one[2].values, expected.values)
            assert torch.equal(many[2].values, expected.values)
            rows.append((one[0], one[1], many[0], many[1]))
            load = os.getloadavg()[0]
            print(
                f"one process {one[0]:.2f} s ({one[1]:.2f} of processors), workers {many[0]:.2f} s "
                f"({many[1]:.2f}): {one[0] / many[0]:.2f} times as fast; load {load:.1f}"
            )
    gain = median(one / many for one, _, many, _ in rows)
    cost = median(many / one for _, one, _, many in rows)
    print(f"median: {gain:.2f} times as fast; {cost:.2f} times the processor time; the same bits")


def parsed() -> argparse.Namespace:
    """Return what was typed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", default="2")
    parser.add_argument("--task", default="ioi")
    parser.add_argument("--model", default="pico")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--times", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
