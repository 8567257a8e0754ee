"""Influence on the logits, pruning, and two scores of a graph.

    A_hat        =  |A|, each row over its sum
    influence I  =  p A_hat + p A_hat^2 + ...                              p: weight of each logit
    of an edge   =  A_hat[t, s] (I_t + p_t)
    replacement  =  I of tokens / (I of tokens + I of errors)
    completeness =  mean over nodes, by I + p, of the share of a row that is not of errors

The definitions are those of Ameisen et al. 2025 as their published code has them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LEAST = 1e-10  # of a row's sum
NODE_SHARE, EDGE_SHARE = 0.8, 0.98


@dataclass(frozen=True)
class Sizes:
    """How many nodes of each kind a matrix has, in this order."""

    features: int
    errors: int
    tokens: int
    constants: int  # 1 where the constant is a node, else 0
    logits: int

    @property
    def total(self) -> int:
        """How many nodes there are."""
        return self.sources + self.logits

    @property
    def sources(self) -> int:
        """How many nodes edges may begin at."""
        return self.features + self.errors + self.tokens + self.constants

    @property
    def error_slice(self) -> slice:
        """Where the errors are."""
        return slice(self.features, self.features + self.errors)

    @property
    def token_slice(self) -> slice:
        """Where the tokens are."""
        return slice(self.error_slice.stop, self.error_slice.stop + self.tokens)


@dataclass(frozen=True)
class Pruned:
    """What is drawn: which nodes and which edges, and how early each node is kept."""

    nodes: Bool[Tensor, " node"]
    edges: Bool[Tensor, "target source"]
    cumulative: Float[Tensor, " node"]


def normalised(matrix: Float[Tensor, "target source"]) -> Float[Tensor, "target source"]:
    """Return |A| with each row over its sum."""
    sizes = matrix.abs()
    return sizes / sizes.sum(1, keepdim=True).clamp(min=LEAST)


def node_influence(
    hat: Float[Tensor, "node node"], weights: Float[Tensor, " node"]
) -> Float[Tensor, " node"]:
    """Return I of every node, given the normalised matrix and p at the logits."""
    step = weights @ hat
    total = step.clone()
    for _ in range(len(hat)):  # no path of a graph without cycles is longer
        step = step @ hat
        if not bool(step.any()):
            break
        total += step
    return total


def edge_influence(
    matrix: Float[Tensor, "node node"], weights: Float[Tensor, " node"]
) -> Float[Tensor, "node node"]:
    """Return the influence of every edge."""
    hat = normalised(matrix)
    return hat * (node_influence(hat, weights) + weights).unsqueeze(1)


def partial_influence(
    rows: Float[Tensor, "row source"], at: Tensor, weights: Float[Tensor, " row"]
) -> Float[Tensor, " source"]:
    """Return I while only some rows are known: `at` is the column of each, -1 of a logit."""
    hat = normalised(rows)
    flow = weights @ hat
    total = flow.clone()
    inner = at >= 0
    for _ in range(len(rows)):
        flow = flow[at[inner]] @ hat[inner]
        if not bool(flow.any()):
            break
        total += flow
    return total


def prune(
    matrix: Float[Tensor, "node node"],
    weights: Float[Tensor, " node"],
    sizes: Sizes,
    *,
    nodes: float = NODE_SHARE,
    edges: float = EDGE_SHARE,
) -> Pruned:
    """Return the nodes and edges that carry these shares of the influence.

    The node that crosses the share is kept. Tokens and logits stay; features and errors without a
    way to a logit go, and features that nothing drawn writes to.
    """
    influence = node_influence(normalised(matrix), weights)
    kept = influence >= _least_kept(influence, nodes)
    always = slice(sizes.token_slice.start, None)
    kept[always] = True
    cut = matrix * kept.unsqueeze(1) * kept
    scores = edge_influence(cut, weights)
    drawn = scores >= _least_kept(scores.flatten(), edges)
    _drop_dangling(kept, drawn, sizes)
    order = influence.argsort(descending=True, stable=True)
    cumulative = torch.empty_like(influence)
    cumulative[order] = influence[order].cumsum(0) / influence.sum().clamp(min=LEAST)
    return Pruned(kept, drawn, cumulative)


def scores_of(
    matrix: Float[Tensor, "node node"], weights: Float[Tensor, " node"], sizes: Sizes
) -> tuple[float, float]:
    """Return the replacement and the completeness score."""
    hat = normalised(matrix)
    influence = node_influence(hat, weights)
    tokens, errors = (
        float(influence[part].sum()) for part in (sizes.token_slice, sizes.error_slice)
    )
    heard = 1 - hat[:, sizes.error_slice].sum(1)
    share = influence + weights
    replacement = tokens / (tokens + errors) if tokens + errors else 0.0
    return replacement, float((heard * share).sum() / share.sum())


def _least_kept(scores: Float[Tensor, " some"], share: float) -> Tensor:
    """Return the score of the one that crosses a share of their sum, largest first."""
    ordered = scores.sort(descending=True).values
    reached = ordered.cumsum(0) / ordered.sum()
    crossing = int((reached < share).sum())
    return ordered[min(crossing, len(ordered) - 1)]


def _drop_dangling(kept: Tensor, drawn: Tensor, sizes: Sizes) -> None:
    inner = slice(0, sizes.token_slice.start)
    features = slice(0, sizes.features)
    while True:
        before = kept.clone()
        drawn[~kept] = False
        drawn[:, ~kept] = False
        kept[inner] &= drawn[:, inner].any(0)
        kept[features] &= drawn[features].any(1)
        if bool((kept == before).all()):
            return
