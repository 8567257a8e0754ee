"""What receivers read in circuits: a kept edge carries all of a sender's change, any other nothing.

    receiver r reads   ablated read + sum over kept edges s->r of (a_s - ablated a_s)

Zeros and ones leave much that need not be computed:

- circuits that read the same up to some receiver are run as one until there;
- receivers of a layer that keep the same edges share one sum and one norm;
- receivers that keep none read what was computed when all was ablated.

Which is which follows from the masks (interventions/kept_plan.py) before the pass begins, on the
host. So the pass reads nothing back from a device, and waits for nothing.
"""

from bisect import bisect_right
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.interventions.ablated_reads import AblatedReads
from circuitkit.interventions.circuit_walk import CircuitReads
from circuitkit.interventions.edge_columns import PlacesByColumn
from circuitkit.interventions.kept_plan import plan_of, stage_of
from circuitkit.model import SubjectModel
from circuitkit.model.attention import Attention
from circuitkit.model.runs import Run, labelled_places


class KeptReads(CircuitReads):
    """The state of one pass: how far each sender's live value is from its ablated one.

    `change` is [circuit, sender, place, d_model], of the circuits under way. It is filled as the
    senders are computed, and read by the receivers that come after. A circuit that reads what the
    one before it reads is not under way until it reads something else, and then begins with what
    was computed for that one. The first layer to be run is `first`.
    """

    def __init__(
        self,
        model: SubjectModel,
        run: Run,
        edge_masks: Bool[Tensor, "circuit *column sender receiver"],
        ablated_reads: AblatedReads,
        first: int = 0,
        places: PlacesByColumn | None = None,
    ) -> None:
        self.model, self.run, self.ablated_reads = model, run, ablated_reads
        self.ablated = ablated_reads.ablated
        self.plan = plan_of(edge_masks, model, first)
        self.n_pos = run.entering.shape[1]
        self.labelled: Tensor | None = None  # the places that are left, if not all are
        self.places = places  # of edges at columns
        self.space = self.ablated.new_empty(len(edge_masks), *self.ablated.shape)
        self._set_rows([0])

    @property
    def change(self) -> Float[Tensor, "circuit sender place d_model"]:
        """The changes of the circuits under way."""
        return self.space[: len(self.rows)]

    def know(self, live: Float[Tensor, "sender place d_model"], first: int) -> None:
        """Take the senders in front of layer `first` as they are in `live`."""
        known = self.model.graph.n_senders_before_attention(first)
        self.change[:, :known] = live[:known]

    def reach(self, layer: int, what: str) -> bool:
        """Begin with the `heads` or the `mlp` of a layer; return whether they must be run."""
        graph = self.model.graph
        mlp = graph.mlp_senders(layer)
        writing = slice(graph.head_sender(layer), mlp.start) if what == "heads" else mlp
        self._begin(stage_of(layer, what), writing.start)
        is_run = bool(self.stage.kept.shape[1])
        if is_run and not self.stage.parts:
            return True
        known = self.ablated_reads.change(layer, what)
        if isinstance(known, Tensor) and self.labelled is not None:
            known = known[:, self.labelled]
        self.change[:, writing] = known
        return is_run

    def _begin(self, stage: int, known: int) -> None:
        """Begin the circuits that read something of their own at a stage.

        `known` senders are computed by now. Rows keep the circuits' order, so none moves forward,
        and copying from the last on overwrites nothing that is still to be read.
        """
        self.stage = self.plan[stage]
        rows = self.stage.rows
        if len(rows) == len(self.rows):
            return
        begun = [bisect_right(self.rows, row) - 1 for row in rows]
        for row in range(len(rows) - 1, 0, -1):
            if begun[row] != row:
                self.space[row, :known] = self.space[begun[row], :known]
        self._set_rows(rows)

    def _set_rows(self, rows: list[int]) -> None:
        self.rows = rows
        self.context = self.run.context.repeated(len(rows))

    def projections(self, layer: int) -> Float[Tensor, "circuit_place receiver d_head"]:
        """Return q, k and v of every head, each from what its own receiver reads."""
        attention = self.model.layers[layer].attention
        out = self.ablated_reads.projections(layer).repeat(len(self.rows), 1, 1)
        x_hat = attention.norm.x_hat(self._read(self.ablated_reads.attn_in(layer)))
        w, b = _by_projection(attention)
        for group, (receivers, sources) in enumerate(self.stage.groups):
            # [circuit * place, d_model] @ [d_model, receivers * d_head]: one product for each group
            weight, bias = w.index_select(1, sources).flatten(1), b.index_select(0, sources)
            found = torch.addmm(bias.flatten(), x_hat[:, group].flatten(0, 1), weight)
            out[:, receivers] = found.unflatten(1, (len(receivers), -1))
        return out

    def mlp_in(self, layer: int) -> list[Float[Tensor, "row pos d_model"]]:
        """Return what the MLP of a layer reads, or each group of its parts."""
        base = self.ablated_reads.mlp_in(layer)
        read = self._read(base if self.labelled is None else base[self.labelled])
        shape = (-1, self.n_pos, read.shape[-1])
        return [read[:, group].reshape(shape) for group in range(read.shape[1])]

    def parts(self, layer: int) -> Sequence[Sequence[int]]:
        """Return the groups of parts of an MLP that read alike; others read what is ablated."""
        return self.stage.parts or super().parts(layer)

    def logits_in(self) -> Float[Tensor, "circuit labelled_place d_model"]:
        """Return what the logits read, of all circuits."""
        assert self.labelled is not None
        self._begin(stage_of(self.model.graph.n_layers, "heads"), self.space.shape[1])
        return self._read(self.ablated_reads.logits_in(self.labelled))[:, 0]

    def _read(
        self, base: Float[Tensor, "place d_model"]
    ) -> Float[Tensor, "circuit group place d_model"]:
        # [circuit, group, sender] @ [circuit, sender, place * d_model]: what is kept is added, and
        # nothing subtracted, so that under zero ablation an input with nothing kept is exactly zero
        kept = self.stage.kept
        if self.places is not None:
            return self.places.read(kept, self.change, base, self.labelled)
        change = self.change[:, : kept.shape[2]].flatten(2)
        read = torch.bmm(kept.to(change.dtype), change)
        return read.view(*kept.shape[:2], *base.shape).add_(base)

    def write(self, first: int, outputs: Float[Tensor, "circuit sender place d_model"]) -> None:
        """Take what the senders from number `first` on have written."""
        at = slice(first, first + outputs.shape[1])
        torch.sub(outputs, self.ablated[at], out=self.change[:, at])

    def write_parts(
        self,
        layer: int,
        parts: Sequence[int],
        outputs: Float[Tensor, "circuit part place d_model"],
    ) -> None:
        """Take what some parts of an MLP have written."""
        first = self.model.graph.mlp_sender(layer)
        for part, output in zip(parts, outputs.unbind(1), strict=True):
            torch.sub(output, self.ablated[first + part], out=self.change[:, first + part])

    def keep_labelled(self) -> None:
        """Forget all places but the labelled."""
        self.labelled = labelled_places(self.run)
        n_circuits, n_senders, _, d_model = self.space.shape
        left = self.space.new_empty(n_circuits, n_senders, len(self.labelled), d_model)
        torch.index_select(self.change, 2, self.labelled, out=left[: len(self.rows)])
        self.space, self.ablated = left, self.ablated[:, self.labelled]
        self.n_pos = self.run.context.labelled.shape[1]


def _by_projection(attention: Attention) -> tuple[Tensor, Tensor]:
    """Return W' [d_model, projection, d_head] and c' [projection, d_head], without copying."""
    width = attention.d_read
    return attention.w.unflatten(1, (-1, width)), attention.b.unflatten(0, (-1, width))
