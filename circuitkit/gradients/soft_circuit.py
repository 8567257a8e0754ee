"""Circuits whose edges have real weights, as one run that can be differentiated.

    receiver r reads   base + sum over edges s->r of w[s, r] (a_s - ablated a_s)
    base             = sum over all s before r of ablated a_s  + attention output biases

a_s is what s writes in this very run. Weights of 0 and 1 give what run_circuit.py gives: all ones
the clean run, all zeros the fully ablated one. And at w = 1, for the gain summed over pairs,

    d gain / d w[s, r]  =  sum over places of (clean - ablated a_s) . d gain / d (input of r)

which is the score of edge attribution patching. Weights outside the graph are not read. What is
kept for the gradient is every sender's change, and of each layer what its receivers read, twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuits.graph import READS
from circuitkit.errors import MemoryBudgetError
from circuitkit.interventions.budget import bytes_per_pair, free_bytes
from circuitkit.interventions.circuit_walk import CircuitReads, circuit_logits
from circuitkit.interventions.pair_runs import PairRuns
from circuitkit.model import SubjectModel
from circuitkit.model.attention import Attention
from circuitkit.model.recording import attention_bias_before, sender_outputs
from circuitkit.model.runs import Run, labelled_places
from circuitkit.prompts.pairs import PromptPairs

MAX_PAIRS = 64  # at once; larger batches spend their time on fresh memory


@dataclass(frozen=True)
class SoftCircuits:
    """A clean run and what every sender writes when ablated; circuits of any weights run on it.

    `ablated` may carry gradients, as the weights may. Where only the label is read, as of the last
    MLP, its values elsewhere do not matter.
    """

    model: SubjectModel
    run: Run
    ablated: Float[Tensor, "sender place d_model"]

    @staticmethod
    def of(runs: PairRuns) -> "SoftCircuits":
        """Return the circuits on a batch of pairs."""
        return SoftCircuits(runs.model, runs.clean, sender_outputs(runs.model, runs.ablated))

    def logits(
        self, weights: Float[Tensor, "circuit sender receiver"]
    ) -> Float[Tensor, "circuit pair *label vocab"]:
        """Return the logits that are read, for each circuit and pair.

        No weight of the model collects gradients.
        """
        with self.model.frozen():
            return circuit_logits(self.model, self.run, _SharedReads(self, weights))


def pairs_that_fit(model: SubjectModel, pairs: PromptPairs, memory: int | None) -> int:
    """Return how many pairs of a circuit can be differentiated at once, at most MAX_PAIRS.

    Raises:
        MemoryBudgetError: not even one.
    """
    require_memory(model, pairs, 1, memory)
    fitting = _budget(model, memory) // _bytes_per_pair(model, pairs)
    return max(1, min(len(pairs), fitting, MAX_PAIRS))


def require_memory(
    model: SubjectModel, pairs: PromptPairs, n_rows: int, memory: int | None
) -> None:
    """Refuse to differentiate circuits on `n_rows` pairs at once where they do not fit.

    Raises:
        MemoryBudgetError: they do not.
    """
    budget, n_pos = _budget(model, memory), pairs.clean.shape[1]
    needed = n_rows * _bytes_per_pair(model, pairs)
    if needed > budget:
        raise MemoryBudgetError(
            f"memory: differentiating a circuit on {n_rows} pairs of {n_pos} tokens on model "
            f"{model.name!r} needs about {needed / 1e9:.3g} GB, got a budget of "
            f"{budget / 1e9:.3g} GB. How many pairs make a step decides the result, so it is not "
            "lowered silently. Allow more memory, or set fewer pairs per step."
        )


def _budget(model: SubjectModel, memory: int | None) -> int:
    return free_bytes(model) if memory is None else memory


def _bytes_per_pair(model: SubjectModel, pairs: PromptPairs) -> int:
    """Return the estimated memory of differentiating a circuit on one more pair."""
    graph, n_pos = model.graph, pairs.clean.shape[1]
    itemsize = torch.finfo(model.dtype).bits // 8
    reads = 6 * graph.n_heads * graph.n_layers * n_pos * graph.d_model * itemsize
    return bytes_per_pair(model, n_pos) + reads


class _SharedReads(CircuitReads):
    """The state of one pass: how far every sender's live value is from its ablated one.

    `changes` holds one tensor [circuit, sender, place, d_model] for the input, for the heads of
    each layer and for each MLP, in sender order. Nothing is written in place, so that all of it can
    be differentiated.
    """

    def __init__(
        self, circuits: SoftCircuits, weights: Float[Tensor, "circuit sender receiver"]
    ) -> None:
        self.model, self.run, self.ablated = circuits.model, circuits.run, circuits.ablated
        self.weights = weights.to(self.ablated).transpose(1, 2)  # [circuit, receiver, sender]
        self.context = self.run.context.repeated(len(weights))
        self.n_pos = self.run.entering.shape[1]
        self.changes: list[Tensor] = []

    def reach(self, layer: int, what: str) -> bool:
        """Return that these heads or this MLP must be run: any weight may be other than zero."""
        return True

    def write(self, first: int, outputs: Float[Tensor, "circuit sender place d_model"]) -> None:
        """Take what the senders from number `first` on have written."""
        change = outputs - self.ablated[first : first + outputs.shape[1]]
        self.changes.append(change.expand(len(self.weights), *change.shape[1:]))

    def keep_labelled(self) -> None:
        """Forget all places but the labelled."""
        places = labelled_places(self.run)
        self.changes = [change[:, :, places] for change in self.changes]
        self.ablated = self.ablated[:, places]
        self.n_pos = self.run.context.labelled.shape[1]

    def projections(self, layer: int) -> Float[Tensor, "circuit_place receiver d_head"]:
        """Return q, k and v of every head, each from what its own receiver reads."""
        graph, attention = self.model.graph, self.model.layers[layer].attention
        receivers = slice(graph.first_receiver(layer), graph.mlp_receiver(layer))
        n_senders = graph.n_senders_before_attention(layer)
        read = self._read(receivers, n_senders, layer, own_layer=False)
        weight, bias = _per_receiver(attention)
        projected = attention.norm.x_hat(read) @ weight + bias.unsqueeze(1)
        # [circuit, receiver, place, d_head] to [circuit * place, receiver, d_head]
        return projected.transpose(1, 2).flatten(0, 1)

    def mlp_in(self, layer: int) -> list[Float[Tensor, "row pos d_model"]]:
        """Return what the MLP of a layer reads, or each of its parts."""
        graph = self.model.graph
        at, n_senders = graph.mlp_receivers(layer), graph.n_senders_before_mlp(layer)
        read = self._read(at, n_senders, layer, own_layer=not graph.parallel_attn_mlp)
        shape = (-1, self.n_pos, graph.d_model)
        return [read[:, part].reshape(shape) for part in range(read.shape[1])]

    def parts(self, layer: int) -> Sequence[Sequence[int]]:
        """Return each part of an MLP alone."""
        return [[part] for part in range(len(self.model.graph.mlp_senders_in(layer)))]

    def write_parts(
        self,
        layer: int,
        parts: Sequence[int],
        outputs: Float[Tensor, "circuit part place d_model"],
    ) -> None:
        """Take what the parts of an MLP have written, one after another."""
        self.write(self.model.graph.mlp_sender(layer) + parts[0], outputs)

    def logits_in(self) -> Float[Tensor, "circuit labelled_place d_model"]:
        """Return what the logits read."""
        graph = self.model.graph
        last = slice(len(graph.receivers) - 1, None)
        return self._read(last, len(graph.senders), graph.n_layers, own_layer=False)[:, 0]

    def _read(
        self, receivers: slice, n_senders: int, layer: int, *, own_layer: bool
    ) -> Float[Tensor, "circuit receiver place d_model"]:
        bias = attention_bias_before(self.model, layer, own_layer=own_layer)
        base = self.ablated[:n_senders].sum(0) + bias
        weights = self.weights[:, receivers]
        read, first = base.flatten().expand(*weights.shape[:2], -1), 0
        for change in self.changes:
            if first == n_senders:  # in parallel blocks the own heads are written, but not read
                break
            end = first + change.shape[1]
            # [circuit, receiver, sender] @ [circuit, sender, place * d_model]
            read = torch.baddbmm(read, weights[:, :, first:end], change.flatten(2))
            first = end
        return read.view(*weights.shape[:2], *base.shape)


def _per_receiver(
    attention: Attention,
) -> tuple[Float[Tensor, "receiver d_model d_head"], Float[Tensor, "receiver d_head"]]:
    """Return W' and c' of a layer's receivers: q, k and v of each head, repeated within groups."""
    numbers = {read: attention.n_read_heads(read) for read in READS}
    pairs = [(read, attention.n_heads // n) for read, n in numbers.items() if n]
    weight = torch.cat([attention.weight(r).repeat_interleave(n, 0) for r, n in pairs])
    return weight, torch.cat([attention.bias(r).repeat_interleave(n, 0) for r, n in pairs])
