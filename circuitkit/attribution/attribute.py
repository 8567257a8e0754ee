"""The attribution graph of one prompt.

1  run the model, with its transcoders beside it
2  edges into the logits that are to be explained
3  edges into features: all that are active, or as many as asked for, those of most influence
   by the edges that are known, in turns
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.attribution.backward import LinearPass, active_features
from circuitkit.attribution.graph import AttributionGraph, selected_rows
from circuitkit.attribution.influence import partial_influence
from circuitkit.attribution.recorded import RecordedPrompt, record_prompt
from circuitkit.attribution.targets import LogitTargets, likely_tokens
from circuitkit.attribution.transcoders import Transcoders
from circuitkit.errors import MemoryBudgetError, MethodError
from circuitkit.interventions.budget import free_bytes
from circuitkit.model.subject import SubjectModel

TURN = 256  # features that are taken back before influence is asked again
COPIES = 4  # of the edges, that are in memory at once while a graph is scored


@dataclass(frozen=True)
class GraphSettings:
    """How a graph is made.

    `first`: positions before it have no features and no error. `with_constant`: whether biases and
    positions are a node of influence. `most_features`: how many features are targets (None: all),
    chosen `turn` at a time. `memory`: bytes to use at most (None: what is free).
    """

    first: int = 1
    with_constant: bool = False
    most_features: int | None = None
    turn: int = TURN
    memory: int | None = None


DEFAULT_SETTINGS = GraphSettings()


def attribute(
    model: SubjectModel,
    tokens: Sequence[int],
    transcoders: Transcoders,
    settings: GraphSettings = DEFAULT_SETTINGS,
    *,
    targets: Callable[[RecordedPrompt], LogitTargets] = likely_tokens,
) -> AttributionGraph:
    """Return the attribution graph of a prompt, given as token ids.

    `targets` says which logits are explained, given the run.

    Raises:
        ModelError: the transcoders are not of this model.
        DecompositionError: the model is not linear when patterns and norms are held.
        PromptError: the prompt is empty, or longer than the model's context.
        MethodError: fewer than one feature is asked for.
        MemoryBudgetError: the edges do not fit; the message says how many features would.
    """
    asked = settings.most_features
    if settings.turn < 1 or (asked is not None and asked < 1):
        raise MethodError(
            f"attribution: most_features and turn must be at least 1, got {asked} and "
            f"{settings.turn}. No edge would lead to a feature. Leave them out for all features."
        )
    run = record_prompt(model, tokens, transcoders, first=settings.first)
    active, logits = active_features(run), targets(run)
    n = len(active) if asked is None else min(asked, len(active))
    linear = LinearPass(run, active)
    _require_memory(linear, n, len(logits), settings)
    logit_rows = linear.rows(linear.logit_targets(logits.vectors))
    if n == len(active):
        chosen = torch.arange(n, device=active.index.device)
        feature_rows = linear.rows(linear.feature_targets(chosen))
    else:
        known = _Known(logit_rows, logits.weights, settings)
        chosen, feature_rows = _most_influential(linear, known, n)
    rows = selected_rows(torch.cat([feature_rows, logit_rows]), chosen, len(active))
    return AttributionGraph(run, active, chosen, logits, rows, settings.with_constant)


@dataclass(frozen=True)
class _Known:
    """The edges into the logits, the weight of each, and how further ones are chosen."""

    rows: Float[Tensor, "logit source"]
    weights: Float[Tensor, " logit"]
    settings: GraphSettings


def _most_influential(
    linear: LinearPass, known: _Known, n: int
) -> tuple[Int[Tensor, " feature"], Float[Tensor, "feature source"]]:
    """Return which `n` features are chosen, in order, and the edges into them."""
    n_active, n_logits = len(linear.active), len(known.weights)
    rows, found = known.rows, torch.zeros(0, dtype=torch.long, device=known.rows.device)
    width = linear.n_sources + int(known.settings.with_constant)
    while len(found) < n:
        at = torch.cat([found.new_full((n_logits,), -1), found])
        weights = torch.cat([known.weights, known.weights.new_zeros(len(found))])
        influence = partial_influence(rows[:, :width], at, weights)[:n_active]
        influence[found] = -1
        turn = min(known.settings.turn, n - len(found))
        following = influence.argsort(descending=True, stable=True)[:turn]
        rows = torch.cat([rows, linear.rows(linear.feature_targets(following))])
        found = torch.cat([found, following])
    order = found.argsort()
    return found[order], rows[n_logits:][order]


def _require_memory(linear: LinearPass, n: int, n_logits: int, settings: GraphSettings) -> None:
    free = free_bytes(linear.run.model) if settings.memory is None else settings.memory
    others = linear.n_sources - len(linear.active) + n_logits
    size = linear.run.final.element_size() * COPIES
    if (n + others) ** 2 * size <= free:
        return
    fits = max(int((free / size) ** 0.5) - others, 0)
    raise MemoryBudgetError(
        f"attribution: the edges between {n} features of {linear.run.n_pos} tokens must fit in "
        f"{free / 1e9:.3g} GB, got {(n + others) ** 2 * size / 1e9:.3g} GB. There would be no "
        f"room for the matrix. {fits} features fit: ask for at most so many "
        "(most_features), or give a shorter prompt."
    )
