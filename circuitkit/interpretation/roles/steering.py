"""What an edge into a head's query or key does to where that head looks.

before   attention of head x at the labelled position, clean run
after    the same, where x's q (or k) reads the sender's ablated write
"""

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuits.graph import READS, ComponentGraph, component_of, read_of
from circuitkit.interventions.ablation import Ablation
from circuitkit.interventions.budget import rows_per_batch
from circuitkit.interventions.edges import EdgeBench
from circuitkit.interventions.recorded import Direction
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel, hook_points
from circuitkit.model.attention import per_head
from circuitkit.prompts.pairs import PromptPairs


def attention_moved(
    model: SubjectModel,
    pairs: PromptPairs,
    edge: str,
    *,
    metric: Metric,
    ablation: Ablation,
    memory: int | None = None,
) -> tuple[Float[Tensor, "pair source"], Float[Tensor, "pair source"]]:
    """Return the receiving head's attention at the labelled position, before and after.

    Raises:
        GraphError: the edge does not exist.
        MemoryBudgetError: not even one pair fits.
    """
    n_rows, max_rows = rows_per_batch(model, pairs, memory)
    before: list[Tensor] = []
    after: list[Tensor] = []
    for part in pairs.batches(n_rows):
        bench = EdgeBench(model, part, metric, ablation, Direction.NOISING, max_rows)
        for patterns, noised in ((before, False), (after, True)):
            patterns.append(_attention(model, bench, edge, noised=noised).double().cpu())
    return torch.cat(before), torch.cat(after)


def _attention(
    model: SubjectModel, bench: EdgeBench, edge: str, *, noised: bool
) -> Float[Tensor, "pair source"]:
    graph = model.graph
    sender, layer, read, head = _places(graph, edge)
    attention, base = model.layers[layer].attention, bench.base
    kept = base.kept
    entering = kept[hook_points.resid_pre(layer)]
    reads = [
        per_head(kept[hook_points.projection(layer, name)], graph.n_heads).clone() for name in READS
    ]
    if noised:
        moved = attention.project(entering + bench.added[sender].view_as(entering))
        reads[read][:, :, head] = per_head(moved[read], graph.n_heads)[:, :, head]
    found: list[Tensor] = []

    def keep(pattern: Tensor) -> Tensor:
        found.append(pattern)
        return pattern

    q, k, v = reads
    past = base.run.past[layer] if base.run.past else None
    context = base.run.context
    with torch.no_grad():
        attention.attend(q, k, v, context.layers[layer], past=past, on_pattern=keep)
    rows = torch.arange(len(entering), device=entering.device)
    return found[0][rows, head, context.labelled[:, 0]]


def _places(graph: ComponentGraph, edge: str) -> tuple[int, int, int, int]:
    """Return the sender's number, and the receiver's layer, read and head."""
    graph.edge_number(edge)  # refuses what is no edge
    sender, _, receiver = edge.partition("->")
    layer, head = graph.place_of_head(component_of(receiver))
    return graph.senders.index(sender), layer, READS.index(read_of(receiver)), head
