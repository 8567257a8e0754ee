"""An attribution graph: edges between features at positions, errors, tokens and logits."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.attribution.backward import Active
from circuitkit.attribution.influence import (
    EDGE_SHARE,
    NODE_SHARE,
    Pruned,
    Sizes,
    node_influence,
    normalised,
    prune,
    scores_of,
)
from circuitkit.attribution.recorded import RecordedPrompt
from circuitkit.attribution.targets import LogitTargets

FEATURE, ERROR, TOKEN, CONSTANT, LOGIT = "feature", "error", "token", "constant", "logit"


@dataclass(frozen=True)
class GraphNode:
    """One node: what it is, in which layer and at which position; a feature or token by number."""

    kind: str
    layer: int  # -1 of tokens and the constant; the number of layers of logits
    pos: int  # -1 of the constant
    number: int = -1
    label: str = ""

    @property
    def name(self) -> str:
        """A short name: `L3.p5.f17`, `error.L3.p5`, `token.p5`, `constant`, `logit.42`."""
        if self.kind == FEATURE:
            return f"L{self.layer}.p{self.pos}.f{self.number}"
        if self.kind == ERROR:
            return f"error.L{self.layer}.p{self.pos}"
        if self.kind == TOKEN:
            return f"token.p{self.pos}"
        return CONSTANT if self.kind == CONSTANT else f"logit.{self.label or self.number}"


@dataclass(frozen=True)
class AttributionGraph:
    """The edges into chosen features and logits of one prompt.

    `rows[t, s]` is what source s adds to target t: to a feature's pre-activation less its bias, to
    a centred logit. Targets are the chosen features, then the logits; sources the chosen features,
    errors layer by layer, tokens, and the constant: positions and biases, and MLPs where positions
    are left out. With every active feature chosen a row sums to what its target reads. In
    `matrix()` the constant is a node only `with_constant`; without it the matrix is the field's.
    """

    run: RecordedPrompt
    active: Active
    chosen: Int[Tensor, " feature"]  # which of the active features
    logits: LogitTargets
    rows: Float[Tensor, "target source"]
    with_constant: bool = False

    def __repr__(self) -> str:
        sizes = self.sizes
        return (
            f"AttributionGraph({self.run.n_pos} tokens, {sizes.features} of {len(self.active)} "
            f"active features, {sizes.logits} logits, replacement {self.replacement_score:.3g}, "
            f"completeness {self.completeness_score:.3g})"
        )

    @property
    def sizes(self) -> Sizes:
        """How many nodes of each kind there are."""
        n_pos, n_layers = self.run.n_pos, len(self.run.layers)
        constant = int(self.with_constant)
        return Sizes(len(self.chosen), n_layers * n_pos, n_pos, constant, len(self.logits))

    @cached_property
    def nodes(self) -> tuple[GraphNode, ...]:
        """Every node, in the order of the matrix."""
        return tuple(self._nodes())

    def matrix(self) -> Float[Tensor, "node node"]:
        """Return edges as [target, source]; rows of errors, tokens and the constant are zero."""
        sizes = self.sizes
        out = self.rows.new_zeros(sizes.total, sizes.total)
        out[: sizes.features, : sizes.sources] = self.rows[: sizes.features, : sizes.sources]
        out[sizes.sources :, : sizes.sources] = self.rows[sizes.features :, : sizes.sources]
        return out

    @property
    def constants(self) -> Float[Tensor, " target"]:
        """What positions, biases and what is left out add to each target."""
        return self.rows[:, -1]

    @cached_property
    def weights(self) -> Float[Tensor, " node"]:
        """How much each node counts by itself: the probability of a logit, else zero."""
        out = self.rows.new_zeros(self.sizes.total)
        out[self.sizes.sources :] = self.logits.weights
        return out

    @cached_property
    def influence(self) -> Float[Tensor, " node"]:
        """The influence of every node on the logits, over all paths."""
        return node_influence(normalised(self.matrix()), self.weights)

    @cached_property
    def _scores(self) -> tuple[float, float]:
        return scores_of(self.matrix(), self.weights, self.sizes)

    @property
    def replacement_score(self) -> float:
        """The share of influence that begins at tokens and not at errors."""
        return self._scores[0]

    @property
    def completeness_score(self) -> float:
        """The share of what nodes read, by their influence, that errors do not write."""
        return self._scores[1]

    def pruned(self, *, nodes: float = NODE_SHARE, edges: float = EDGE_SHARE) -> Pruned:
        """Return what is drawn: the nodes and edges that carry these shares of the influence."""
        return prune(self.matrix(), self.weights, self.sizes, nodes=nodes, edges=edges)

    def top(self, n: int = 10) -> tuple[tuple[GraphNode, float], ...]:
        """Return the nodes of most influence, logits left out."""
        order = self.influence[: self.sizes.sources].argsort(descending=True, stable=True)[:n]
        return tuple((self.nodes[i], float(self.influence[i])) for i in order.tolist())

    def summary(self) -> str:
        """Return what the graph explains and what it does not, in one sentence."""
        sizes, errors = self.sizes, self.influence[self.sizes.error_slice].sum()
        share = float(errors / self.influence[: sizes.sources].sum().clamp(min=1e-10))
        return (
            f"{sizes.features} of {len(self.active)} active features stand for the MLPs on "
            f"{self.run.n_pos} tokens: {self.replacement_score:.0%} of the influence that begins "
            f"at tokens or errors begins at tokens (replacement), errors write "
            f"{1 - self.completeness_score:.0%} of what nodes read (completeness "
            f"{self.completeness_score:.2f}), and hold {share:.0%} of all influence."
        )

    def to_networkx(self, *, drawn: Pruned | None = None) -> "nx.DiGraph[str]":
        """Return the graph, or what is drawn of it, with edges from source to target."""
        matrix, graph = self.matrix(), nx.DiGraph()
        edges = matrix != 0 if drawn is None else drawn.edges & (matrix != 0)
        for i, node in enumerate(self.nodes):
            if drawn is None or bool(drawn.nodes[i]):
                about = {n: v for n, v in vars(node).items() if n != "name"}
                graph.add_node(node.name, influence=float(self.influence[i]), **about)
        for target, source in edges.nonzero().tolist():
            ends = self.nodes[source].name, self.nodes[target].name
            graph.add_edge(*ends, weight=float(matrix[target, source]))
        return graph

    def _nodes(self) -> Iterator[GraphNode]:
        run, texts = self.run, self.run.model.token_texts(self.run.tokens.tolist())
        for layer, pos, number in self.active.index[self.chosen].tolist():
            yield GraphNode(FEATURE, layer, pos, number)
        for layer in range(len(run.layers)):
            for pos in range(run.n_pos):
                yield GraphNode(ERROR, layer, pos)
        for pos, token in enumerate(run.tokens.tolist()):
            yield GraphNode(TOKEN, -1, pos, token, texts[pos])
        if self.with_constant:
            yield GraphNode(CONSTANT, -1, -1)
        for token, label in zip(self.logits.tokens, self.logits.labels, strict=True):
            own = "" if token >= 0 else label
            yield GraphNode(LOGIT, len(run.layers), run.n_pos - 1, token, own)


def selected_rows(
    rows: Float[Tensor, "row all"], chosen: Int[Tensor, " feature"], n_active: int
) -> Float[Tensor, "row source"]:
    """Return rows without the columns of features that are not chosen."""
    if len(chosen) == n_active:
        return rows
    return torch.cat([rows[:, chosen], rows[:, n_active:]], 1)
