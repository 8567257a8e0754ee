"""How much fits in memory: batch sizes from a budget in bytes. Results never depend on them."""

import psutil
import torch

from circuitkit.errors import MemoryBudgetError
from circuitkit.model import SubjectModel
from circuitkit.prompts.pairs import PromptPairs

FREE_SHARE = 0.25  # of free memory: the estimates below do not see every temporary
MAX_ROWS = 4096  # larger batches gain nothing
COMFORTABLE = 256_000_000  # bytes, on the CPU: larger batches spend their time on fresh memory
MIN_COMFORTABLE_ROWS = 32


def free_bytes(model: SubjectModel) -> int:
    """Return the default budget: a share of what is free where the model is."""
    if model.device.type == "cuda":
        # what torch keeps for itself and does not use is free too, or batches would shrink
        kept = torch.cuda.memory_reserved(model.device) - torch.cuda.memory_allocated(model.device)
        return int(FREE_SHARE * (torch.cuda.mem_get_info(model.device)[0] + kept))
    return int(FREE_SHARE * psutil.virtual_memory().available)


def bytes_per_pair(model: SubjectModel, n_pos: int) -> int:
    """Return the estimated peak of scoring edges or running a circuit on one more pair.

    Two tensors [sender, pos, d_model], the activations of every layer (about 16 d_model each),
    one layer's receivers [3 head, pos, d_model] three times, and attention patterns.
    """
    graph = model.graph
    itemsize = torch.finfo(model.dtype).bits // 8
    wide = 2 * len(graph.senders) + 16 * graph.n_layers + 9 * graph.n_heads
    patterns = 4 * graph.n_layers * graph.n_heads * n_pos * n_pos
    return itemsize * (n_pos * graph.d_model * wide + patterns)


def pairs_per_batch(model: SubjectModel, pairs: PromptPairs, memory: int | None) -> int:
    """Return how many pairs fit into `memory` bytes (None: a share of what is free).

    Raises:
        MemoryBudgetError: not even one.
    """
    budget = free_bytes(model) if memory is None else memory
    each = bytes_per_pair(model, pairs.clean.shape[1])
    if each > budget:
        raise MemoryBudgetError(
            f"memory: one pair of {pairs.clean.shape[1]} tokens on model {model.name!r} needs "
            f"about {each / 1e9:.3g} GB, got a budget of {budget / 1e9:.3g} GB. The work cannot "
            f"start. Use --memory {each / 1e9 * 1.1:.2g}GB or more, or shorter prompts."
        )
    return max(1, min(len(pairs), budget // each, MAX_ROWS))


def circuits_per_batch(
    model: SubjectModel, pairs: PromptPairs, n_circuits: int, memory: int | None
) -> tuple[int, int]:
    """Return how many circuits and how many pairs to run at once.

    Raises:
        MemoryBudgetError: not even one circuit on one pair fits.
    """
    budget = free_bytes(model) if memory is None else memory
    n_pairs = pairs_per_batch(model, pairs, budget)
    each = bytes_per_pair(model, pairs.clean.shape[1])
    rows = max(1, min(budget // each, comfortable_rows(model, each)))
    n_pairs = min(n_pairs, rows)
    return max(1, min(n_circuits, rows // n_pairs)), n_pairs


def rows_per_batch(model: SubjectModel, pairs: PromptPairs, memory: int | None) -> tuple[int, int]:
    """Return how many pairs to take at a time, and how many rows to run at once.

    Many changes of one pair make many rows. Batches that are comfortable are preferred.

    Raises:
        MemoryBudgetError: not even one pair fits.
    """
    budget = free_bytes(model) if memory is None else memory
    each = bytes_per_pair(model, pairs.clean.shape[1])
    n_pairs = pairs_per_batch(model, pairs, budget)
    comfortable = comfortable_rows(model, bytes_per_row(model, pairs))
    return n_pairs, max(n_pairs, min(budget // each, comfortable))


def comfortable_rows(model: SubjectModel, each: int) -> int:
    """Return how many rows of so many bytes are worth running at once, if they fit.

    A GPU wants many: small batches leave it waiting for the host. Its memory is never fresh.
    """
    if model.device.type == "cuda":
        return MAX_ROWS
    return min(MAX_ROWS, max(MIN_COMFORTABLE_ROWS, COMFORTABLE // each))


def bytes_per_row(model: SubjectModel, pairs: PromptPairs) -> int:
    """Return the estimated memory of one prompt in a run that keeps nothing: one layer's worth."""
    itemsize = torch.finfo(model.dtype).bits // 8
    n_pos = pairs.clean.shape[1]
    patterns = 3 * model.graph.n_heads * n_pos * n_pos
    return itemsize * (n_pos * model.graph.d_model * 24 + patterns)
