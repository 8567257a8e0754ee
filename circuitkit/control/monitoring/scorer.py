"""A scorer: one direction, one place, one threshold, and how well it does on topics held out.

    score      x . u      x the residual stream in front of a layer, at the prompt's last token
    alarm      score > threshold, which at most 1 % of the false training prompts exceed

Kept as scorer.safetensors (`direction`, of length 1) beside scorer.json. Other tools find x as
`hidden_states[layer]` of a Hugging Face model: examples/apply_scorer.py is all that it takes.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cattrs
import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from circuitkit.control.monitoring.measures import Measured, measured, threshold_of
from circuitkit.control.steering.classes import TwoClasses, activations_at_ends
from circuitkit.control.steering.found import difference_of_means, probe_direction
from circuitkit.control.steering.vector import SteeringVector
from circuitkit.errors import MethodError, PromptError
from circuitkit.model import SubjectModel, hook_points
from circuitkit.work.files import write_together
from circuitkit.work.reading import DAMAGED, parse_json, read_text_file
from circuitkit.work.text import error_text, shown

SCHEMA = "circuitkit-scorer-1"
WEIGHTS, SAID = "scorer.safetensors", "scorer.json"
KINDS = ("difference", "probe")


@dataclass(frozen=True, eq=False)
class Scorer:
    """A scorer and what is known of it. `bos` is the token that text begins with, if any."""

    vector: SteeringVector
    threshold: float
    bos: int | None
    trained_on: tuple[str, ...]
    held_out: tuple[str, ...]
    measured: Measured

    @property
    def layer(self) -> int:
        """The layer in front of which it reads."""
        return self.vector.point.layer

    def scores(self, model: SubjectModel, prompts: TwoClasses) -> Float[Tensor, " prompt"]:
        """Return the score of each prompt, in float64.

        Raises:
            MethodError, GraphError, ModelError: the scorer is of another model.
        """
        self.vector.require_fits(model)
        return scores_along(model, prompts, self.vector)


def scores_along(
    model: SubjectModel, prompts: TwoClasses, vector: SteeringVector
) -> Float[Tensor, " prompt"]:
    """Return the part of each prompt's last token along a direction."""
    x = activations_at_ends(model, prompts, [vector.point])[0, 0]
    return x @ vector.unit


def fit_scorer(
    model: SubjectModel,
    prompts: TwoClasses,
    held_out: Sequence[str],
    layer: int,
    *,
    kind: str = "difference",
    seed: int = 0,
) -> Scorer:
    """Return a scorer of some topics, measured on others.

    Raises:
        PromptError: no topics are held out, they are not there, or a class is missing.
        MethodError: no such kind, or a model that keeps its stream in another unit.
    """
    if kind not in KINDS:
        raise MethodError(
            f"scorer: must be one of {', '.join(KINDS)}, got {kind!r}. It says how the direction "
            "is found. Choose one."
        )
    training, testing = split_by_topic(prompts, held_out)
    point = hook_points.resid_pre(layer)
    if kind == "difference":
        vector = difference_of_means(model, training, point)
    else:
        vector = probe_direction(model, training, testing, point, seed=seed).vector
    return scorer_of(model, vector, training, testing, seed=seed)


def scorer_of(
    model: SubjectModel,
    vector: SteeringVector,
    training: TwoClasses,
    testing: TwoClasses,
    *,
    seed: int = 0,
) -> Scorer:
    """Return a direction as a scorer: its threshold by some topics, its measures on others.

    Raises:
        PromptError: a class is missing, or a topic is in both.
        MethodError: the direction is not of the stream in front of a layer.
        GraphError, ModelError: it is of another model.
    """
    vector.require_fits(model)
    _require_readable(model, vector)
    for part, what in ((training, "training"), (testing, "held-out")):
        part.require_both(f"scorer, {what} topics")
    shared = sorted(set(training.topics) & set(testing.topics))
    if shared or "" in training.topics + testing.topics:
        raise _no_topics(f"the topic {shared[0]!r} in both" if shared else "prompts without one")
    if set(training.ids) & set(testing.ids):
        raise PromptError(
            "scorer: no prompt may stand in a topic that is held out and in another, got "
            f"{model.text_of(min(set(training.ids) & set(testing.ids)))!r} in both. It would be "
            "measured on what made it. Leave it out of one of them."
        )
    false = scores_along(model, training.of(False), vector).numpy()
    threshold = threshold_of(false)
    found = scores_along(model, testing, vector).numpy()
    return Scorer(
        vector,
        threshold,
        _beginning(model, training.ids + testing.ids),
        tuple(sorted(set(training.topics))),
        tuple(sorted(set(testing.topics))),
        measured(found, np.array(testing.labels), testing.topics, threshold, seed),
    )


