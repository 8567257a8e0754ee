"""A circuit: the edges of a component graph that are kept, with their scores and origin."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import networkx
import torch
from jaxtyping import Bool
from torch import Tensor

from circuitkit.circuits.column_graph import ColumnGraph
from circuitkit.circuits.graph import (
    LOGITS,
    MIXER,
    ComponentGraph,
    EdgeScores,
    component_of,
    read_of,
)
from circuitkit.circuits.recipe import Recipe
from circuitkit.circuits.units import kind_of_unit, units_of_text, units_text
from circuitkit.errors import GraphError
from circuitkit.work.notebook import Drawn
from circuitkit.work.text import brief

INSIDE = "inside"


@dataclass(frozen=True)
class Provenance:
    """Where a circuit comes from; empty where that is not known.

    `discovery_prompts` holds a digest of every prompt, clean and corrupted, that found it.
    """

    task: str = ""
    model: str = ""
    model_digest: str = ""
    recipe: Recipe = field(default_factory=Recipe)
    versions: Mapping[str, str] = field(default_factory=dict)
    verdict: str = ""
    tokenizer_digest: str = ""
    discovery_prompts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        found = f"{self.method or 'unknown method'}, seed {self.seed}"
        verdict = f", {self.verdict}" if self.verdict else ""
        return brief(
            f"Provenance({self.task or 'no task'} in {self.model or 'no model'}, {found}{verdict})"
        )

    @property
    def method(self) -> str:
        """The method that scored the edges; empty where that is not known."""
        return self.recipe.method

    @property
    def seed(self) -> int:
        """The seed with which the circuit was found."""
        return self.recipe.seed


@dataclass(frozen=True)
class Circuit(Drawn):
    """A set of edges. Evaluating it never changes it; every change makes a new one.

    Edges may live at columns of positions: its graph then is one of columns (column_graph.py).
    """

    graph: ComponentGraph
    edge_mask: Bool[Tensor, "*column sender receiver"]
    scores: EdgeScores
    provenance: Provenance = field(default_factory=Provenance)

    def __repr__(self) -> str:
        origin = self.provenance
        found = [f"{origin.task or 'no task'} in {origin.model}"] if origin.model else []
        found += [origin.method] if origin.method else []
        of = f"{self.n_edges:,} of {self.graph.n_edges:,} edges"
        return brief(f"Circuit({', '.join([of, f'{len(self.components)} components', *found])})")

    def __post_init__(self) -> None:
        if bool((self.edge_mask & ~self.graph.edge_mask).any()):
            raise GraphError("Circuit: edge_mask must lie inside the graph, got an edge outside.")

    @staticmethod
    def full(graph: ComponentGraph) -> "Circuit":
        """Return the circuit with every edge."""
        return Circuit(graph, graph.edge_mask.clone(), _no_scores(graph))

    @staticmethod
    def empty(graph: ComponentGraph) -> "Circuit":
        """Return the circuit without edges."""
        return Circuit(graph, torch.zeros_like(graph.edge_mask), _no_scores(graph))

    @staticmethod
    def of_edges(graph: ComponentGraph, edges: list[str]) -> "Circuit":
        """Return the circuit of the named edges, without scores.

        Raises:
            GraphError: a name is not an edge of `graph`.
        """
        return Circuit(graph, graph.mask_of(edges), _no_scores(graph))

    @property
    def n_edges(self) -> int:
        """The number of edges kept."""
        return int(self.edge_mask.sum())

    @property
    def edges(self) -> tuple[str, ...]:
        """The names of the edges kept, in edge order."""
        kept: list[bool] = self.edge_mask[tuple(self.graph.edge_index.T)].tolist()
        return tuple(name for name, keep in zip(self.graph.edge_names, kept, strict=True) if keep)

    @property
    def components(self) -> tuple[str, ...]:
        """The components that an edge kept touches, in graph order."""
        touched = {end for edge in self.edges for end in self.ends(edge)}
        return tuple(name for name in self.graph.components if name in touched)

    @staticmethod
    def ends(edge: str) -> tuple[str, str]:
        """Return the two components of an edge name: `a0.h1->a2.h3<k>` gives a0.h1, a2.h3.

        So does the edge at a column, `a0.h1->a2.h3<k>@S1`.
        """
        sender, _, receiver = edge.partition("->")
        return sender, component_of(receiver)

    @property
    def complement(self) -> "Circuit":
        """Every edge of the graph that is not in this circuit."""
        return self.with_edges(self.graph.edge_mask & ~self.edge_mask)

    @property
    def between_components(self) -> "Circuit":
        """Every edge between components of this circuit: the circuit at the level of nodes."""
        names = set(self.components)
        senders = torch.tensor([name in names for name in self.graph.senders])
        receivers = torch.tensor([component_of(name) in names for name in self.graph.receivers])
        return self.with_edges(self.graph.edge_mask & senders.unsqueeze(1) & receivers)

    def without(self, components: Collection[str]) -> "Circuit":
        """Return the circuit in which nothing reads what these components write.

        An MLP that is taken apart stands for all its units.

        Raises:
            GraphError: a name writes nothing in this graph.
        """
        writing = {part for name in components for part in self.graph.parts_of(name)}
        unknown = sorted(writing - set(self.graph.senders))
        if unknown:
            raise GraphError(
                f"Circuit.without: components must be senders of this graph ({self.graph}), got "
                f"{unknown}. They write nothing. Check the layer and head numbers."
            )
        silent = torch.tensor([name in writing for name in self.graph.senders])
        return self.with_edges(self.edge_mask & ~silent.unsqueeze(1))

    def without_edges(self, edges: Sequence[str]) -> "Circuit":
        """Return the circuit without the named edges. No dead ends are removed.

        Raises:
            GraphError: a name is not an edge of the graph.
        """
        return self.with_edges(self.edge_mask & ~self.graph.mask_of(list(edges)))

    def with_edges(self, edge_mask: Bool[Tensor, "*column sender receiver"]) -> "Circuit":
        """Return the same circuit with other edges kept."""
        return replace(self, edge_mask=edge_mask)

    def to_networkx(self) -> networkx.MultiDiGraph:
        """Return a graph of components; parallel edges are keyed by q, k, v, mlp or logits.

        Edge attributes: `name`, `read` (the key) and `score`; of edges at columns `column` too,
        which then is part of the key, as `k@S1`. Node attributes: `kind` (input, head, mixer, mlp,
        logits, or the kind of a unit) and `layer` (-1 for the input, n_layers for the logits). An
        MLP whose units read together has an edge to each of them, keyed by `inside`, which has no
        name or score.
        """
        graph = networkx.MultiDiGraph(
            n_layers=self.graph.n_layers,
            n_heads=self.graph.n_heads,
            d_model=self.graph.d_model,
            parallel_attn_mlp=self.graph.parallel_attn_mlp,
            has_mlps=self.graph.has_mlps,
            **({"mixers": ",".join(map(str, self.graph.mixers))} if self.graph.mixers else {}),
            **({"units": units_text(self.graph.units)} if self.graph.units else {}),
            **({"columns": self.graph.text} if isinstance(self.graph, ColumnGraph) else {}),
        )
        touched = self.components
        for name in touched:
            graph.add_node(name, kind=self.graph.kind_of(name), layer=layer_of(name, self.graph))
        for name in touched:
            reader = self.graph.reader_of(name)
            if reader != name and reader in graph:
                graph.add_edge(reader, name, key=INSIDE, read=INSIDE)
        scores: list[float] = self.scores.by_edge().tolist()
        for edge in self.edges:
            sender, component = self.ends(edge)
            read = read_of(edge.partition("->")[2])
            _, at, column = edge.partition("@")
            score = scores[self.graph.edge_number(edge)]
            told = {"name": edge, "read": read, "score": score}
            told |= {"column": column} if at else {}
            graph.add_edge(sender, component, key=f"{read}{at}{column}", **told)
        return graph

    @staticmethod
    def from_networkx(graph: networkx.MultiDiGraph) -> "Circuit":
        """Return the circuit of a graph made by `to_networkx`, or of one with the same attributes.

        Scores of edges outside the circuit are not part of the graph and become zero.

        Raises:
            GraphError: a size is missing, or an edge does not exist.
        """
        missing = {"n_layers", "n_heads", "d_model"} - graph.graph.keys()
        if missing:
            raise GraphError(
                f"Circuit.from_networkx: graph attributes must hold {sorted(missing)}, got "
                f"{sorted(graph.graph)}. They say which edges exist. Set graph.graph[...] first."
            )
        mixers = tuple(map(int, filter(None, graph.graph.get("mixers", "").split(","))))
        units = units_of_text(graph.graph.get("units", ""))
        said = {key: value for key, value in graph.graph.items() if key != "columns"}
        components = ComponentGraph(**said | {"mixers": mixers, "units": units})
        if "columns" in graph.graph:
            components = ColumnGraph.of_text(components, graph.graph["columns"])
        values = torch.zeros(components.edge_mask.shape, dtype=torch.float64)
        names = []
        for sender, component, read, data in graph.edges(keys=True, data=True):
            if read == INSIDE:
                continue
            read, at, column = str(read).partition("@")
            suffix = f"<{read}>" if read in ("q", "k", "v") else ""
            names.append(f"{sender}->{component}{suffix}{at}{column}")
            values[tuple(components.edge_index[components.edge_number(names[-1])])] = data.get(
                "score", 0.0
            )
        return Circuit(components, components.mask_of(names), EdgeScores(components, values))


def kind_of(component: str) -> str:
    """Return what a component is: input, head, mixer, mlp, logits, or the kind of a unit."""
    if component == LOGITS:
        return "logits"
    _, dot, unit = component.partition(".")
    if dot and component.startswith("m"):
        return kind_of_unit(unit)
    return {"i": "input", "a": "head", "r": MIXER, "m": "mlp"}[component[0]]


def layer_of(component: str, graph: ComponentGraph) -> int:
    """Return the layer of a component: -1 for the input, n_layers for the logits."""
    kind = kind_of(component)
    if kind == "input":
        return -1
    if kind == "logits":
        return graph.n_layers
    return int(component.partition(".")[0][1:])


def _no_scores(graph: ComponentGraph) -> EdgeScores:
    return EdgeScores(graph, torch.zeros(graph.edge_mask.shape, dtype=torch.float64))
