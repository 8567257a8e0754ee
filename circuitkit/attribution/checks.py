"""Predicted against measured effects of drawn edges, and controls that any dictionary can pass.

an edge holds    the measured effect has the sign of the predicted one, and half of its size
                 at least
skips MLPs       what the feature writes to its own MLP's output moves the target, with MLPs
                 held, by less than half of what is predicted
controls         decoders dealt out anew among a layer's features; random directions of the
                 same sizes, and as many active features at each layer and position
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from circuitkit.attribution.attribute import DEFAULT_SETTINGS, GraphSettings, attribute
from circuitkit.attribution.graph import AttributionGraph
from circuitkit.attribution.interventions import ITERATIVE, LIVE, MODES, OWN_WRITE, intervene
from circuitkit.attribution.transcoders import Transcoder, Transcoders
from circuitkit.errors import CriterionError
from circuitkit.statistics.bootstrap import MIN_PAIRS, Estimate
from circuitkit.statistics.correlation import rank_correlation
from circuitkit.statistics.shares import share_of

LEAST_SIZE = 0.5  # of the predicted effect
SOURCES = 32  # features that are changed, those of most influence
RESAMPLES = 999
DUST = 1e-9  # relative: effects that are rounding


@dataclass(frozen=True)
class ModeCheck:
    """How measured effects agree with predicted ones: rank correlation, share that holds."""

    mode: str
    measured: Float[Tensor, " edge"]
    rank_correlation: Estimate
    holding: Estimate


@dataclass(frozen=True)
class EdgeChecks:
    """Every drawn edge that begins at a changed feature: predicted, and measured in each mode.

    `edges` are numbers of nodes, [source, target]; the feature is taken away.
    """

    edges: tuple[tuple[int, int], ...]
    predicted: Float[Tensor, " edge"]
    modes: tuple[ModeCheck, ...]

    def of(self, mode: str) -> ModeCheck:
        """Return what one mode found."""
        return next(each for each in self.modes if each.mode == mode)

    @property
    def skipping(self) -> tuple[tuple[int, int], ...]:
        """The edges that skip MLPs: the feature's own write does not carry half of them."""
        kept = _holds(self.predicted, self.of(OWN_WRITE).measured)
        return tuple(edge for edge, one in zip(self.edges, kept, strict=True) if not one)

    def __repr__(self) -> str:
        return f"EdgeChecks({len(self.edges)} edges, {len(self.skipping)} skip MLPs)"

    def summary(self) -> str:
        """Return in a sentence what the real model says of the drawn edges."""
        live, patterns = self.of(LIVE), self.of(ITERATIVE)
        skip = len(self.skipping)
        text = (
            f"Of {len(self.edges)} drawn edges {_percent(live.holding)} hold in the real model "
            f"(sign, and half of the size at least), {_percent(patterns.holding)} with patterns "
            f"held; rank correlation {live.rank_correlation} live."
        )
        if skip:
            text += (
                f" {skip} edges are no single hop: with the MLPs between held, what the feature "
                "itself writes does not carry them. Later MLPs compute what the dictionary says "
                "it writes there."
            )
        return text


def check_edges(graph: AttributionGraph, *, sources: int = SOURCES, seed: int = 0) -> EdgeChecks:
    """Take drawn features away in the real model, one at a time, and compare with their edges.

    `sources`: how many features, those of most influence.

    Raises:
        CriterionError: too few drawn edges begin at features.
    """
    drawn, n = graph.pruned(), graph.sizes.features
    order = graph.influence[:n].argsort(descending=True, stable=True).tolist()
    chosen = [i for i in order if bool(drawn.nodes[i]) and bool(drawn.edges[:, i].any())][:sources]
    n_inner = graph.sizes.sources
    edges = [(s, t) for s in chosen for t in drawn.edges[:, s].nonzero()[:, 0].tolist()]
    if len(edges) < MIN_PAIRS:
        raise CriterionError(
            f"attribution: at least {MIN_PAIRS} drawn edges must begin at features, got "
            f"{len(edges)}. Agreement cannot be seen in fewer. Draw more of the graph."
        )
    predicted = -graph.matrix()[[t for _, t in edges], [s for s, _ in edges]]
    place = [(chosen.index(s), t if t < n else n + t - n_inner) for s, t in edges]
    rows, columns = map(list, zip(*place, strict=True))
    modes = []
    for mode in MODES:
        measured = intervene(graph, chosen, 0.0, mode).joined()[rows, columns]
        modes.append(_check(mode, predicted, measured, rows, seed))
    return EdgeChecks(tuple(edges), predicted, tuple(modes))