def _beginning(model: SubjectModel, prompts: Sequence[tuple[int, ...]]) -> int | None:
    """Return the beginning-of-sequence token if every prompt begins with it, None if none does."""
    bos = getattr(model.tokenizer, "bos_token_id", None)
    n_begun = sum(ids[0] == bos for ids in prompts)
    if bos is None or n_begun == 0:
        return None
    if n_begun < len(prompts):
        raise PromptError(
            f"scorer: all prompts or none must begin with the BOS token, got {n_begun} of "
            f"{len(prompts)}. Other tools could not tell which do. Use --bos always or never."
        )
    return int(bos)


def split_by_topic(prompts: TwoClasses, held_out: Sequence[str]) -> tuple[TwoClasses, TwoClasses]:
    """Return the prompts of the other topics, and those of the topics that are held out.

    Raises:
        PromptError: none is held out or all are, one is not there, or a prompt has no topic.
    """
    topics = sorted(set(prompts.topics))
    unknown = sorted(set(held_out) - set(topics))
    if not held_out or unknown or "" in topics or set(held_out) == set(topics):
        got = "none" if not held_out else "all of them"
        got = f"{unknown[0]!r}, which no prompt has" if unknown else got
        raise _no_topics("prompts without a topic" if "" in topics else got, topics)
    training = [topic for topic in topics if topic not in held_out]
    return prompts.of_topics(training), prompts.of_topics(held_out)


def _no_topics(got: str, topics: Sequence[str] = ()) -> PromptError:
    known = f" They are {', '.join(topics)}." if topics and "" not in topics else ""
    return PromptError(
        f"scorer: some topics must be held out, and others not, got {got}.{known} A score that is "
        "measured on its own topics may tell topics apart, and nothing else. Give every prompt a "
        "topic, and name those to hold out."
    )


def _require_readable(model: SubjectModel, vector: SteeringVector) -> None:
    if vector.point.site != "resid pre" or model.layers[-1].unit_behind != 1:
        got = f"{vector.point.site} {vector.point.layer}"
        got = got if vector.point.site != "resid pre" else "one that the family scales"
        raise MethodError(
            "scorer: a direction must be of the residual stream in front of a layer (resid pre), "
            f"got {got}. Other tools read it there, as hidden_states. Find one there."
        )


def save_scorer(scorer: Scorer, directory: Path) -> None:
    """Write a scorer, to be applied by any tool.

    Raises:
        OutputError: the directory cannot be written.
    """
    vector = scorer.vector
    said = {
        "schema": SCHEMA,
        "model": vector.model,
        "digest": vector.digest,
        "origin": vector.origin,
        "hidden_state": scorer.layer,
        "token": -1,
        "begins_with": scorer.bos,
        "threshold": scorer.threshold,
        "trained_on": scorer.trained_on,
        "held_out": scorer.held_out,
        "measured": asdict(scorer.measured),
    }
    files: dict[str, str | bytes] = {
        WEIGHTS: save({"direction": vector.unit.contiguous()}),
        SAID: json.dumps(said, indent=2) + "\n",
    }
    write_together(directory, files, last=SAID)


def load_scorer(directory: str | Path) -> Scorer:
    """Return a scorer that was saved.

    Raises:
        MethodError: no such directory, or files that are damaged.
    """
    directory = Path(directory)
    try:
        said: dict[str, Any] = parse_json(read_text_file(directory / SAID))
        direction = load((directory / WEIGHTS).read_bytes())["direction"]
        if said["schema"] != SCHEMA:
            raise ValueError(f"the schema {said['schema']!r}")
        point = hook_points.resid_pre(int(said["hidden_state"]))
        origin, model, digest = (str(said[key]) for key in ("origin", "model", "digest"))
        return Scorer(
            SteeringVector(direction.to(torch.float64), point, origin, model, digest),
            float(said["threshold"]),
            said["begins_with"],
            tuple(said["trained_on"]),
            tuple(said["held_out"]),
            cattrs.structure(said["measured"], Measured),
        )
    except (*DAMAGED, SafetensorError, cattrs.BaseValidationError) as error:
        raise MethodError(
            f"scorer {shown(str(directory))}: must hold {SAID} and {WEIGHTS} as they were written "
            f"together, got {error_text(error)}. A score would mean nothing. Save it again."
        ) from error
