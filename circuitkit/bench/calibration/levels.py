"""Are the judge's error rates what they say, in every cell? Pools of pairs, drawn from often.

    pool       the metric of a circuit, the model and the empty circuit on many pairs, each run once
    truth      the pool's own value: samples are drawn from it with replacement
    cell       one pool, one number of pairs, one quantity

    coverage              of the interval of faithfulness: at least 95 %
    false support, refute where the bound is the truth itself: at most 2.5 % each
    equivalence           differences moved to either margin and called equivalent: at most 5 %
    power                 a bound 0.1 below the truth is supported

A cell's count has a Clopper-Pearson interval; the page's headline is the worst cell, not the mean.
Pools lie in a directory, one file each: a run that was stopped goes on from there.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from circuitkit.bench.calibration.false_alarms import LEVEL, at_margin
from circuitkit.bench.calibration.faults import faulty, subject_on, without_prompts
from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import load_circuit
from circuitkit.errors import TaskError
from circuitkit.statistics.bootstrap import Values, share_of_whole
from circuitkit.statistics.gaps import dust_of
from circuitkit.statistics.shares import share_estimate
from circuitkit.study.cases import case_of
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Subject
from circuitkit.validation.equivalence import p_equivalent
from circuitkit.work.files import write_whole
from circuitkit.zoo import load_model
from circuitkit.zoo.planted import planted

SIZES = (16, 32, 64, 100, 400)
ABLATIONS = ("mean", "resample", "zero")
TRAINED = "pico-"
FAULTS = ("true", "minus-edge", "random")
N_POOL = 1000
LEAST_POOL = 60
STATED = 0.1  # how far below the truth a bound lies where power is measured
WORST = {  # the most that each rate should be
    "not covered": 0.05,
    "false support": 0.025,
    "false refutation": 0.025,
    "false equivalence": 0.05,
}


@dataclass(frozen=True)
class Pool:
    """What a circuit, the model and the empty circuit do on many pairs."""

    name: str
    fault: str
    ablation: str
    circuit: Values
    full: Values
    empty: Values

    @property
    def has_gap(self) -> bool:
        """Whether the ablation costs something: without that nothing is a share of it."""
        gap = self.full - self.empty
        return bool(abs(gap.mean()) > max(dust_of(self.full, self.empty), gap.std() / 4))


@dataclass(frozen=True)
class Cell:
    """How often something happened in draws of one size from one pool."""

    quantity: str
    name: str
    fault: str
    ablation: str
    n: int
    count: int
    draws: int

    @property
    def rate(self) -> float:
        """The share of draws."""
        return self.count / self.draws


def pools_of(name: str, directory: Path, circuits: Path | None = None) -> list[Pool]:
    """Return the pools of `planted-ioi:backup:11`, or of `pico-ioi`; run once, then read.

    `circuits` is the directory of pico's circuits, <task>.json.
    """
    files = {
        (fault, ablation): directory / f"{name}|{fault}|{ablation}.npz".replace(":", "-")
        for ablation in ABLATIONS
        for fault in FAULTS
    }
    if not all(path.exists() for path in files.values()):
        if circuits is not None and name.startswith(TRAINED):
            task = name.removeprefix(TRAINED)
            true = load_circuit(circuits / f"{task}.json")
            model, seed = load_model("pico"), 0
        else:
            instance = planted(name)
            model, task, seed = instance.model(dtype=torch.float64), instance.task, instance.seed
            true = instance.truth(model)
        tried = faulty(without_prompts(true), seed)
        subject = _large_subject(partial(subject_on, model, task))
        _run(subject, {fault: tried[fault] for fault in FAULTS}, files)
    return [_read(name, *key, path) for key, path in files.items()]


def _large_subject(make: Callable[[int], Subject]) -> Subject:
    """Return the subject on N_POOL pairs; of a task that has fewer, on a half, a quarter, ..."""
    n = N_POOL
    while n > LEAST_POOL:
        try:
            return make(n)
        except TaskError:
            n //= 2
    return make(n)


def _run(
    subject: Subject, circuits: Mapping[str, Circuit], files: Mapping[tuple[str, str], Path]
) -> None:
    graph = subject.model.graph
    ends = [Circuit.full(graph), Circuit.empty(graph)]
    for ablation in ABLATIONS:
        case = case_of(subject, circuits["true"], Settings(ablation=ablation))
        full, empty, *rows = case.values([*ends, *circuits.values()])
        for fault, row in zip(circuits, rows, strict=True):
            held = BytesIO()
            np.savez(held, circuit=row, full=full, empty=empty)
            write_whole(files[fault, ablation], held.getvalue())


def _read(name: str, fault: str, ablation: str, path: Path) -> Pool:
    with np.load(path) as held:
        return Pool(name, fault, ablation, held["circuit"], held["full"], held["empty"])


def cells_of(pool: Pool, n: int, draws: int, seed: int = 0) -> list[Cell]:
    """Return the cells of one pool at one number of pairs."""
    rng = np.random.default_rng([seed, n])
    change, gap = pool.circuit - pool.empty, pool.full - pool.empty
    truth = float(change.mean() / gap.mean())
    counts = dict.fromkeys([*WORST, "power"], 0)
    margins = [at_margin(pool.circuit - pool.full, gap, side) for side in (1, -1)]
    equivalent = [0, 0]
    for _ in range(draws):
        rows = rng.integers(0, len(gap), n)
        found = share_of_whole(change[rows], gap[rows])
        slack = 1e-9 * max(1.0, abs(truth))
        counts["false support"] += found.low > truth + slack
        counts["false refutation"] += found.high < truth - slack
        counts["not covered"] += not found.low - slack <= truth <= found.high + slack
        counts["power"] += found.low >= truth - STATED
        for side, moved in enumerate(margins):
            equivalent[side] += p_equivalent(moved[rows], gap[rows]) <= LEVEL
    counts["false equivalence"] = max(equivalent)
    about = (pool.name, pool.fault, pool.ablation, n)
    return [Cell(quantity, *about, int(count), draws) for quantity, count in counts.items()]


def measure_levels(
    names: Sequence[str],
    directory: Path,
    *,
    draws: int,
    circuits: Path | None = None,
    workers: int = 1,
) -> list[Cell]:
    """Return all cells of these models; pools are kept in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    work = partial(_cells_of_model, directory=directory, circuits=circuits, draws=draws)
    if workers == 1:
        return _joined(map(work, names))
    with ProcessPoolExecutor(workers) as pool:
        return _joined(pool.map(work, names))