def _check(
    mode: str, predicted: Tensor, measured: Tensor, clusters: Sequence[int], seed: int
) -> ModeCheck:
    hits = _holds(predicted, measured).double().cpu().numpy()
    groups = np.asarray(clusters)
    several = len(set(clusters)) >= MIN_PAIRS
    rank = _rank_correlation(predicted, measured, groups if several else None, seed)
    return ModeCheck(mode, measured, rank, share_of(hits, groups if several else None))


def _holds(predicted: Tensor, measured: Tensor) -> Tensor:
    return measured * predicted.sign() >= LEAST_SIZE * predicted.abs()


def _rank_correlation(
    predicted: Tensor, measured: Tensor, clusters: NDArray[np.int_] | None, seed: int
) -> Estimate:
    """Return Spearman's correlation with an interval over resampled sources."""
    x, y = (each.double().cpu().numpy() for each in (predicted, measured))
    y = np.where(np.abs(y) < DUST * np.abs(x).max(), 0.0, y)
    groups = np.arange(len(x)) if clusters is None else clusters
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES):
        taken = generator.integers(len(members), size=len(members))
        some = np.concatenate([members[i] for i in taken])
        found.append(float(rank_correlation(x[some], y[some])))
    low, high = np.quantile(found, [0.025, 0.975])
    return Estimate(float(rank_correlation(x, y)), float(low), float(high), len(members))


def _percent(share: Estimate) -> str:
    return f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]"


def control_graphs(
    graph: AttributionGraph, settings: GraphSettings = DEFAULT_SETTINGS, *, seed: int = 0
) -> dict[str, AttributionGraph]:
    """Return the graphs of two dictionaries that know nothing: permuted, and random directions.

    What the real dictionary scores means something only above them.
    """
    run = graph.run
    generator = torch.Generator().manual_seed(seed)
    permuted = _each(run.transcoders, lambda i, one: _permuted(one, generator))
    actives = [int((each.values != 0).sum()) for each in run.layers]
    rows = max(run.n_pos - run.first, 1)
    directions = _each(
        run.transcoders,
        lambda i, one: _random(one, max(round(actives[i] / rows), 1), generator),
    )
    tokens = run.tokens.tolist()
    return {
        "permuted": attribute(
            run.model, tokens, permuted, settings, targets=lambda _: graph.logits
        ),
        "random": attribute(
            run.model, tokens, directions, settings, targets=lambda _: graph.logits
        ),
    }


def _each(
    transcoders: Transcoders, function: Callable[[int, Transcoder], Transcoder]
) -> Transcoders:
    layers = tuple(function(i, one) for i, one in enumerate(transcoders.layers))
    return replace(transcoders, layers=layers)


def _permuted(one: Transcoder, generator: torch.Generator) -> Transcoder:
    order = torch.randperm(one.n_features, generator=generator).to(one.decoder.device)
    return replace(one, decoder=one.decoder[order])


def _random(one: Transcoder, k: int, generator: torch.Generator) -> Transcoder:
    """Return random directions of the same sizes, `k` active at each position."""

    def turned(x: Tensor) -> Tensor:
        drawn = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
        sizes: Tensor = x.norm(dim=-1, keepdim=True) / drawn.norm(dim=-1, keepdim=True)
        return drawn * sizes

    encoder, decoder = turned(one.encoder), turned(one.decoder)
    return replace(one, encoder=encoder, decoder=decoder, threshold=None, k=k)
