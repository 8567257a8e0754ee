"""Where a run begins: on whole prompts, or behind positions that were run before.

In a causal model the positions in front of the first changed token are the same in both runs of a
pair. They are run once, and lend their keys and values to every run that starts behind them. So
nothing in front is computed twice, and nothing there can differ, not even by rounding.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitkit.model.attention import KeysValues
from circuitkit.model.context import Context
from circuitkit.model.forward import Sources, Start, run_layers
from circuitkit.model.subject import SubjectModel
from circuitkit.prompts.batch import PromptBatch
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.devices import sent

WORTHWHILE = 1 / 8  # of all positions


@dataclass(frozen=True)
class Run:
    """A run of `model` that can be repeated: what enters block 0 from position `start` on.

    `stand_ins` are there in the run of corrupted prompts whose clean ones have other lengths.
    """

    entering: Float[Tensor, "row pos d_model"]
    context: Context
    mask: Bool[Tensor, "row pos"]
    start: int = 0
    past: tuple[KeysValues, ...] = field(default=(), repr=False)
    stand_ins: Float[Tensor, "row pos pos"] | None = field(default=None, repr=False)

    def at_clean(self, x: Float[Tensor, "row pos ..."]) -> Float[Tensor, "row pos ..."]:
        """Return what stands for each position of the clean prompts, of an activation of this run.

        Exact where one token stands for one: it is multiplied by 1.
        """
        if self.stand_ins is None:
            return x
        return torch.einsum("rpq,rq...->rp...", self.stand_ins.to(x), x)

    def sources(self) -> Sources:
        """Return the keys and values of earlier positions, ready for one pass."""
        return Sources(self.past)


def shared_positions(model: SubjectModel, pairs: PromptPairs) -> int:
    """Return how many first positions are equal in the clean and corrupted prompts of all pairs.

    At most as many as leave every labelled position to be run. None if a position sees later ones,
    if a layer cannot lend what it kept, or if they are so few that a run of their own would cost
    more than it saves.
    """
    if not model.can_lend or not pairs.is_level:
        return 0
    differs = (pairs.clean != pairs.corrupted).any(0).nonzero()
    first = int(differs[0]) if len(differs) else pairs.clean.shape[1]
    n_shared = min(first, pairs.first_read)
    return n_shared if n_shared >= WORTHWHILE * pairs.clean.shape[1] else 0


def whole_run(model: SubjectModel, batch: PromptBatch) -> Run:
    """Return a run of the prompts from their first position."""
    entering, context = model.prepare(batch)
    return Run(entering, context, sent(batch.mask, model.device), stand_ins=batch.stand_ins)


def behind(model: SubjectModel, run: Run, start: int) -> Run:
    """Return the same run with the positions before `start` run already."""
    if start == 0:
        return run
    kept = Sources()
    until = run.context.until_position(start)
    with torch.no_grad():
        run_layers(model.layers, until.layers, run.entering[:, :start], Start(sources=kept))
    return _starting(run, start, tuple(kept.fresh))


def labelled_places(run: Run) -> Int[Tensor, " row_and_label"]:
    """Return the labelled places, row by row, a place being a (row, pos) counted as one axis."""
    labelled, (n_rows, n_pos) = run.context.labelled, run.entering.shape[:2]
    starts = torch.arange(n_rows, device=labelled.device) * n_pos
    return (starts.unsqueeze(1) + labelled).flatten()


def like(run: Run, model: SubjectModel, batch: PromptBatch) -> Run:
    """Return the run of other prompts that are equal before `run.start`, and as long."""
    entering, context = model.prepare(batch)
    other = Run(entering, context, sent(batch.mask, model.device), stand_ins=batch.stand_ins)
    return _starting(other, run.start, run.past) if run.start else other


def _starting(run: Run, start: int, past: tuple[KeysValues, ...]) -> Run:
    return Run(
        run.entering[:, start:],
        run.context.from_position(start),
        run.mask[:, start:],
        start,
        past,
    )
