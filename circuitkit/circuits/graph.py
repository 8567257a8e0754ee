"""Components and edges: which part of a transformer can send to which.

A *sender* writes to the residual stream: `input` (everything that enters block 0), a head
`a3.h0`, an MLP `m3`. A *receiver* reads it: the query, key or value input of a head
(`a5.h1<q>`), an MLP `m5`, or `logits`. Sender s feeds receiver r if s is written before r reads.
In parallel blocks the MLP of a layer reads what its attention reads, so heads do not feed it.
An attention-only model has no MLPs. A layer that mixes positions without heads (linear attention)
has one *mixer* `r3` in their place: one sender, and one receiver `r3`.

An MLP may be taken apart into *units* (circuits/units.py): neurons `m3.n7` or features `m3.f17` of
a sparse dictionary, `m3.error` which is what the dictionary leaves out, and `m3.rest`, all others
together. They are senders of their own, and receivers of their own where each reads for itself.

Names and edge order are those of the MIB benchmark (Mueller et al. 2025, arXiv:2504.13151):
layer by layer, then by sender, then by head, then q, k, v.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, product

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitkit.circuits.units import Units
from circuitkit.errors import GraphError
from circuitkit.work.notebook import Shown
from circuitkit.work.text import brief

INPUT = "input"
LOGITS = "logits"
READS = ("q", "k", "v")
HEAD = "head"
MIXER = "mixer"
MLP = "mlp"


def head_name(layer: int, head: int) -> str:
    """Return the component name of a head, as `a3.h0`."""
    return f"a{layer}.h{head}"


def mlp_name(layer: int) -> str:
    """Return the component name of an MLP, as `m3`."""
    return f"m{layer}"


def mixer_name(layer: int) -> str:
    """Return the component name of a layer's mixer, as `r3`."""
    return f"r{layer}"


def component_of(receiver: str) -> str:
    """Return the component that a receiver input belongs to: `a5.h1<q>@END` gives `a5.h1`."""
    return receiver.partition("@")[0].partition("<")[0]


def read_of(receiver: str) -> str:
    """Return what kind of input a receiver is, at any column: q, k, v, mlp, mixer or logits."""
    receiver = receiver.partition("@")[0]
    if receiver == LOGITS:
        return LOGITS
    _, bracket, letter = receiver.partition("<")
    if bracket:
        return letter.rstrip(">")
    return MIXER if receiver.startswith("r") else "mlp"


