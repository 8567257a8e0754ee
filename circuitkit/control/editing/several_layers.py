"""Edits of several facts, each spread over several layers.

    z     what the stream behind the last layer L is to be at a subject: h + delta (value.py)
    K     the facts' keys in a layer, read anew once the layers before it are changed
    R     (z - h) / (layers left, this one included), h read anew too: what is to be added

    memit        dW = (lambda C + K^T K)^-1 K^T R            Meng et al. 2023, arXiv:2210.07229
    alphaedit    dW = P (P (K^T K + Kp^T Kp) P + ridge I)^-1 P K^T R, where P projects onto the
                 directions in which the text's keys have next to nothing, and Kp are the keys of
                 earlier edits                               Fang et al. 2025, arXiv:2410.02355

Keys are rows here: K is [fact, d_mlp]. A fact's key is half that of its bare prompt, half the mean
of those behind prefixes. All is solved in float64.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.control.editing.edit import Edit, edit_of, finite
from circuitkit.control.editing.facts import Fact
from circuitkit.control.editing.projection import keys_of, projection_of
from circuitkit.control.editing.second_moment import SecondMoment
from circuitkit.control.editing.value import Descent, Readings, Runner, find_delta, readings
from circuitkit.control.editing.writing import prefixes
from circuitkit.errors import MethodError
from circuitkit.model import SubjectModel, hook_points
from circuitkit.model.changed import with_weights

MEMIT, ALPHAEDIT = "memit", "alphaedit"
METHODS = (MEMIT, ALPHAEDIT)
N_PREFIXES = 5
CLAMP = 4.0  # of |delta|, in norms of the stream; MEMIT's own 0.75 hardly moved a fact of pico
Changes = dict[int, Tensor]  # of each layer's matrix, [d_mlp, d_model]


@dataclass(frozen=True)
class Spread:
    """How an edit is spread: over `layers`, the last of which is where z is found.

    `weight` is MEMIT's lambda, what C weighs beside one fact's key. `free_share` is how much of the
    text's second moment AlphaEdit's free directions may hold; `ridge` is added to what it solves,
    and `earlier` are keys of edits made before, by layer, that it is to leave alone too.
    """

    layers: tuple[int, ...]
    method: str = MEMIT
    weight: float = 10.0
    free_share: float = 0.02
    ridge: float = 1.0
    earlier: Mapping[int, Float[Tensor, "key d_mlp"]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Require layers in order, a known method, and numbers that can be solved with."""
        if not self.layers or list(self.layers) != sorted(set(self.layers)):
            raise MethodError(
                f"edit by {self.method}: layers must be one or more, the first first, got "
                f"{self.layers}. What is left to add is shared among them. Give them in order."
            )
        if self.method not in METHODS:
            raise MethodError(
                f"edit: a method over several layers must be one of {', '.join(METHODS)}, got "
                f"{self.method!r}. It says how keys of the text are spared. Choose one."
            )
        for name in ("weight", "free_share", "ridge"):
            if not getattr(self, name) > 0:
                raise MethodError(
                    f"edit by {self.method}: {name} must be above 0, got {getattr(self, name)}. "
                    "There may be no solution without it. Raise it."
                )


def edit_over_layers(
    model: SubjectModel,
    facts: Sequence[Fact],
    moments: Mapping[int, SecondMoment],
    spread: Spread,
    *,
    descent: Descent | None = None,
    seed: int = 0,
) -> Edit:
    """Return one edit of several facts at once.

    Raises:
        MethodError: no fact, no such layer, statistics of another model, or a change beyond its
            clamp.
        PromptError, AnswerError: a fact cannot be read, or has answers of several tokens.
    """
    if not facts:
        raise MethodError(
            f"edit by {spread.method}: must have at least one fact, got none. There is nothing to "
            "edit. Give one."
        )
    for layer in spread.layers:
        projection_of(model, layer)
        _require_plain_output(model, layer, spread.method)
        moments[layer].require_of(model, layer)
    read, targets, losses = [], [], []
    for fact in facts:
        before = prefixes(model, N_PREFIXES, seed=seed, like=fact.prompt)
        read.append(readings(model, fact, before))
        z, found = target_stream(
            model, read[-1], spread.layers[-1], descent or Descent(clamp=CLAMP)
        )
        targets.append(z)
        losses += found
    changes = spread_changes(model, read, torch.stack(targets), moments, spread)
    return edit_of(model, spread.method, facts, changes, losses=losses)


def _require_plain_output(model: SubjectModel, layer: int, method: str) -> None:
    """Refuse an MLP whose output is not what is added to the stream: shares of it are spread."""
    mlp = model.layers[layer].mlp
    assert mlp is not None
    if mlp.post_norm is not None or mlp.scale != 1 or mlp.unit != 1:
        got = "a norm" if mlp.post_norm is not None else "a factor"
        raise MethodError(
            f"edit by {method}, layer {layer}: what the projection gives must be added to the "
            f"stream as it is, got {got} in between. A share of what is lacking would arrive as "
            "another. Use r-rome."
        )


