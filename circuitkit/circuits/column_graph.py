"""Edges that live at columns: groups of positions that, between them, hold every position once.

An edge at a column, `a3.h0->a5.h1<k>@S1+1`, is what its receiver reads of its sender at the
positions of that column: for keys and values where the head looks, for queries, MLPs and the
logits where they stand. The edge at all columns together is the edge.

Attention alone moves anything from one column to another: what a head reads through its keys and
values at one column may be written at any. All else stays in its column. The logits read at some
columns only, so edges into them exist at no other.
"""

import json
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from circuitkit.circuits.graph import ComponentGraph
from circuitkit.errors import GraphError
from circuitkit.names import EDGE_COLUMNS


@dataclass(frozen=True)
class ColumnGraph(ComponentGraph):
    """Every edge of an architecture at every column.

    `by` says what the columns are, `roles` or `positions`; `read_at` where the logits read. In edge
    order, an edge's columns follow each other.

    Raises:
        GraphError: columns without names of their own, or logits that read nowhere.
    """

    columns: tuple[str, ...] = ()
    by: str = "roles"
    read_at: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        names = set(self.columns)
        if not names or len(names) < len(self.columns) or "" in names:
            raise GraphError(
                f"columns: each must have a name of its own, got {list(self.columns)}. Edges are "
                "named by them. Name each once."
            )
        if not self.read_at or not names.issuperset(self.read_at):
            raise GraphError(
                f"columns: the logits must read at some of {list(self.columns)}, got "
                f"{list(self.read_at)}. Nothing could be predicted. Name the last token's."
            )
        if self.by not in EDGE_COLUMNS:
            raise GraphError(
                f"columns: must be by one of {', '.join(EDGE_COLUMNS)}, got {self.by!r}. It says "
                "which positions a column holds. Choose one."
            )

    @staticmethod
    def over(
        graph: ComponentGraph, columns: tuple[str, ...], by: str, read_at: tuple[str, ...]
    ) -> "ColumnGraph":
        """Return the edges of a graph at these columns."""
        own = {each.name: getattr(graph, each.name) for each in fields(ComponentGraph)}
        return ColumnGraph(**own, columns=columns, by=by, read_at=read_at)

    @staticmethod
    def of_text(graph: ComponentGraph, text: str) -> "ColumnGraph":
        """Return the edges of a graph at the columns that `text` says."""
        said = json.loads(text)
        return ColumnGraph.over(graph, tuple(said["names"]), said["by"], tuple(said["read_at"]))

    @property
    def text(self) -> str:
        """The columns as JSON."""
        said = {"by": self.by, "names": list(self.columns), "read_at": list(self.read_at)}
        return json.dumps(said)

    @cached_property
    def everywhere(self) -> ComponentGraph:
        """The graph whose edges are at all columns at once."""
        names = [each.name for each in fields(ComponentGraph)]
        return ComponentGraph(**{name: getattr(self, name) for name in names})

    @cached_property
    def edge_mask(self) -> Bool[Tensor, "column sender receiver"]:
        """Return where an edge exists."""
        mask = self.everywhere.edge_mask.repeat(len(self.columns), 1, 1)
        for number, column in enumerate(self.columns):
            mask[number, :, -1] &= column in self.read_at
        return mask

    @cached_property
    def edge_index(self) -> Int[Tensor, "edge 3"]:
        """(column, sender, receiver) index of every edge, in edge order."""
        pairs, n = self.everywhere.edge_index, len(self.columns)
        columns = torch.arange(n).repeat(len(pairs))
        rows = torch.cat((columns.unsqueeze(1), pairs.repeat_interleave(n, 0)), 1)
        return rows[self.edge_mask[tuple(rows.T)]]

    @cached_property
    def edge_names(self) -> tuple[str, ...]:
        """The name of every edge, as `a3.h0->a5.h1<q>@END`, in edge order."""
        rows: list[list[int]] = self.edge_index.tolist()
        return tuple(
            f"{self.senders[s]}->{self.receivers[r]}@{self.columns[c]}" for c, s, r in rows
        )

    def __str__(self) -> str:
        return f"{self.everywhere}, at {len(self.columns)} {self.by}"


def graph_everywhere(graph: ComponentGraph) -> ComponentGraph:
    """Return the graph of an architecture without columns."""
    return graph.everywhere if isinstance(graph, ColumnGraph) else graph