@dataclass(frozen=True)
class ComponentGraph:
    """All components of one architecture and every edge between them.

    Senders are ordered input, heads of layer 0, MLP of layer 0, heads of layer 1, ...
    Receivers are ordered, layer by layer, q of all heads, k of all, v of all, MLP; last logits.
    `mixers` are the layers that have a mixer in place of heads, `units` the MLPs taken apart.

    Raises:
        GraphError: units of a layer that has no MLP, or of one layer twice.
    """

    n_layers: int
    n_heads: int
    d_model: int
    parallel_attn_mlp: bool = False
    has_mlps: bool = True  # False for attention-only models
    mixers: tuple[int, ...] = ()
    units: tuple[Units, ...] = ()

    def __post_init__(self) -> None:
        layers = [units.layer for units in self.units]
        fitting = set(range(self.n_layers * self.has_mlps))
        if layers != sorted(set(layers)) or not fitting.issuperset(layers):
            raise GraphError(
                "units: each layer with an MLP may be taken apart once, in the order of layers, "
                f"got {layers} of a graph of {self.n_layers} layers. Units are parts of an MLP. "
                "Name each once."
            )

    @cached_property
    def _units_in(self) -> dict[int, Units]:
        return {units.layer: units for units in self.units}

    def units_in(self, layer: int) -> Units | None:
        """Return what the MLP of a layer is taken apart into, None where it is whole."""
        return self._units_in.get(layer)

    def mlp_senders_in(self, layer: int) -> tuple[str, ...]:
        """Return the senders that the MLP of a layer is."""
        units = self.units_in(layer)
        return (mlp_name(layer),) * self.has_mlps if units is None else units.names

    def mlp_receivers_in(self, layer: int) -> tuple[str, ...]:
        """Return the receivers that the MLP of a layer is."""
        units = self.units_in(layer)
        whole = units is None or not units.read_alone
        return (mlp_name(layer),) * self.has_mlps if whole else self.mlp_senders_in(layer)

    @property
    def whole(self) -> "ComponentGraph":
        """The graph of the same architecture with no MLP taken apart."""
        return replace(self, units=()) if self.units else self

    def heads_in(self, layer: int) -> int:
        """Return how many components of a layer write before its MLP: its heads, or its mixer."""
        return 1 if layer in self.mixers else self.n_heads

    def n_reads_in(self, layer: int) -> int:
        """Return how many receivers of a layer read before its MLP."""
        return 1 if layer in self.mixers else 3 * self.n_heads

    def receivers_in(self, layer: int) -> int:
        """Return how many receivers a layer has, its MLP included."""
        return self.n_reads_in(layer) + len(self.mlp_receivers_in(layer))

    def names_in(self, layer: int) -> list[str]:
        """Return the components of a layer that write before its MLP."""
        if layer in self.mixers:
            return [mixer_name(layer)]
        return [head_name(layer, head) for head in range(self.n_heads)]

    def reads_in(self, layer: int) -> list[str]:
        """Return the receivers of a layer that read before its MLP."""
        if layer in self.mixers:
            return [mixer_name(layer)]
        return [f"{name}<{read}>" for read in READS for name in self.names_in(layer)]

    @cached_property
    def senders(self) -> tuple[str, ...]:
        """Sender names in order."""
        names = [INPUT]
        for layer in range(self.n_layers):
            names += [*self.names_in(layer), *self.mlp_senders_in(layer)]
        return tuple(names)

    @cached_property
    def receivers(self) -> tuple[str, ...]:
        """Receiver input names in order."""
        names = []
        for layer in range(self.n_layers):
            names += [*self.reads_in(layer), *self.mlp_receivers_in(layer)]
        return (*names, LOGITS)

    @cached_property
    def components(self) -> tuple[str, ...]:
        """Every component name, in order, `logits` last."""
        names = [INPUT]
        for layer in range(self.n_layers):
            reads, writes = self.mlp_receivers_in(layer), self.mlp_senders_in(layer)
            names += [*self.names_in(layer), *dict.fromkeys((*reads, *writes))]
        return (*names, LOGITS)

    def reader_of(self, sender: str) -> str:
        """Return the component whose inputs a sender is computed from.

        It is the sender itself, but for units that do not read alone: their MLP.
        """
        return self._readers.get(sender, sender)

    @cached_property
    def _readers(self) -> dict[str, str]:
        together = (units for units in self.units if not units.read_alone)
        return {name: mlp_name(units.layer) for units in together for name in units.names}

    def parts_of(self, component: str) -> tuple[str, ...]:
        """Return the senders that a component is: itself, or the units of an MLP taken apart."""
        apart = self._apart.get(component)
        return (component,) if apart is None else apart

    @cached_property
    def _apart(self) -> dict[str, tuple[str, ...]]:
        return {mlp_name(units.layer): units.names for units in self.units}

    def kind_of(self, component: str) -> str:
        """Return what a component is: input, head, mixer, mlp, logits, or a kind of unit.

        Raises:
            GraphError: there is no such component.
        """
        if component not in self._kinds:
            raise GraphError(
                f"component {component!r}: must be one of this graph ({self}), got an unknown "
                f"name. Components look like {self.components[1]!r}. Check the numbers."
            )
        return self._kinds[component]

    @cached_property
    def _kinds(self) -> dict[str, str]:
        kinds = {INPUT: INPUT, LOGITS: LOGITS}
        for layer in range(self.n_layers):
            before = MIXER if layer in self.mixers else HEAD
            kinds |= dict.fromkeys(self.names_in(layer), before)
            kinds |= dict.fromkeys(self.mlp_receivers_in(layer), MLP)
            kinds |= dict.fromkeys(self.mlp_senders_in(layer), MLP)
            units = self.units_in(layer)
            kinds |= {} if units is None else units.kinds
        return kinds

    def head_sender(self, layer: int) -> int:
        """Return the sender index of the first head of `layer`; its MLP follows the last."""
        return self._first_senders[layer]

    def mlp_sender(self, layer: int) -> int:
        """Return the sender index of the MLP of `layer`, or of its first unit."""
        return self.head_sender(layer) + self.heads_in(layer)

    def mlp_senders(self, layer: int) -> slice:
        """Return the sender indices of the MLP of `layer`, or of all its units."""
        return slice(self.mlp_sender(layer), self.head_sender(layer + 1))

    @cached_property
    def _first_senders(self) -> tuple[int, ...]:
        layers = range(self.n_layers)
        sizes = [self.heads_in(layer) + len(self.mlp_senders_in(layer)) for layer in layers]
        return tuple(accumulate(sizes, initial=1))

    @cached_property
    def _first_receivers(self) -> tuple[int, ...]:
        sizes = [self.receivers_in(layer) for layer in range(self.n_layers)]
        return tuple(accumulate(sizes, initial=0))

    def place_of_head(self, name: str) -> tuple[int, int]:
        """Return the layer of a head, and its number there.

        Raises:
            GraphError: the graph has no such head.
        """
        if name not in self.head_places:
            heads = [*self.head_places]
            raise GraphError(
                f"component {name!r}: must be a head of this graph ({self}), got another name. "
                f"Only heads attend. Heads are {heads[0]} to {heads[-1]}."
            )
        return self.head_places[name]

    @cached_property
    def head_places(self) -> dict[str, tuple[int, int]]:
        """The layer of every head, and its number there, by name."""
        layers = [layer for layer in range(self.n_layers) if layer not in self.mixers]
        places = product(layers, range(self.n_heads))
        return {head_name(*place): place for place in places}

    def first_receiver(self, layer: int) -> int:
        """Return the receiver index of the first query of `layer`; keys, values, MLP follow."""
        return self._first_receivers[layer]

    def mlp_receiver(self, layer: int) -> int:
        """Return the receiver index of the MLP of `layer`, or of its first unit."""
        return self.first_receiver(layer) + self.n_reads_in(layer)

    def mlp_receivers(self, layer: int) -> slice:
        """Return the receiver indices of the MLP of `layer`, or of all its units."""
        return slice(self.mlp_receiver(layer), self.first_receiver(layer + 1))

    def layer_of_receiver(self, receiver: int) -> int:
        """Return the layer that a receiver index belongs to; n_layers for the logits."""
        return bisect_right(self._first_receivers, receiver) - 1

    def n_senders_before_attention(self, layer: int) -> int:
        """Return how many senders, in order, the attention of `layer` can read."""
        return self.head_sender(layer)

    def n_senders_before_mlp(self, layer: int) -> int:
        """Return how many senders, in order, the MLP of `layer` can read."""
        return self.head_sender(layer) if self.parallel_attn_mlp else self.mlp_sender(layer)

    @cached_property
    def edge_mask(self) -> Bool[Tensor, "sender receiver"]:
        """Return where an edge exists."""
        mask = torch.zeros(len(self.senders), len(self.receivers), dtype=torch.bool)
        for layer in range(self.n_layers):
            first, mlp = self.first_receiver(layer), self.mlp_receiver(layer)
            mask[: self.n_senders_before_attention(layer), first:mlp] = True
            mask[: self.n_senders_before_mlp(layer), self.mlp_receivers(layer)] = True
        mask[:, -1] = True
        return mask

    @property
    def n_edges(self) -> int:
        """The number of edges: 32,491 for GPT-2 small."""
        return int(self.edge_mask.sum())

    @cached_property
    def edge_index(self) -> Int[Tensor, "edge 2"]:
        """(sender, receiver) index of every edge, in edge order. Ties in scores break by it."""
        rows: list[list[int]] = []
        for layer in range(self.n_layers):
            first = self.first_receiver(layer)
            n, n_heads = self.n_reads_in(layer), self.heads_in(layer)
            order = [first + i for head in range(n_heads) for i in range(head, n, n_heads)]
            for sender in range(self.n_senders_before_attention(layer)):
                rows += [[sender, receiver] for receiver in order]
            reading = range(len(self.receivers))[self.mlp_receivers(layer)]
            rows += [[s, r] for s in range(self.n_senders_before_mlp(layer)) for r in reading]
        logits = len(self.receivers) - 1
        rows += [[sender, logits] for sender in range(len(self.senders))]
        return torch.tensor(rows)

    @cached_property
    def edge_names(self) -> tuple[str, ...]:
        """The name of every edge, as `a3.h0->a5.h1<q>`, in edge order."""
        pairs: list[list[int]] = self.edge_index.tolist()
        return tuple(f"{self.senders[s]}->{self.receivers[r]}" for s, r in pairs)

    @cached_property
    def _edge_numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.edge_names)}

    def edge_number(self, name: str) -> int:
        """Return the place of an edge in edge order.

        Raises:
            GraphError: the graph has no such edge.
        """
        if name not in self._edge_numbers:
            raise GraphError(
                f"edge {name!r}: must be an edge of this graph ({self}), got an unknown name. "
                f"Edges look like {self.edge_names[0]!r} or {self.edge_names[-1]!r}, from an "
                "earlier component to a later one. Check the layer and head numbers."
            )
        return self._edge_numbers[name]

    def mask_of(self, edges: Sequence[str]) -> Bool[Tensor, "*column sender receiver"]:
        """Return the mask that is true at the named edges.

        Raises:
            GraphError: a name is not an edge of this graph.
        """
        mask = torch.zeros_like(self.edge_mask)
        if edges:
            mask[tuple(self.edge_index[[self.edge_number(name) for name in edges]].T)] = True
        return mask

    def __str__(self) -> str:
        kind = ", parallel blocks" if self.parallel_attn_mlp else ""
        kind += "" if self.has_mlps else ", attention only"
        if self.mixers:
            kind += f", without heads in layers {', '.join(map(str, self.mixers))}"
        for units in self.units:
            kind += f", {units}"
        return f"{self.n_layers} layers, {self.n_heads} heads, d_model {self.d_model}{kind}"


