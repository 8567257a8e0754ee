"""What receivers read where no edge into them is kept: the ablated values alone.

Of a run, they were computed in it; of sums of means or zeros, they are computed once and kept.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.circuits.graph import READS
from circuitkit.interventions.recorded import RecordedRun
from circuitkit.model import SubjectModel, hook_points
from circuitkit.model.attention import per_head
from circuitkit.model.recording import attention_bias_before, by_head, sender_outputs
from circuitkit.model.runs import Run


class AblatedReads(ABC):
    """What receivers read when every sender is ablated, and what heads make of it."""

    def __init__(self, model: SubjectModel, ablated: Float[Tensor, "sender place d_model"]) -> None:
        self.model, self.ablated = model, ablated

    @abstractmethod
    def attn_in(self, layer: int) -> Float[Tensor, "place d_model"]:
        """Return what the heads of a layer read."""

    @abstractmethod
    def mlp_in(self, layer: int) -> Float[Tensor, "place d_model"]:
        """Return what an MLP reads."""

    @abstractmethod
    def logits_in(self, places: Int[Tensor, " row"]) -> Float[Tensor, "row d_model"]:
        """Return what the logits read at some places."""

    @abstractmethod
    def projections(self, layer: int) -> Float[Tensor, "place receiver d_head"]:
        """Return q, k and v of every head of a layer."""

    @abstractmethod
    def change(self, layer: int, what: str) -> Float[Tensor, "sender place d_model"] | float:
        """Return how far the `heads` or `mlp` that read this write from their ablated values.

        An MLP that is taken apart is as many senders as it has parts.
        """


class ReadsOfRun(AblatedReads):
    """The ablated values are those of a run, so all of this was computed in it."""

    def __init__(self, model: SubjectModel, recorded: RecordedRun) -> None:
        super().__init__(model, sender_outputs(model, recorded.activations))
        self.kept = recorded.kept

    def attn_in(self, layer: int) -> Float[Tensor, "place d_model"]:
        return self.kept[hook_points.resid_pre(layer)].flatten(0, 1)

    def mlp_in(self, layer: int) -> Float[Tensor, "place d_model"]:
        return self.kept[hook_points.mlp_in(layer)].flatten(0, 1)

    def logits_in(self, places: Int[Tensor, " row"]) -> Float[Tensor, "row d_model"]:
        final = self.kept[hook_points.FINAL_NORM_IN]
        return final.reshape(-1, final.shape[-1])

    def projections(self, layer: int) -> Float[Tensor, "place receiver d_head"]:
        n_heads = self.model.graph.heads_in(layer)
        points = [hook_points.projection(layer, read) for read in READS]
        reads = [per_head(self.kept[point], n_heads) for point in points]
        return torch.cat(reads, 2).flatten(0, 1)

    def change(self, layer: int, what: str) -> Float[Tensor, "sender place d_model"] | float:
        return 0.0


class ReadsOfSums(AblatedReads):
    """The ablated values belong to no run: what is read is their sum."""

    def __init__(
        self, model: SubjectModel, run: Run, ablated: Float[Tensor, "sender place d_model"]
    ) -> None:
        super().__init__(model, ablated)
        self.run = run
        self._projections: dict[int, Tensor] = {}
        self._changes: dict[tuple[int, str], Tensor] = {}

    def _sum(self, n_senders: int, layer: int, *, own_layer: bool) -> Tensor:
        bias = attention_bias_before(self.model, layer, own_layer=own_layer)
        return self.ablated[:n_senders].sum(0) + bias

    def attn_in(self, layer: int) -> Float[Tensor, "place d_model"]:
        n_senders = self.model.graph.n_senders_before_attention(layer)
        return self._sum(n_senders, layer, own_layer=False)

    def mlp_in(self, layer: int) -> Float[Tensor, "place d_model"]:
        graph = self.model.graph
        n_senders = graph.n_senders_before_mlp(layer)
        return self._sum(n_senders, layer, own_layer=not graph.parallel_attn_mlp)

    def logits_in(self, places: Int[Tensor, " row"]) -> Float[Tensor, "row d_model"]:
        graph = self.model.graph
        return self._sum(len(graph.senders), graph.n_layers, own_layer=False)[places]

    def projections(self, layer: int) -> Float[Tensor, "place receiver d_head"]:
        if layer not in self._projections:
            attention = self.model.layers[layer].attention
            n_heads, reads = attention.n_heads, attention.project(self.attn_in(layer).unsqueeze(0))
            self._projections[layer] = torch.cat([per_head(x, n_heads) for x in reads], 2)[0]
        return self._projections[layer]

    def change(self, layer: int, what: str) -> Float[Tensor, "sender place d_model"] | float:
        if (layer, what) not in self._changes:
            written = self._heads(layer) if what == "heads" else self._mlp(layer)
            self._changes[layer, what] = written
        return self._changes[layer, what]

    def _heads(self, layer: int) -> Float[Tensor, "head place d_model"]:
        graph, attention = self.model.graph, self.model.layers[layer].attention
        n_rows = len(self.run.entering)
        q, k, v = attention.by_read(self.projections(layer).unflatten(0, (n_rows, -1)))
        past = self.run.past[layer] if self.run.past else None
        z, _ = attention.attend(q, k, v, self.run.context.layers[layer], past=past)
        first = graph.head_sender(layer)
        written = torch.bmm(by_head(attention.written(z)), attention.w_out)
        return written - self.ablated[first : graph.mlp_sender(layer)]

    def _mlp(self, layer: int) -> Float[Tensor, "part place d_model"]:
        read = self.mlp_in(layer).view(self.run.entering.shape)
        written = self.model.layers[layer].mlp_writes(read).flatten(1, 2)
        return written - self.ablated[self.model.graph.mlp_senders(layer)]
