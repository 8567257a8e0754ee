"""The columns at which edges live: made of pairs, found again in others, and read from in a run."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.column_graph import ColumnGraph
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.errors import PromptError
from circuitkit.prompts.columns import Columns
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.prompts.partition import partition


def column_graph(graph: ComponentGraph, pairs: PromptPairs, by: str) -> ColumnGraph:
    """Return the edges of a graph at the `roles` or `positions` of some pairs.

    Raises:
        MethodError: `by` is neither.
        PromptError: the pairs cannot be cut so.
    """
    columns = partition(pairs, by)
    read = _labelled(columns, pairs).any(1).tolist()
    read_at = tuple(name for name, is_read in zip(columns.names, read, strict=True) if is_read)
    return ColumnGraph.over(graph, columns.names, by, read_at)


def columns_on(graph: ColumnGraph, pairs: PromptPairs) -> Columns:
    """Return the positions of a graph's columns in some pairs, perhaps others than it was made of.

    Raises:
        PromptError: the pairs cannot be cut so, have other columns, or are read at others.
    """
    columns = partition(pairs, graph.by, graph.columns)
    read = _labelled(columns, pairs).any(1).tolist()
    odd = [name for name, is_read in zip(columns.names, read, strict=True) if is_read]
    if not set(graph.read_at).issuperset(odd):
        raise PromptError(
            f"columns: answers must be read at {', '.join(graph.read_at)}, as where the circuit "
            f"was found, got {', '.join(odd)}. No edge leads to the logits there. Use pairs like "
            "those that found it."
        )
    return columns


def columns_of(circuit: Circuit, pairs: PromptPairs) -> Columns | None:
    """Return the positions of a circuit's columns; None where its edges are at all positions.

    Raises:
        PromptError: as `columns_on`.
    """
    graph = circuit.graph
    return columns_on(graph, pairs) if isinstance(graph, ColumnGraph) else None


def _labelled(columns: Columns, pairs: PromptPairs) -> Bool[Tensor, "column pair"]:
    """Return which columns of each pair hold a position at which logits are read."""
    at = pairs.clean_batch.labelled.expand(len(columns.names), -1, -1)
    return columns.masks.gather(2, at).any(2)


class PlacesByColumn:
    """Which places of a run are in which column; a place in none reads what is ablated.

    A place is a (row, pos), counted as one axis. Decided on the host: the device is sent numbers.
    """

    def __init__(self, masks: Bool[Tensor, "column row pos"], device: torch.device) -> None:
        flat = masks.flatten(1)
        self.n_columns = len(flat)
        self.column_of: Int[Tensor, " place"] = flat.int().argmax(0).to(device)
        found = [(column, own.nonzero()[:, 0]) for column, own in enumerate(flat)]
        self.places = [(column, own.to(device)) for column, own in found if len(own)]

    def read(
        self,
        kept: Bool[Tensor, "circuit group column_sender"],
        change: Float[Tensor, "circuit sender place d_model"],
        base: Float[Tensor, "place d_model"],
        chosen: Int[Tensor, " place"] | None,
    ) -> Float[Tensor, "circuit group place d_model"]:
        """Return the base and what is kept of the change, at all places or at the chosen."""
        by_column = kept.unflatten(2, (self.n_columns, -1)).to(change.dtype)
        change = change[:, : by_column.shape[3]]
        if chosen is not None:
            own = by_column[:, :, self.column_of[chosen]]  # [circuit, group, place, sender]
            return torch.einsum("cgps,cspd->cgpd", own, change).add_(base)
        read = base.repeat(*kept.shape[:2], 1, 1)
        for column, places in self.places:
            added = torch.bmm(by_column[:, :, column], change[:, :, places].flatten(2))
            read[:, :, places] += added.unflatten(2, (len(places), -1))
        return read