def _joined(parts: Iterable[list[Cell]]) -> list[Cell]:
    return [cell for part in parts for cell in part]


def _cells_of_model(name: str, directory: Path, circuits: Path | None, draws: int) -> list[Cell]:
    pools = [pool for pool in pools_of(name, directory, circuits) if pool.has_gap]
    return _joined(cells_of(pool, n, draws) for pool in pools for n in SIZES)


def levels_page(cells: Sequence[Cell], command: str, versions: str) -> str:
    """Return the page: the worst cell first, then the worst of each quantity and size."""
    judged = [cell for cell in cells if cell.quantity in WORST]
    worst = max(judged, key=lambda cell: cell.rate / WORST[cell.quantity])
    models = len({cell.name for cell in cells})
    lines = [
        "# The judge's error rates, cell by cell",
        "",
        f"**The worst of {len(judged)} cells: {worst.quantity} in {_of(worst)} where at most "
        f"{WORST[worst.quantity]:.1%} is said** ({_where(worst)}).",
        "",
        f"Made by `{command}` with {versions}: {models} models, {worst.draws} draws a cell from "
        "pools of pairs. What a cell is stands on top of `circuitkit/bench/calibration/levels.py`.",
        "",
        "| quantity | pairs | worst cell | of all draws | where |",
        "|---|---|---|---|---|",
    ]
    for quantity in WORST:
        lines += [_row([c for c in judged if c.quantity == quantity and c.n == n]) for n in SIZES]
    lines += ["", f"Power: a bound {STATED} below the truth is supported.", ""]
    lines += ["| pairs | least | mean | where least |", "|---|---|---|---|"]
    for n in SIZES:
        rows = [cell for cell in cells if cell.quantity == "power" and cell.n == n]
        least = min(rows, key=lambda cell: cell.rate)
        mean = float(np.mean([cell.rate for cell in rows]))
        lines.append(f"| {n} | {least.rate:.0%} | {mean:.0%} | {_where(least)} |")
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[Cell]) -> str:
    worst = max(cells, key=lambda cell: cell.rate)
    share = sum(cell.count for cell in cells) / sum(cell.draws for cell in cells)
    return f"| {worst.quantity} | {worst.n} | {_of(worst)} | {share:.1%} | {_where(worst)} |"


def _of(cell: Cell) -> str:
    found = share_estimate(cell.count, cell.draws)
    return f"{cell.rate:.1%} ({found.low:.1%} to {found.high:.1%})"


def _where(cell: Cell) -> str:
    return f"{cell.name}, {cell.fault} circuit, {cell.ablation} ablation, {cell.n} pairs"