def target_stream(
    model: SubjectModel, read: Readings, layer: int, descent: Descent
) -> tuple[Float[Tensor, " d_model"], list[float]]:
    """Return what the stream behind a layer is to be at a fact's subject, and the losses."""
    own = stream_at(model, read, layer)
    with model.frozen():
        delta, losses = find_delta(
            read, own.to(model.token_embeddings), _runner(model, layer), descent
        )
    return own + delta.double(), losses


def stream_at(model: SubjectModel, read: Readings, layer: int) -> Float[Tensor, " d_model"]:
    """Return the stream behind a layer at the subject of the bare prompt, in float64."""
    kept: list[Tensor] = []
    with torch.no_grad():
        model.run(read.batch, {hook_points.resid_post(layer): kept.append})
    return kept[0][0, read.at[0]].double()


def spread_changes(
    model: SubjectModel,
    read: Sequence[Readings],
    targets: Float[Tensor, "fact d_model"],
    moments: Mapping[int, SecondMoment],
    spread: Spread,
) -> Changes:
    """Return what is added to each layer's matrix, from the first layer to the last."""
    changes: Changes = {}
    edited, last = model, spread.layers[-1]
    for number, layer in enumerate(spread.layers):
        keys = torch.stack([mean_key(edited, each, layer) for each in read])
        streams = torch.stack([stream_at(edited, each, last) for each in read])
        wanted = (targets - streams) / (len(spread.layers) - number)
        change = solved(keys, wanted, moments[layer], spread, spread.earlier.get(layer))
        changes[layer] = finite(change, spread.method)
        if layer != last:
            projection = projection_of(edited, layer)
            weight = projection.stored(projection.weight.double() + change)
            edited = with_weights(edited, {projection.name: weight})
    return changes


def mean_key(model: SubjectModel, read: Readings, layer: int) -> Float[Tensor, " d_mlp"]:
    """Return a fact's key: half that of the bare prompt, half the mean behind prefixes."""
    keys = keys_of(model, read.batch, (layer,))[0]
    own = keys[torch.arange(len(keys)), read.at].double()[:-1]
    return (own[0] + own[1:].mean(0)) / 2 if len(own) > 1 else own[0]


def solved(
    keys: Float[Tensor, "fact d_mlp"],
    wanted: Float[Tensor, "fact d_model"],
    moment: SecondMoment,
    spread: Spread,
    earlier: Float[Tensor, "key d_mlp"] | None = None,
) -> Float[Tensor, "d_mlp d_model"]:
    """Return the change of a matrix that adds what is wanted to what keys give, in float64."""
    of_text = moment.matrix.to(keys.device)
    if spread.method == MEMIT:
        whole = spread.weight * of_text + keys.T @ keys
        root, failed = torch.linalg.cholesky_ex(whole)
        if int(failed):
            raise MethodError(
                f"edit by {MEMIT}, layer {moment.layer}: the second moment of keys must have an "
                f"inverse, got one of {moment.n_tokens} tokens for {len(whole)} neurons that has "
                "none. What spares the text is not known. Give more text."
            )
        change: Tensor = torch.cholesky_solve(keys.T @ wanted, root)
        return change
    free = free_directions(moment, spread.free_share).to(keys.device)
    inside = keys @ free
    known = inside.T @ inside
    if earlier is not None:
        before = earlier.double().to(keys.device) @ free
        known = known + before.T @ before
    eye = torch.eye(len(known), dtype=known.dtype, device=known.device)
    small: Tensor = torch.linalg.solve(known + spread.ridge * eye, inside.T @ wanted)
    return free @ small


def free_directions(moment: SecondMoment, share: float) -> Float[Tensor, "d_mlp free"]:
    """Return directions, each of norm 1, in which keys of the text hold at most `share` of C.

    Raises:
        MethodError: there is none.
    """
    values, vectors = torch.linalg.eigh(moment.matrix)  # from the smallest on
    held = values.clamp(min=0).cumsum(0) / values.clamp(min=0).sum()
    n = int((held <= share).sum())
    if n == 0:
        raise MethodError(
            f"edit by {ALPHAEDIT}, layer {moment.layer}: some direction must hold at most "
            f"{share:g} of the second moment of keys, got none. Every change would touch what is "
            "to be preserved. Raise the share."
        )
    free: Tensor = vectors[:, :n]
    return free


def _runner(model: SubjectModel, layer: int) -> Runner:
    def run(batch, at, delta):  # type: ignore[no-untyped-def]
        def add(stream: Tensor) -> Tensor:
            extra = torch.zeros_like(stream)
            extra[torch.arange(len(at)), at] = delta
            return stream + extra

        return model.run(batch, {hook_points.resid_post(layer): add})

    return run
