"""One forward pass of many circuits: who writes when, and what is made of what is read.

    head h of layer l   writes  z W_O,  z from the q, k and v that its own three receivers read
    MLP of layer l      writes  mlp(what its receiver reads)
    the logits          are     unembed(what their receiver reads)

What a receiver reads of the senders before it is for the circuits to say, and two kinds of circuits
differ in nothing else: a kept edge carries everything and any other nothing
(interventions/kept_reads.py), or each edge carries a share (gradients/soft_circuit.py). The walk
asks in the order of the model and hands over what was written.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.model import SubjectModel
from circuitkit.model.context import Context
from circuitkit.model.recording import by_head
from circuitkit.model.runs import Run


class CircuitReads(ABC):
    """What the receivers of many circuits read, given what the senders before them wrote.

    A place is a (pair, pos), a row a (circuit, pair). How many circuits are under way may grow
    from one reading to the next (those that read the same until then are run as one).
    """

    n_pos: int
    """The number of positions of a row; of labelled ones behind `keep_labelled`."""

    context: Context
    """The context of the rows that are under way."""

    model: SubjectModel

    @abstractmethod
    def reach(self, layer: int, what: str) -> bool:
        """Begin with the `heads` or the `mlp` of a layer; return whether they must be run.

        They need not where no circuit lets anything live into them. What they write is then that of
        the fully ablated run, and is taken already.
        """

    @abstractmethod
    def projections(self, layer: int) -> Float[Tensor, "circuit_place receiver d_head"]:
        """Return q, k and v of every head of a layer, each from what its own receiver reads."""

    @abstractmethod
    def mlp_in(self, layer: int) -> Sequence[Float[Tensor, "row pos d_model"]]:
        """Return what the MLP of a layer reads, or what each group of its parts reads alone."""

    def parts(self, layer: int) -> Sequence[Sequence[int]]:
        """Return the groups of parts of an MLP that read alike, of those that read alone.

        Each by its number among the senders that the MLP is. Groups as `mlp_in` has them.
        """
        return [range(len(self.model.graph.mlp_senders_in(layer)))]

    @abstractmethod
    def logits_in(self) -> Float[Tensor, "circuit labelled_place d_model"]:
        """Return what the logits read, of all circuits; behind `keep_labelled`."""

    @abstractmethod
    def write(self, first: int, outputs: Float[Tensor, "circuit sender place d_model"]) -> None:
        """Take what the senders from number `first` on have written."""

    @abstractmethod
    def write_parts(
        self,
        layer: int,
        parts: Sequence[int],
        outputs: Float[Tensor, "circuit part place d_model"],
    ) -> None:
        """Take what some parts of an MLP have written, by their numbers among its senders."""

    @abstractmethod
    def keep_labelled(self) -> None:
        """Forget all places but the labelled: behind the last heads nothing else is read."""


def circuit_logits(
    model: SubjectModel, run: Run, reads: CircuitReads, first: int = 0
) -> Float[Tensor, "circuit pair *label vocab"]:
    """Return the logits that are read, for each circuit and pair.

    `run` gives the prompts, and keys and values in front of them. What is written in front of layer
    `first` must be known to `reads` already.
    """
    n_layers = model.graph.n_layers
    if first == 0:
        entering = run.entering.flatten(0, 1)  # [pair, pos, d_model] to [place, d_model]
        reads.write(0, entering.expand(1, 1, *entering.shape))
    for layer in range(first, n_layers):
        _write_heads(model, run, reads, layer)
        if layer < n_layers - 1:
            _write_mlp(model, run, reads, layer)
    reads.keep_labelled()
    if first < n_layers:
        _write_mlp(model, run, reads, n_layers - 1)
    read = reads.logits_in()
    logits = model.unembed(read.flatten(0, 1))
    n_pairs, n_labels = run.context.labelled.shape
    shape = (n_pairs,) if n_labels == 1 else (n_pairs, n_labels)
    return logits.reshape(len(read), *shape, -1)


def _write_heads(model: SubjectModel, run: Run, reads: CircuitReads, layer: int) -> None:
    if not reads.reach(layer, "heads"):
        return
    attention = model.layers[layer].attention
    # [circuit * place, receiver, d_head] to three times [row, pos, head, d_head]
    projections = reads.projections(layer).unflatten(0, (-1, reads.n_pos))
    q, k, v = attention.by_read(projections)
    n_circuits = len(q) // len(run.entering)
    past = run.past[layer].repeated(n_circuits) if run.past else None
    z, _ = attention.attend(q, k, v, reads.context.layers[layer], past=past)
    # one product for each head over all rows: no W_O is copied for each circuit
    written = torch.bmm(by_head(attention.written(z)), attention.w_out)
    by_circuit = written.unflatten(1, (n_circuits, -1)).transpose(0, 1)
    reads.write(model.graph.head_sender(layer), by_circuit)


def _write_mlp(model: SubjectModel, run: Run, reads: CircuitReads, layer: int) -> None:
    graph, block = model.graph, model.layers[layer]
    if block.mlp is None or not reads.reach(layer, "mlp"):
        return
    units, first = graph.units_in(layer), graph.mlp_sender(layer)
    if units is None or not units.read_alone or block.units is None:
        [read] = reads.mlp_in(layer)
        reads.write(first, _by_circuit(block.mlp_writes(read), run))
        return
    for parts, read in zip(reads.parts(layer), reads.mlp_in(layer), strict=True):
        written = block.units.writes_of(block.mlp, read, parts)
        reads.write_parts(layer, parts, _by_circuit(written, run))


def _by_circuit(
    written: Float[Tensor, "part row pos d_model"], run: Run
) -> Float[Tensor, "circuit part place d_model"]:
    n_circuits = written.shape[1] // len(run.entering)
    shape = (len(written), n_circuits, -1, written.shape[-1])
    return written.reshape(shape).transpose(0, 1)
