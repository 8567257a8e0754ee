"""A published circuit: its components by class, how classes are connected, and who says so.

    no connections   every edge between its components, the input and the logits
    connections      the edges from one class into another, and into which of its reads

Classes are sequences of component names, as `a9.h6` and `m3`. `input` and `logits` are classes of
one. Where a paper explains heads and leaves MLPs to carry what they carry, `free_mlps` keeps every
edge between its components of which one end is an MLP.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from circuitkit.circuits.circuit import Circuit, Provenance
from circuitkit.circuits.graph import INPUT, LOGITS, READS, ComponentGraph, read_of
from circuitkit.errors import GraphError

EVERY_READ = "".join(READS)


@dataclass(frozen=True)
class Connection:
    """Edges from a class into another: into these reads of heads; MLPs and logits have one."""

    sender: str
    receiver: str
    reads: str = EVERY_READ


@dataclass(frozen=True)
class Published:
    """A circuit as its paper gives it. `says` is how the paper's words became this set."""

    name: str
    task: str
    model: str
    graph: ComponentGraph
    classes: Mapping[str, tuple[str, ...]]
    citation: str
    url: str
    says: str
    connections: tuple[Connection, ...] = ()
    free_mlps: bool = False
    sources: tuple[str, ...] = field(default=())  # where else the same list stands

    @cached_property
    def components(self) -> tuple[str, ...]:
        """All its components, the input and the logits included, in the graph's order.

        Raises:
            GraphError: one is not of its graph.
        """
        named = {INPUT, LOGITS, *(each for some in self.classes.values() for each in some)}
        unknown = sorted(named - set(self.graph.components))
        if unknown:
            raise GraphError(
                f"published circuit {self.name!r}: its components must be of its graph "
                f"({self.graph}), got {unknown[0]!r}. It could not be run. Correct the list."
            )
        return tuple(each for each in self.graph.components if each in named)

    @cached_property
    def circuit(self) -> Circuit:
        """The circuit, without scores: a paper gives a set."""
        origin = Provenance(task=self.task, model=self.model)
        edges = [name for name in self.graph.edge_names if self._has(name)]
        made = Circuit.of_edges(self.graph, edges)
        return Circuit(made.graph, made.edge_mask, made.scores, origin)

    def _has(self, edge: str) -> bool:
        ends = Circuit.ends(edge)
        if not set(ends) <= set(self.components):
            return False
        if not self.connections:
            return True
        receiver = edge.partition("->")[2]
        is_free = self.free_mlps and any(end.startswith("m") for end in ends)
        return is_free or (ends[0], ends[1], read_of(receiver)) in self._connected

    @cached_property
    def _connected(self) -> frozenset[tuple[str, str, str]]:
        return frozenset(key for each in self.connections for key in self._edges_of(each))

    def _edges_of(self, connection: Connection) -> Iterator[tuple[str, str, str]]:
        for sender in self._class(connection.sender):
            for receiver in self._class(connection.receiver):
                is_head = receiver.startswith("a")
                own = LOGITS if receiver == LOGITS else "mlp"
                for read in connection.reads if is_head else (own,):
                    yield sender, receiver, read

    def _class(self, name: str) -> tuple[str, ...]:
        return (name,) if name in (INPUT, LOGITS) else self.classes[name]
