"""What any method must beat: scores drawn at random, and scores by how much is written.

    random[s, r]     uniform from -1 to 1, drawn by `Work.seed`; the sign means nothing
    magnitude[s, r]  mean over pairs of  || clean - ablated write of s ||, over all places

Magnitude knows neither the receiver nor the metric: it says who is active, not who matters. Cost:
nothing for random, two forward passes for magnitude.
"""

import random
from dataclasses import dataclass

import torch

from circuitkit.circuits.graph import EdgeScores
from circuitkit.discovery.method import Method
from circuitkit.glossary import METHODS
from circuitkit.interventions.budget import pairs_per_batch
from circuitkit.interventions.pair_runs import PairRuns
from circuitkit.interventions.work import Work
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.model.recording import counted_from, record_run, sender_outputs
from circuitkit.prompts.pairs import PromptPairs


@dataclass(frozen=True)
class RandomScores(Method):
    """Random scores: the control of every comparison."""

    name = "random"
    summary = METHODS["random"]
    uses_ablation = False

    def require_usable(self, model: SubjectModel, metric: Metric, work: Work) -> None:
        return

    def score_edges(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> EdgeScores:
        rng = random.Random(work.seed)
        drawn = [rng.uniform(-1, 1) for _ in range(model.graph.n_edges)]
        return EdgeScores.of_edges(model.graph, torch.tensor(drawn, dtype=torch.float64))


@dataclass(frozen=True)
class Magnitude(Method):
    """The size of what a sender writes differently, whoever reads it; in the residual's unit."""

    name = "magnitude"
    summary = METHODS["magnitude"]
    is_signed = False

    def require_usable(self, model: SubjectModel, metric: Metric, work: Work) -> None:
        return

    def score_edges(
        self, model: SubjectModel, pairs: PromptPairs, metric: Metric, work: Work
    ) -> EdgeScores:
        size = work.batch_size or pairs_per_batch(model, pairs, work.memory)
        total = torch.zeros(len(model.graph.senders), dtype=torch.float64)
        work.progress(0, len(pairs))
        for start in range(0, len(pairs), size):
            part = pairs.select(range(start, min(start + size, len(pairs))))
            with counted_from(start):
                runs = PairRuns(model, part, work.ablation, metric)
                clean = record_run(model, runs.clean)[0]  # the last MLP at all places, too
                shared = runs.clean if runs.clean.start else None
                ablated = work.ablation.values(model, part, shared)
                change = sender_outputs(model, clean.minus(ablated))
            real = runs.clean.mask.flatten().unsqueeze(-1)
            squares = (change * real).double().unflatten(1, (len(part), -1)).pow(2).sum((2, 3))
            total += squares.sqrt().sum(1).cpu()
            work.progress(start + len(part), len(pairs))
        values = (total / len(pairs)).unsqueeze(1) * model.graph.edge_mask
        return EdgeScores(model.graph, values)
