"""Edits of rank one: a layer's output projection is made to map one key to one value.

W' = W + u (v* - k W - b) / (k . u)^T        u = C^-1 k* / |C^-1 k*|

k*  mean of the subject's keys in the bare prompt and behind prefixes
v*  what the layer is to write there (value.py)

r-rome   k is k* throughout:  k* W' + b = v*           Gupta et al. 2024, arXiv:2403.07175
rome     k is the key of the bare prompt, u of k*:  k W' + b = v*   Meng et al. 2022, as their
         code has it; where k and u are nearly at right angles, it divides by almost nothing
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.control.editing.edit import MAX_GROWTH, Edit, edit_of, finite
from circuitkit.control.editing.facts import Fact
from circuitkit.control.editing.projection import (
    Projection,
    changed_output,
    keys_of,
    projection_of,
)
from circuitkit.control.editing.second_moment import SecondMoment
from circuitkit.control.editing.value import (
    Descent,
    Readings,
    Runner,
    find_delta,
    readings,
    require_within_clamp,
)
from circuitkit.control.editing.writing import prefixes
from circuitkit.errors import MethodError
from circuitkit.model import SubjectModel

ROME, R_ROME = "rome", "r-rome"
FORMS = (R_ROME, ROME)
N_PREFIXES = 20


@dataclass(frozen=True)
class Association:
    """What one fact asks of one layer: its keys, what is written unedited, and what is to be."""

    mean_key: Float[Tensor, " d_mlp"]  # k*
    bare_key: Float[Tensor, " d_mlp"]
    written: Float[Tensor, " d_model"]  # v0, of the bare prompt
    value: Float[Tensor, " d_model"]  # v*
    losses: tuple[float, ...] = ()


def edit_rank_one(
    model: SubjectModel,
    fact: Fact,
    moment: SecondMoment,
    *,
    form: str = R_ROME,
    descent: Descent | None = None,
    seed: int = 0,
) -> Edit:
    """Return the edit of one fact in the layer that `moment` is of.

    Raises:
        MethodError: an unknown form, statistics of another model, or a change beyond its clamp.
        PromptError, AnswerError: the fact cannot be read, or has answers of several tokens.
    """
    require_form(form)
    moment.require_of(model, moment.layer)
    found = associate(model, fact, moment.layer, descent=descent or Descent(), seed=seed)
    projection = projection_of(model, moment.layer)
    change = rank_one_change(projection, found, moment, form=form)
    return edit_of(
        model,
        form,
        [fact],
        {moment.layer: change},
        losses=found.losses,
        max_growth=MAX_GROWTH,
    )


def require_form(form: str) -> None:
    """Refuse a form of the edit that is not known.

    Raises:
        MethodError: it is not.
    """
    if form not in FORMS:
        raise MethodError(
            f"edit: the form must be one of {', '.join(FORMS)}, got {form!r}. It says which keys "
            "are used. Choose one."
        )


def associate(
    model: SubjectModel, fact: Fact, layer: int, *, descent: Descent, seed: int
) -> Association:
    """Return the keys of a fact in a layer, and the value found for it."""
    projection = projection_of(model, layer)
    before = prefixes(model, N_PREFIXES, seed=seed, like=fact.prompt)
    read = readings(model, fact, before)
    keys = subject_keys(model, read, layer)
    written = projection.values(keys[0])
    with model.frozen():
        delta, losses = find_delta(
            read, written.to(projection.weight), _runner(model, projection), descent
        )
    require_within_clamp(delta, written, descent.clamp)
    return Association(keys.mean(0), keys[0], written, written + delta.double(), tuple(losses))


def subject_keys(model: SubjectModel, read: Readings, layer: int) -> Float[Tensor, "row d_mlp"]:
    """Return the keys of the subject in each prompt, the bare one first, in float64."""
    keys = keys_of(model, read.batch, (layer,))[0]
    return keys[torch.arange(len(keys)), read.at].double()[:-1]


def rank_one_change(
    projection: Projection, found: Association, moment: SecondMoment, *, form: str
) -> Float[Tensor, "d_mlp d_model"]:
    """Return W' - W, in float64."""
    u = moment.solve(found.mean_key.cpu().unsqueeze(0))[0].to(found.mean_key.device)
    u = u / u.norm()
    key = found.mean_key if form == R_ROME else found.bare_key
    left = found.value - projection.values(key)
    return finite(torch.outer(u, left / (key @ u)), form)


def _runner(model: SubjectModel, projection: Projection) -> Runner:
    def run(batch, at, delta):  # type: ignore[no-untyped-def]
        rows = torch.arange(len(at))

        def add(neurons: Tensor, output: Tensor) -> Tensor:
            extra = torch.zeros_like(output)
            extra[rows, at] = delta
            return output + extra

        with changed_output(projection, add):
            return model.run(batch)

    return run
