"""The default: method, size and trimming, chosen on the discovery pairs within a time budget.

    score      by EAP-IG; by EAP where that alone fits into the budget; where the metric has no
               gradient, by the dearest exact method that fits; under the ablation that judges
    start      from half as many edges again as it takes until the best are faithful, and stay so
    trim       if that fits (trimming.py); else keep as many as it takes
    look       at the criteria of CHECKED on the discovery pairs
    again      from twice as many edges, while one of them fails and time is left

Of the circuits tried, that is taken on which the fewest criteria fail, then the smallest. All this
is done on discovery pairs. The validation pairs are looked at once, on the circuit that was taken,
so that the freedom of choice cannot leak into the verdict. What was chosen is a recipe like any
other (`Found.settings`): the circuit is found again from it, by no clock.
"""

import time
from dataclasses import dataclass, replace

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import EdgeScores
from circuitkit.discovery.methods import method_named
from circuitkit.discovery.time_estimate import duration_text, seconds_per_pass
from circuitkit.errors import MethodError
from circuitkit.study.search import Found, discover, faithfulness_by_size, select
from circuitkit.study.settings import Settings, Stage, work_of
from circuitkit.study.subject import Subject
from circuitkit.study.trimming import LEAST_PAIRS, discovery_case, few_edges, passes_to_trim
from circuitkit.validation.bench import Bench
from circuitkit.validation.judge import judge_circuit
from circuitkit.validation.verdict import REFUTED, SUPPORTED, Verdict
from circuitkit.work.progress import silent

CHECKED = ("faithfulness", "edge-share", "completeness", "minimality")
BUDGETS = {"cpu": 60.0, "cuda": 180.0}  # seconds
OFF = 0.05  # how far from 1 faithfulness may be where the best edges count as faithful
N_SIZES = 14  # from the whole graph down, each 1 / sqrt(2) of the one before
SLACK = 1.5  # times the edges that are enough: where trimming starts
LEAST_START = 100  # edges
MOST_STARTS = 3
PASSES = {"eap-ig": 20.0, "eap": 7.0}  # of each pair, about: what scoring takes
PASSES_OF_SIZES = 2.0 * N_SIZES  # of each pair, about
WITHOUT_GRADIENT = ("exact", "exact-nodes", "information-flow")  # dearest first


@dataclass(frozen=True)
class Plan:
    """What is affordable: settings without a size, and why those."""

    settings: Settings
    reasons: tuple[str, ...]


def find_by_default(
    subject: Subject, settings: Settings, stage: Stage = lambda title: silent
) -> Found:
    """Return the circuit that the default finds, with the settings that find it again, and why.

    Of `settings`, all that is given is kept: the number of edges to start from, the ablations,
    whether to trim, and for how many seconds to search at most.

    Raises:
        MethodError: the budget is too small for any method.
    """
    end = time.monotonic() + budget_of(subject, settings)
    plan = affordable(subject, settings)
    scores = discover(subject, plan.settings, stage("Scoring edges"))
    n_edges, why = first_size(subject, scores, plan.settings, stage)
    tried: list[tuple[Found, Verdict]] = []
    bench = Bench()  # what trimming has run need not run again to be looked at
    while True:
        begun = time.monotonic()
        own = replace(plan.settings, n_edges=n_edges)
        found = select(subject, scores, own, stage, bench)
        verdict = on_discovery_pairs(subject, found, bench)
        tried.append((found, verdict))
        more = min(2 * n_edges, scores.graph.n_edges)
        took = time.monotonic() - begun
        is_last = (
            verdict.outcome == SUPPORTED
            or settings.n_edges > 0
            or not own.minimal
            or more == n_edges
            or len(tried) == MOST_STARTS
            or time.monotonic() + 2 * took > end
        )
        if is_last:
            break
        n_edges = more
    best = min(range(len(tried)), key=lambda number: _rank(*tried[number]))
    found = tried[best][0]
    return replace(found, reasons=(*plan.reasons, why, *_reasons(tried, best)))


def budget_of(subject: Subject, settings: Settings) -> float:
    """Return how many seconds finding a circuit may take."""
    return settings.budget or BUDGETS.get(subject.model.device.type, BUDGETS["cpu"])


def affordable(subject: Subject, settings: Settings) -> Plan:
    """Return the best method that fits into the budget, and whether its circuits are trimmed.

    Raises:
        MethodError: none fits.
    """
    budget, pairs = budget_of(subject, settings), subject.splits.discovery
    each = seconds_per_pass(subject.model, pairs)
    costs = _costs(subject, settings, each)
    sizes = PASSES_OF_SIZES * len(pairs) * each
    reasons = []
    for method, seconds in costs.items():
        if seconds + sizes > budget:
            reasons.append(f"{method} would take about {duration_text(seconds + sizes)}")
            continue
        left = budget - seconds - sizes
        trims, why = _trims(subject, settings, left, each)
        said = f"; {' and '.join(reasons)}, more than {duration_text(budget)}" if reasons else ""
        same = settings.scoring_ablation == settings.ablation
        first = (
            f"Edges are scored by {method} under {settings.scoring_ablation} ablation, "
            f"{'which judges, too' if same else 'as asked'}{said}."
        )
        own = replace(settings, method=method, method_settings={}, minimal=trims)
        return Plan(own, (first, *why))
    least, takes = list(costs.items())[-1]
    raise MethodError(
        f"--budget: must be enough for one method to score the edges, got {budget:g} s where "
        f"{least} and choosing a size take about {duration_text(takes + sizes)}. No circuit would "
        "be found. Raise it, or lower --n."
    )


