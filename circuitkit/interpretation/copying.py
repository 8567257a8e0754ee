"""What a component writes straight into the logits, and whether it copies what it attends to.

    L_c      = logits(x) - logits(x - write of c),   x the residual stream at the labelled position
    copying  = sum over sources of A[end, source] L_c[token there]  -  mean over the prompt's tokens

L_c holds the final norm, with x's own scale in either term. Copying is above zero where a head
raises what it looks at more than what it does not, below where it suppresses it: name movers and
negative name movers (Wang et al. 2022, arXiv:2211.00593, section 3.1), copy suppression (McDougall
et al. 2023, arXiv:2310.04625). Unit: logits.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.graph import INPUT
from circuitkit.interventions.budget import rows_per_batch
from circuitkit.model import Hook, SubjectModel, hook_points
from circuitkit.model.hook_points import Point
from circuitkit.prompts import PromptPairs
from circuitkit.validation.bootstrap import Values


@dataclass(frozen=True)
class EndWrites:
    """What every component writes at the labelled position of clean prompts, and their sum."""

    model: SubjectModel
    final: Float[Tensor, "pair d_model"]
    writes: dict[str, Float[Tensor, "pair d_model"]]

    def direct_logits(self, component: str) -> Float[Tensor, "pair vocab"]:
        """Return what a component adds to the logits directly, with the final norm."""
        with torch.no_grad():
            without = self.model.unembed(self.final - self.writes[component])
            return (self.model.unembed(self.final) - without).double().cpu()


def end_writes(model: SubjectModel, pairs: PromptPairs, memory: int | None = None) -> EndWrites:
    """Return what is written at the labelled positions of the clean prompts."""
    n_rows, _ = rows_per_batch(model, pairs, memory)
    graph = model.graph
    parts: dict[str, list[Tensor]] = {name: [] for name in (*graph.senders, "final")}
    for part in pairs.batches(n_rows):
        kept: dict[Point, Tensor] = {}
        points = [hook_points.resid_pre(0), hook_points.FINAL_NORM_IN]
        for layer in range(graph.n_layers):
            points.append(hook_points.written_z(layer))
            points += [hook_points.mlp_out(layer)] if graph.has_mlps else []
        with torch.no_grad():
            model.run(part.clean_batch, {point: _keeper(kept, point) for point in points})
        rows, at = torch.arange(len(part)), part.label_pos
        parts[INPUT].append(kept[hook_points.resid_pre(0)][rows, at])
        parts["final"].append(kept[hook_points.FINAL_NORM_IN])
        for layer in range(graph.n_layers):
            first = graph.head_sender(layer)
            z = kept[hook_points.written_z(layer)][rows, at]
            for head in range(graph.n_heads):
                write = z[:, head] @ model.layers[layer].attention.w_out[head]
                parts[graph.senders[first + head]].append(write)
            if graph.has_mlps:
                name = graph.senders[first + graph.n_heads]
                parts[name].append(kept[hook_points.mlp_out(layer)][rows, at])
    joined = {name: torch.cat(tensors) for name, tensors in parts.items()}
    return EndWrites(model, joined.pop("final"), joined)


def copying(
    logits: Float[Tensor, "pair vocab"],
    attention: Float[Tensor, "pair source"],
    pairs: PromptPairs,
) -> Values:
    """Return each pair's copying score, given a head's direct logits and attention at the end."""
    raised = logits.gather(1, pairs.clean.cpu())
    real = pairs.mask.double()
    attended = (attention * raised * real).sum(1)
    total = (attention * real).sum(1)
    rest = (raised * real).sum(1) / real.sum(1)
    return (attended - total * rest).numpy()


def _keeper(kept: dict[Point, Tensor], point: Point) -> Hook:
    def keep(activation: Tensor) -> None:
        kept[point] = activation.detach()

    return keep
