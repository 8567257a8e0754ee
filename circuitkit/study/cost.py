"""What a model is and what work on it will take, from a calibration of a few pairs on its device.

EAP is timed as it is. Exact effects and ACDC are reckoned from one forward pass, as upper bounds:
they batch better than that, and ACDC stops early where it can.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from circuitkit.discovery.methods import method_named
from circuitkit.discovery.time_estimate import seconds_per_pass
from circuitkit.errors import MethodError
from circuitkit.interventions.budget import bytes_per_pair
from circuitkit.interventions.work import Work
from circuitkit.metrics import LogitDifference, Metric
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPair, PromptPairs
from circuitkit.prompts.tokenization import tokenize_pairs

TIMED = ("eap", "exact", "acdc")
MOST_PAIRS = 32  # of a calibration; fewer where one run of them takes longer than
CALIBRATION = 0.2  # seconds


@dataclass(frozen=True)
class Cost:
    """What a model is, and what each method takes on `n_pairs` pairs of `n_tokens` tokens.

    `seconds` of a method is absent where it cannot work on the model or the metric.
    """

    model: str
    digest: str
    family: str
    n_parameters: int
    n_layers: int
    n_heads: int
    d_model: int
    n_edges: int
    n_components: int
    n_ctx: int
    dtype: str
    device: str
    weight_bytes: int
    pair_bytes: int
    n_tokens: int
    n_pairs: int
    run_seconds: float  # of one forward pass of all pairs
    seconds: Mapping[str, float]


def random_pairs(model: SubjectModel, n_tokens: int, n: int = MOST_PAIRS) -> PromptPairs:
    """Return pairs of random tokens, for models of which no task is known.

    Raises:
        PromptError: the model has no positions for so many tokens.
    """
    generator = torch.Generator().manual_seed(0)
    vocab = len(model.token_embeddings)
    rows = torch.randint(0, vocab, (2, n, n_tokens), generator=generator).tolist()
    pairs = [PromptPair(a, b, [0], [1]) for a, b in zip(*rows, strict=True)]
    found = tokenize_pairs(pairs)
    model.require_length(found.clean_batch)
    return found


def cost_of(
    model: SubjectModel,
    pairs: PromptPairs,
    metric: Metric | None = None,
    *,
    n_pairs: int,
    methods: tuple[str, ...] = TIMED,
) -> Cost:
    """Return what work on `n_pairs` pairs like these will take, measured now on a few of them.

    Raises:
        MemoryBudgetError: not even one pair fits.
    """
    graph, own = model.graph, model.bridge.original_model
    weights = {p.data_ptr(): p for p in own.parameters()}.values()  # tied ones once
    one = seconds_per_pass(model, pairs.select([0]))
    few = pairs.select(range(max(1, min(MOST_PAIRS, len(pairs), int(CALIBRATION / one)))))
    times = n_pairs / len(few)
    found = {name: _seconds(name, model, few, metric or LogitDifference()) for name in methods}
    config = getattr(own, "config", None)
    return Cost(
        model=model.name,
        digest=model.digest,
        family=str(getattr(config, "model_type", "")) or "own",
        n_parameters=sum(p.numel() for p in weights),
        n_layers=graph.n_layers,
        n_heads=graph.n_heads,
        d_model=graph.d_model,
        n_edges=graph.n_edges,
        n_components=len(graph.senders),
        n_ctx=model.n_ctx,
        dtype=str(model.dtype).removeprefix("torch."),
        device=str(model.device),
        weight_bytes=sum(p.numel() * p.element_size() for p in weights),
        pair_bytes=bytes_per_pair(model, pairs.clean.shape[1]),
        n_tokens=pairs.clean.shape[1],
        n_pairs=n_pairs,
        run_seconds=n_pairs * seconds_per_pass(model, few),
        seconds={name: each * times for name, each in found.items() if each is not None},
    )


def _seconds(name: str, model: SubjectModel, few: PromptPairs, metric: Metric) -> float | None:
    """Return what a method takes on a few pairs; None where it cannot work on them."""
    method, work = method_named(name), Work()
    try:
        method.require_usable(model, metric, work)
    except MethodError:
        return None
    estimate = method.estimate(model, few)
    if estimate is not None:
        return estimate.seconds
    method.score_edges(model, few, metric, work)  # the first run is slower
    start = time.perf_counter()
    method.score_edges(model, few, metric, work)
    return time.perf_counter() - start
