"""The mean gain of many circuits on the same pairs, from a layer on where less need not be run."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.interventions.budget import circuits_per_batch
from circuitkit.interventions.run_circuit import CircuitRunner
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.model.recording import counted_from
from circuitkit.prompts.pairs import PromptPairs


class RepeatedCircuits:
    """Pairs on which circuits are run again and again; what runs have in common is kept.

    `n_pairs` and `n_circuits` are how many of each run at once.

    Raises:
        PromptError: the metric needs labels that the pairs lack.
        MemoryBudgetError: not even one circuit on one pair fits.
    """

    def __init__(
        self,
        model: SubjectModel,
        pairs: PromptPairs,
        metric: Metric,
        work: Work,
        *,
        n_pairs: int,
        n_circuits: int,
    ) -> None:
        metric.check(pairs.labels)
        self.metric, self.total, self.n_circuits = metric, len(pairs), n_circuits
        self.runners = []
        self.labels = []
        for start in range(0, len(pairs), n_pairs):
            part = pairs.select(range(start, min(start + n_pairs, len(pairs))))
            with counted_from(start):
                runner = CircuitRunner(model, part, work.ablation)
                self.labels.append(runner.labels(metric).to(model.device))
            self.runners.append(runner)

    def gains(
        self, edge_masks: Bool[Tensor, "circuit sender receiver"], first: int = 0
    ) -> Float[Tensor, " circuit"]:
        """Return the mean gain of each circuit, float64 on the CPU.

        `first`: every receiver in front of this layer keeps all its edges, so that runs begin there
        (the number of layers: only the logits lack some).
        """
        totals = torch.zeros(len(edge_masks), dtype=torch.float64)
        for start in range(0, len(edge_masks), self.n_circuits):
            chunk = edge_masks[start : start + self.n_circuits]
            for runner, labels in zip(self.runners, self.labels, strict=True):
                logits = runner.logits(chunk, first)
                gain = self.metric.gain(logits.flatten(0, 1), labels.repeated(len(chunk)))
                rows = gain.double().cpu().reshape(len(chunk), -1)
                totals[start : start + len(chunk)] += rows.sum(1)
        return totals / self.total


def repeated_plan(model: SubjectModel, pairs: PromptPairs, most: int, work: Work) -> dict[str, int]:
    """Return how many pairs and circuits fit at once, as RepeatedCircuits takes them.

    Raises:
        MemoryBudgetError: not even one circuit on one pair fits.
    """
    n_circuits, n_pairs = circuits_per_batch(model, pairs, most, work.memory)
    return {"n_pairs": min(n_pairs, work.batch_size or n_pairs), "n_circuits": n_circuits}