def _costs(subject: Subject, settings: Settings, each: float) -> dict[str, float]:
    """Return about how many seconds each usable method takes, the best first."""
    pairs, costs = subject.splits.discovery, {}
    for name in (*PASSES, *WITHOUT_GRADIENT):
        method = method_named(name)
        if settings.columns and not method.has_columns:
            continue
        try:
            method.require_usable(subject.model, subject.metric, work_of(subject, settings))
        except MethodError:
            continue
        if name in PASSES:
            costs[name] = PASSES[name] * len(pairs) * each
        elif not costs.keys() & PASSES.keys():
            estimate = method.estimate(subject.model, pairs)
            costs[name] = 0.0 if estimate is None else estimate.seconds
    return costs


def _trims(
    subject: Subject, settings: Settings, left: float, each: float
) -> tuple[bool, tuple[str, ...]]:
    """Return whether circuits are trimmed, and why not if it was to be."""
    if settings.columns:
        return False, ("Nothing is trimmed: trimming measures whole edges only.",)
    if not settings.minimal:
        return False, ()
    n_pairs = len(subject.splits.discovery)
    if n_pairs < LEAST_PAIRS:
        return False, (
            f"Nothing is trimmed: {n_pairs} discovery pairs are too few to tell which edges are "
            f"needed, it takes {LEAST_PAIRS}.",
        )
    seconds = passes_to_trim(Circuit.full(subject.model.graph)) * each
    if seconds > left:
        return False, (
            f"Nothing is trimmed: it would take about {duration_text(seconds)}, and about "
            f"{duration_text(left)} of the budget are left.",
        )
    return True, ()


def first_size(
    subject: Subject, scores: EdgeScores, settings: Settings, stage: Stage = lambda title: silent
) -> tuple[int, str]:
    """Return from how many of the best edges to start, and why."""
    total = scores.graph.n_edges
    if settings.n_edges:
        return settings.n_edges, f"The {settings.n_edges} best edges are taken, as asked."
    sizes = sorted({max(1, round(total * 2 ** (-step / 2))) for step in range(N_SIZES)})
    points = faithfulness_by_size(subject, scores, sizes, settings, stage)
    strays = [i for i, point in enumerate(points) if abs(1 - point) > OFF]
    enough = sizes[min(strays[-1] + 1, len(sizes) - 1) if strays else 0]
    kept = f"the best {enough} edges and more keep {1 - OFF:.0%} to {1 + OFF:.0%} of the behaviour"
    if not settings.minimal:
        return enough, f"{enough} edges are taken: {kept} on discovery pairs."
    start = min(total, max(round(SLACK * enough), LEAST_START))
    return start, f"Trimming starts from the {start} best edges: {kept} on discovery pairs."


def on_discovery_pairs(subject: Subject, found: Found, bench: Bench) -> Verdict:
    """Return what the criteria of CHECKED say on the pairs that found the circuit: no verdict.

    The last of them, minimality, is dear, and is not asked of a circuit that is too large anyway.
    """
    case = discovery_case(subject, found.circuit, found.settings, bench)
    is_large = found.circuit.n_edges > few_edges(found.circuit.graph)
    asked = CHECKED[:-1] if is_large else CHECKED
    return judge_circuit(case, found.settings.thresholds, only=asked)


def _rank(found: Found, verdict: Verdict) -> tuple[int, int, int]:
    """Return how little a circuit is wanted."""
    judged = [check.outcome for check in verdict.checks if check.is_judged]
    return judged.count(REFUTED), -judged.count(SUPPORTED), found.circuit.n_edges


def _reasons(tried: list[tuple[Found, Verdict]], best: int) -> tuple[str, ...]:
    """Return what became of each start, and what the one that was taken still lacks."""
    said = []
    for number, (found, _) in enumerate(tried):
        begin = f"From {found.settings.n_edges} edges: " if len(tried) > 1 else ""
        end = " Taken." if len(tried) > 1 and number == best else ""
        said += [f"{begin}{reason}{end}" for reason in found.reasons]
    lacking = [c for c in tried[best][1].checks if c.is_judged and c.outcome != SUPPORTED]
    if lacking:
        names = " and ".join(check.criterion for check in lacking)
        said.append(
            f"On discovery pairs already, {names} {'is' if len(lacking) == 1 else 'are'} not met."
        )
    return tuple(said)
