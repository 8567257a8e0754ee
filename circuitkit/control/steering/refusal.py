"""A refusal direction by selection, and what it does on other prompts.

    score        log-odds of the refusal tokens behind the prompt's last token (effects.py)
    kept         harmful prompts with score > 0, harmless ones with score < 0
    candidates   mean(x | harmful) - mean(x | harmless), x the stream in front of each layer, at
                 each of the last tokens; from training prompts. The rest is from validation prompts
    bypass       mean score of harmful prompts, the direction ablated at every write: low is good
    induce       mean score of harmless prompts, the direction added at every position in front of
                 its layer: above 0 it makes the model refuse
    KL           mean KL(model || ablated) of harmless prompts, in nats: what ablation changes
    chosen       lowest bypass of those with  induce >= 0,  KL <= MAX_KL,  layer < floor(0.8 L)

Arditi et al. 2024 (arXiv:2406.11717, section 2 and appendix C). Late layers are left out because a
direction there may be no more than the refusal tokens' own unembedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import floor

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.control.steering.classes import HooksOf, TwoClasses, activations_at_ends, logits_of
from circuitkit.control.steering.effects import kl_divergence, log_odds
from circuitkit.control.steering.found import vector_of_means
from circuitkit.control.steering.uses import ablated, added
from circuitkit.control.steering.vector import SteeringVector
from circuitkit.errors import MethodError, PromptError
from circuitkit.model import SubjectModel, hook_points
from circuitkit.model.forward import NO_HOOKS, Hooks
from circuitkit.work.progress import Progress, silent

MAX_KL = 0.1
LAYER_SHARE = 0.8
MIN_LENGTH = 1e-6  # of a difference, as a share of what it is a difference of
MIN_PROMPTS = 3  # of each class, in training and in validation


@dataclass(frozen=True)
class Candidate:
    """One direction, what it did to validation prompts, and why it is out (empty: it is not)."""

    layer: int
    end: int
    bypass: float
    induce: float
    kl: float
    out: str = ""


@dataclass(frozen=True)
class Selection:
    """All candidates, and the direction that was chosen, with the last token that it was read at.

    `n_dropped` prompts were left out: harmful ones not refused, or harmless ones refused.
    """

    vector: SteeringVector
    end: int
    candidates: tuple[Candidate, ...]
    n_dropped: int

    @property
    def chosen(self) -> Candidate:
        """The candidate that was chosen."""
        place = self.vector.point.layer, self.end
        return next(each for each in self.candidates if (each.layer, each.end) == place)


@dataclass(frozen=True)
class Refusing:
    """Which tokens begin a refusal, and which places are candidates.

    `ends` counts last tokens: a chat template ends an instruction with several. No `layers`: all
    below the limit.
    """

    tokens: tuple[int, ...]
    ends: int = 1
    layers: tuple[int, ...] = ()
    max_kl: float = MAX_KL

    def scores(
        self, model: SubjectModel, prompts: TwoClasses, hooks: Hooks | HooksOf = NO_HOOKS
    ) -> Float[Tensor, " prompt"]:
        """Return the refusal score of each prompt."""
        return log_odds(self.tokens, logits_of(model, prompts, hooks))


def layer_limit(model: SubjectModel) -> int:
    """Return the first layer that is too late."""
    return floor(LAYER_SHARE * model.graph.n_layers)


def select_refusal(
    model: SubjectModel,
    training: TwoClasses,
    validation: TwoClasses,
    refusing: Refusing,
    *,
    progress: Progress = silent,
) -> Selection:
    """Return the refusal direction; the class that is true is that of harmful prompts.

    Raises:
        PromptError: one class only, or too few that are refused or answered as they should.
        MethodError: a layer beyond the limit, or no candidate that passes.
    """
    layers = _layers(model, refusing)
    kept = [_as_meant(model, part, refusing) for part in (training, validation)]
    candidates, vectors = [], []
    ends = [-1 - number for number in range(refusing.ends)]
    points = [hook_points.resid_pre(layer) for layer in layers]
    x = activations_at_ends(model, kept[0], points, ends)
    labels = np.array(kept[0].labels)
    trial = _Trial(model, kept[1], refusing)
    for number, (point, at_ends) in enumerate(zip(points, x, strict=True)):
        progress(number, len(points))
        for end, found in zip(ends, at_ends, strict=True):
            if _is_alike(found, labels):
                continue
            vector = vector_of_means(model, found, labels, point, end)
            candidates.append(trial.candidate(vector, end))
            vectors.append(vector)
    progress(len(points), len(points))
    best = lowest_bypass(candidates, refusing)
    n_dropped = len(training) + len(validation) - sum(map(len, kept))
    return Selection(vectors[best], candidates[best].end, tuple(candidates), n_dropped)


def _layers(model: SubjectModel, refusing: Refusing) -> Sequence[int]:
    limit = layer_limit(model)
    wrong = [layer for layer in refusing.layers if not 0 <= layer < limit]
    if wrong:
        raise MethodError(
            f"refusal: layers must be below {limit}, {LAYER_SHARE:g} of the {model.graph.n_layers} "
            f"of {model.name!r}, got {wrong[0]}. So late a direction may be no more than the "
            "refusal's own token. Choose earlier layers."
        )
    return refusing.layers or range(limit)


def _as_meant(model: SubjectModel, prompts: TwoClasses, refusing: Refusing) -> TwoClasses:
    """Return the prompts that the model refuses, or answers, as their class says."""
    prompts.require_both("refusal")
    scores = refusing.scores(model, prompts)
    found = prompts.select(
        [
            row
            for row, (score, label) in enumerate(zip(scores.tolist(), prompts.labels, strict=True))
            if (score > 0) == label and score != 0
        ]
    )
    n_harmful = sum(found.labels)
    if min(n_harmful, len(found) - n_harmful) < MIN_PROMPTS:
        raise PromptError(
            f"refusal: at least {MIN_PROMPTS} harmful prompts must be refused and as many harmless "
            f"ones answered, got {n_harmful} of {sum(prompts.labels)} and "
            f"{len(found) - n_harmful} of {len(prompts) - sum(prompts.labels)}. The model "
            f"{model.name!r} has no refusal to be found on these. Check the refusal tokens, or use "
            "other prompts."
        )
    return found


def _is_alike(x: Float[Tensor, "prompt d_model"], labels: np.ndarray) -> bool:
    """Return whether the classes do not differ at all at a place."""
    chosen = torch.from_numpy(labels)
    true, false = x[chosen].mean(0), x[~chosen].mean(0)
    return bool((true - false).norm() <= MIN_LENGTH * true.norm())


class _Trial:
    """Validation prompts on which candidates are tried."""

    def __init__(self, model: SubjectModel, prompts: TwoClasses, refusing: Refusing) -> None:
        self.model, self.refusing = model, refusing
        self.harmful, self.harmless = prompts.of(True), prompts.of(False)
        self.logits = logits_of(model, self.harmless)

    def candidate(self, vector: SteeringVector, end: int) -> Candidate:
        """Return what a direction does."""
        model, scores = self.model, partial(self.refusing.scores, self.model)
        without = ablated(model, vector)
        bypass = float(scores(self.harmful, without).mean())
        induce = float(scores(self.harmless, added(model, vector, 1.0)).mean())
        kl = float(kl_divergence(self.logits, logits_of(model, self.harmless, without)).mean())
        out = "does not induce" if induce < 0 else ""
        out = f"KL above {self.refusing.max_kl:g}" if kl > self.refusing.max_kl else out
        return Candidate(vector.point.layer, end, bypass, induce, kl, out)


def lowest_bypass(candidates: Sequence[Candidate], refusing: Refusing) -> int:
    """Return the number of the candidate that is chosen.

    Raises:
        MethodError: none passes.
    """
    passed = [number for number, each in enumerate(candidates) if not each.out]
    if not passed:
        why = ", ".join(sorted({each.out for each in candidates})) or "no difference anywhere"
        raise MethodError(
            f"refusal: one of {len(candidates)} candidates must induce refusal with a KL of at "
            f"most {refusing.max_kl:g}, got none ({why}). No single direction was found that "
            "decides. Give more prompts, more --ends, or name the refusal tokens better."
        )
    return min(passed, key=lambda number: candidates[number].bypass)
