"""What the default of `circuitkit run` finds where the truth is known, and whether its word holds.

    python benchmarks/default_run.py --seeds 1 2 3          planted models, by family and difficulty
    python benchmarks/default_run.py --pico --seeds 1 2 3   pico's tasks, on many fresh pairs

Planted: the verdict, and which share of the true edges is in the circuit (recall) and of its edges
is true (precision). Pico: the circuit is found and judged on 100 + 200 pairs, then its faithfulness
is measured on `--fresh` pairs that nothing else has seen. If the freedom of choice leaked into the
verdict, the claimed interval would lie above that number more often than 2.5 % of the time.
"""

import argparse
import time
from collections import Counter

from circuitkit.circuits.circuit import Circuit
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.study.cases import judge
from circuitkit.study.choices import find_by_default
from circuitkit.study.search import Found
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Request, Subject, subject_of
from circuitkit.validation.verdict import SUPPORTED, Verdict
from circuitkit.zoo.planted import BLUEPRINTS, DIFFICULTIES, planted

BUDGET = 3600.0  # seconds: what is chosen must not depend on this machine
JUDGED = ("faithfulness", "edge-share", "completeness", "minimality", "hold-out", "equivalence")
PICO = ("ioi", "induction", "factual-recall")


def run(request: Request, ablation: str) -> tuple[Subject, Found, Verdict]:
    """Return what the default finds, and the verdict on it."""
    subject = subject_of(request)
    settings = Settings.by_default(
        ablation, seed=request.seed, budget=BUDGET, criteria=JUDGED, anyway=True
    )
    found = find_by_default(subject, settings)
    return subject, found, judge(subject, found.circuit, found.settings)


def on_planted(seeds: list[int], ablation: str) -> None:
    """Print a row for each planted model, and how many verdicts there were of each kind."""
    outcomes: Counter[str] = Counter()
    for base in BLUEPRINTS:
        for difficulty in DIFFICULTIES:
            for seed in seeds:
                name = f"{base}:{difficulty}:{seed}"
                begun = time.process_time()
                instance = planted(name)
                request = Request(base, model=name, n=100, n_validation=200, seed=seed)
                subject, found, verdict = run(request, ablation)
                true = set(instance.truth(subject.model).edges)
                kept = set(found.circuit.edges)
                outcomes[verdict.outcome] += 1
                open_ = [c for c in verdict.checks if c.is_judged and c.outcome != SUPPORTED]
                recall, precision = (len(kept & true) / len(of) for of in (true, kept))
                print(
                    f"{name:40} {verdict.outcome:10} {len(kept):3} edges, recall {recall:.2f}, "
                    f"precision {precision:.2f}, {time.process_time() - begun:.0f} s",
                    *(check.criterion for check in open_),
                    flush=True,
                )
    print(dict(outcomes))


def on_pico(seeds: list[int], n_fresh: int) -> None:
    """Print what is claimed of each circuit, and what many fresh pairs say."""
    above = below = 0
    for task in PICO:
        for seed in seeds:
            begun = time.process_time()
            subject, found, verdict = run(Request(task, n=100, n_validation=200, seed=seed), "mean")
            fresh = subject_of(Request(task, n=16, n_validation=n_fresh, seed=seed + 10_000))
            graph = subject.model.graph
            full, empty, kept = evaluate_circuits(
                subject.model,
                fresh.splits.validation,
                [Circuit.full(graph), Circuit.empty(graph), found.circuit],
                ablation=subject.ablations["mean"],
                metric=subject.metric,
            ).mean(1)
            truth = float((kept - empty) / (full - empty))
            claim = verdict.check("faithfulness").value
            assert claim is not None
            above += claim.low > truth
            below += claim.high < truth
            print(
                f"{task:15} seed {seed} {verdict.outcome:10} {found.circuit.n_edges:3} edges, "
                f"claimed {claim}, on {n_fresh} fresh pairs {truth:.3f}, "
                f"{time.process_time() - begun:.0f} s",
                flush=True,
            )
    print(f"of {len(PICO) * len(seeds)} intervals {above} lie above the truth, {below} below")


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--ablation", default="resample")
    parser.add_argument("--pico", action="store_true")
    parser.add_argument("--fresh", type=int, default=1000)
    asked = parser.parse_args()
    if asked.pico:
        on_pico(asked.seeds, asked.fresh)
    else:
        on_planted(asked.seeds, asked.ablation)


if __name__ == "__main__":
    main()