@dataclass(frozen=True)
class EdgeScores(Shown):
    """One method's estimate for every edge; positive means the edge supports the behaviour.

    `values` is zero where the graph has no edge. The unit is that of the metric.
    """

    graph: ComponentGraph
    values: Float[Tensor, "*column sender receiver"]

    def __repr__(self) -> str:
        return brief(f"EdgeScores({_scores_text(self.graph.edge_names, self.by_edge(), 'edge')})")

    @staticmethod
    def of_edges(graph: ComponentGraph, values: Float[Tensor, " edge"]) -> "EdgeScores":
        """Return the scores of values in edge order, in float64 on the CPU."""
        scores = torch.zeros(graph.edge_mask.shape, dtype=torch.float64)
        scores[tuple(graph.edge_index.T)] = values.to(scores)
        return EdgeScores(graph, scores)

    def by_edge(self) -> Float[Tensor, " edge"]:
        """Return the scores in edge order."""
        return self.values[tuple(self.graph.edge_index.T)]


@dataclass(frozen=True)
class NodeScores(Shown):
    """One method's estimate for every node; positive means the node supports the behaviour.

    The unit is that of the metric.
    """

    names: tuple[str, ...]
    values: Float[Tensor, " node"]

    def __repr__(self) -> str:
        return brief(f"NodeScores({_scores_text(self.names, self.values, 'node')})")

    def by_name(self) -> dict[str, float]:
        """Return the score of each node."""
        return dict(zip(self.names, self.values.tolist(), strict=True))


def _scores_text(names: Sequence[str], values: Float[Tensor, " score"], kind: str) -> str:
    """Return how many scores there are, how many of each sign, and the largest of them."""
    if not names:
        return f"no {kind}s"
    signs = f"{int((values > 0).sum()):,} above zero, {int((values < 0).sum()):,} below"
    at = int(values.abs().argmax())
    return f"{len(names):,} {kind}s: {signs}, largest {float(values[at]):+.3g} at {names[at]}"
