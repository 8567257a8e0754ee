"""Slopes of a circuit's edges beside their exact effects: times, and whether ranks agree.

    python benchmarks/circuit_slopes.py [TASK ...] [--model MODEL] [--edges 200 50]

For circuits of the best edges by EAP-IG under mean ablation, on 32 pairs and one thread, in one
process: seconds of one gradient, seconds of running the circuit without each edge, their ratio, and
Spearman's correlation of the magnitudes.
"""

import time
from typing import Annotated

import numpy as np
import torch
import typer
from scipy.stats import spearmanr

from circuitkit.gradients.circuit_slopes import edge_slopes
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.work import Work
from circuitkit.study.search import best_edges, connected, discover
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Request, subject_of

N_PAIRS = 32


def main(
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks.")] = None,
    model: Annotated[str, typer.Option("--model", help="The model.")] = "pico",
    edges: Annotated[list[int] | None, typer.Option("--edges", help="Edges.")] = None,
) -> None:
    """Print a row for each task and size."""
    torch.set_num_threads(1)
    for task in tasks or ["ioi", "induction", "factual-recall"]:
        subject = subject_of(Request(task, model=model))
        settings = Settings(method="eap-ig", scoring_ablation="mean")
        scores = discover(subject, settings)
        pairs = subject.splits.discovery.select(range(N_PAIRS))
        ablation, metric = subject.ablations["mean"], subject.metric
        for n in edges or [200, 50]:
            circuit = connected(best_edges(scores, n, settings))
            begun = time.perf_counter()
            [found] = edge_slopes(subject.model, pairs, [circuit], metric, Work(ablation))
            by_slope = time.perf_counter() - begun
            begun = time.perf_counter()
            tried = [circuit, *(circuit.without_edges([edge]) for edge in circuit.edges)]
            values = evaluate_circuits(
                subject.model, pairs, tried, ablation=ablation, metric=metric
            ).mean(1)
            exactly = time.perf_counter() - begun
            slopes = found[circuit.edge_mask[tuple(circuit.graph.edge_index.T)]]
            agree = spearmanr(
                slopes.abs().numpy(), np.abs((values[0] - values[1:]).numpy())
            ).statistic
            print(
                f"{task:30} {circuit.n_edges:4} edges: slopes {by_slope:.2f} s, exact "
                f"{exactly:.2f} s, ratio {exactly / by_slope:.0f}, rank correlation {agree:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    typer.run(main)
