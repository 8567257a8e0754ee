"""False alarms: how often each test rejects, at 5 %, what is true.

    sufficiency, necessity   a random circuit against random circuits
    independence             the metric of a random circuit's complement, pairs shuffled
    equivalence              differences of a random circuit, moved to lie at the margin
    equivalence-share        signs whose share lies at the margin
    minimality               as many edges as the circuit has, the effect of each at the level c;
                             an alarm is one edge or more that is called needed

A rate must lie within the band that holds 99 % of counts at a true rate of 5 %. Each null is run
through the criterion's own code. Data that are resampled are those of circuits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import binom

from circuitkit.bench.calibration.faults import subject_on
from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.random_circuits import select_random
from circuitkit.statistics.bootstrap import Values
from circuitkit.study.cases import case_of
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Subject
from circuitkit.validation.against_random import PartialNecessity, Sufficiency
from circuitkit.validation.case import Case
from circuitkit.validation.equivalence import MARGIN, SHARE_MARGIN, p_equivalent, p_even
from circuitkit.validation.independence import p_independent
from circuitkit.validation.minimality import edge_effects, rejected_above
from circuitkit.work.progress import Progress, silent
from circuitkit.zoo.planted import planted

LEVEL = 0.05
BAND = 0.99
MODEL = "planted-ioi:noise:0"
SHARE_OF_EDGES = 0.15  # of a random circuit: the most that a circuit may have by default
N_PAIRS = 32
FIRST_SEED = 10**7  # of circuits on trial, far from those of their controls
N_DRAWN = 64  # pairs of a resampled data set


@dataclass(frozen=True)
class Rate:
    """How often a test rejected a true hypothesis in a number of draws."""

    test: str
    alarms: int
    draws: int

    @property
    def band(self) -> tuple[int, int]:
        """The fewest and the most alarms of 99 % of samples at a true rate of 5 %."""
        tail = (1 - BAND) / 2
        low, high = binom.ppf([tail, 1 - tail], self.draws, LEVEL)
        return int(low), int(high)

    @property
    def is_right(self) -> bool:
        """Whether the count lies in the band."""
        low, high = self.band
        return low <= self.alarms <= high


def measure_false_alarms(draws: int, progress: Progress = silent) -> list[Rate]:
    """Return the false-alarm rate of every test."""
    case = random_case(0)
    rows = edge_effects(case)
    nulls: dict[str, Callable[[int], bool]] = {
        "sufficiency": lambda seed: _rejects(Sufficiency().measure(random_case(seed)).p),
        "necessity": lambda seed: _rejects(PartialNecessity().measure(random_case(seed)).p),
        "independence": lambda seed: _rejects(_independence_null(case, seed)),
        "equivalence": lambda seed: _rejects(_equivalence_null(case, seed)),
        "equivalence-share": lambda seed: _rejects(_share_null(seed)),
        "minimality": lambda seed: _minimality_null(rows, seed),
    }
    rates = []
    for done, (name, null) in enumerate(nulls.items()):
        alarms = 0
        for seed in range(draws):
            progress(done * draws + seed, len(nulls) * draws)
            alarms += null(seed)
        rates.append(Rate(name, alarms, draws))
    progress(len(nulls) * draws, len(nulls) * draws)
    return rates


@cache
def null_subject() -> Subject:
    """Return the planted model that random circuits are drawn from, with its pairs."""
    instance = planted(MODEL)
    return subject_on(instance.model(), instance.task, N_PAIRS)


def random_case(seed: int) -> Case:
    """Return the case of a random circuit of the planted model, with a seed of its own."""
    subject = null_subject()
    graph = subject.model.graph
    n_edges = int(SHARE_OF_EDGES * graph.n_edges)
    scores = Circuit.empty(graph).scores
    circuit = select_random(scores, n_edges, seed=FIRST_SEED + seed)
    return case_of(subject, circuit, Settings(seed=seed))


def _rejects(p: float | None) -> bool:
    return p is not None and p <= LEVEL


def _independence_null(case: Case, seed: int) -> float:
    full, _ = case.ends()
    [rest] = case.values([case.circuit.complement])
    order = np.random.default_rng(seed).permutation(len(full))
    return p_independent(rest[order], full, seed=seed)


def _equivalence_null(case: Case, seed: int) -> float:
    full, _ = case.ends()
    [circuit] = case.values([case.circuit])
    gap = full - case.ends()[1]
    rng = np.random.default_rng(seed)
    difference = circuit - full
    moved = at_margin(difference, gap, rng.choice([-1, 1]))
    rows = rng.integers(0, len(gap), N_DRAWN)
    return p_equivalent(moved[rows], gap[rows])


def at_margin(difference: Values, gap: Values, side: int) -> Values:
    """Return the differences with their mean moved to the upper (1) or the lower (-1) margin."""
    return np.asarray(difference - difference.mean() + side * MARGIN * gap.mean())


def _share_null(seed: int) -> float:
    rng = np.random.default_rng(seed)
    share = 0.5 + rng.choice([-SHARE_MARGIN, SHARE_MARGIN])
    return p_even(float(rng.binomial(N_DRAWN, share)), N_DRAWN)


def _minimality_null(rows: Values, seed: int) -> bool:
    rng = np.random.default_rng(seed)
    moving = rows[rows.std(1) > 0]
    level = 1.0
    scaled = (moving - moving.mean(1, keepdims=True)) / moving.std(1, keepdims=True) + level
    drawn = np.stack([rng.choice(row, N_DRAWN) for row in scaled])
    return bool(rejected_above(drawn, level).any())
