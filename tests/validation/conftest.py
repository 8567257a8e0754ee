"""A circuit of the toy on trial, for every criterion."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.selection import prune_dead_ends, select_top
from circuitkit.discovery import eap
from circuitkit.interventions.ablation import MeanAblation, ResampleAblation, ZeroAblation
from circuitkit.metrics import LogitDifference
from circuitkit.model.recording import record
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.validation.case import Case, HeldOut
from circuitkit.zoo import load_model
from tests.conftest import random_pairs, save_toy

METRIC = LogitDifference()
N_EDGES = 16
USED = ("model", "metric", "validation", "discovery", "ablations", "ablation", "seed", "find")


def doable_pairs(model, n, seed):
    """Return pairs that the model can do: the answer is its own, the wrong one gains by corruption.

    An odd seed gives prompts of other lengths than an even one does.
    """
    raw = random_pairs(n, seed=seed, lengths=(6, 8) if seed % 2 else (7, 9))
    pairs = tokenize_pairs(raw)
    clean = record(model, pairs.clean_batch)[1]
    change = clean - record(model, pairs.corrupted_batch)[1]
    return tokenize_pairs(
        [
            PromptPair(p.clean, p.corrupted, [int(top)], [int(row.argmin())], p.roles, p.template)
            for p, row, top in zip(raw, change, clean.argmax(-1), strict=True)
        ]
    )


def ablations(reference):
    return {a.name: a for a in (MeanAblation(reference), ZeroAblation(), ResampleAblation())}


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A random model in float64 with few edges, so that much can be asked of each."""
    directory = save_toy(tmp_path_factory.mktemp("small"), 1, n_layers=2, n_heads=3)
    return load_model(directory, dtype=torch.float64)


@pytest.fixture(scope="session")
def new_case(small):
    """Return a new case, with what is to be other than usual."""
    discovery, validation = doable_pairs(small, 7, 2), doable_pairs(small, 17, 4)
    scores = eap.score_edges(small, discovery, METRIC)
    reference = ablations(tokenize_pairs(random_pairs(12, seed=6)))
    elsewhere = {
        kind: HeldOut(
            doable_pairs(small, 16, seed),
            ablations(tokenize_pairs(random_pairs(8, seed=7, lengths=(6, 8)))),
        )
        for kind, seed in (("wordings", 9), ("answers", 11))
    }

    known = {}

    def find(pairs, seed):
        if pairs.digest not in known:
            scored = eap.score_edges(small, pairs, METRIC)
            known[pairs.digest] = prune_dead_ends(select_top(scored, N_EDGES))
        return known[pairs.digest]

    def made(**changes):
        usual = Case(
            model=small,
            circuit=prune_dead_ends(select_top(scores, N_EDGES)),
            metric=METRIC,
            validation=validation,
            discovery=discovery,
            ablations=reference,
            ablation="resample",
            seed=3,
            find=find,
            select=lambda n: select_top(scores, n),
            held_out=elsewhere,
        )
        return replace(usual, **changes)

    return made


@pytest.fixture(scope="session")
def case(new_case):
    """The usual case. What it has computed is kept for all tests."""
    return new_case()


@dataclass(frozen=True, eq=False)
class Told(Case):
    """A case in which `tell(circuit, choosing, ablation)` says what the metric of each pair is.

    `made` is what is made once, by name.
    """

    tell: Callable | None = None
    made: dict = field(default_factory=dict)

    def once(self, name, make, *given):
        return self.made[name] if name in self.made else super().once(name, make, *given)

    def values(self, circuits, *, choosing=False, ablation="", metric=None):
        rows = [self.tell(c, choosing, ablation or self.ablation) for c in circuits]
        return np.array(rows, dtype=np.float64)


@pytest.fixture(scope="session")
def told(case):
    """Return a case of a circuit, in which a function says what every circuit does."""

    def made(tell, circuit=None, **changes):
        given = {name: getattr(case, name) for name in USED} | changes
        return Told(**given, circuit=circuit or case.circuit, tell=tell)

    return made


@pytest.fixture(scope="session")
def random_circuit(small):
    def made(share, seed):
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.rand(small.graph.edge_mask.shape, generator=generator) < share
        return Circuit.full(small.graph).with_edges(chosen & small.graph.edge_mask)

    return made
