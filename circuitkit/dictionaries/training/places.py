"""Where a dictionary is trained: what it reads and what it is to write, in one run for all places.

    m3   the output of layer 3's MLP               a3   the output of layer 3's attention
    r3   the residual stream behind layer 3

A transcoder of m3 reads what the MLP reads: the residual stream, centred and scaled by the MLP's
norm, before the norm's own weight and bias.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.errors import MethodError
from circuitkit.model import SubjectModel, hook_points
from circuitkit.model.forward import Hook, Start, run_layers
from circuitkit.model.hook_points import Point
from circuitkit.prompts.batch import PromptBatch
from circuitkit.work.text import shown

POINTS = {"m": hook_points.mlp_out, "a": hook_points.attn_out, "r": hook_points.resid_post}
ALL_MLPS = "mlps"


@dataclass(frozen=True)
class TrainedPlace:
    """What a dictionary writes, as `m3`, and whether it reads what that MLP reads instead."""

    name: str
    layer: int
    reads_mlp_input: bool = False

    @property
    def point(self) -> Point:
        """Where what it is to write is found in a run."""
        return POINTS[self.name[0]](self.layer)


def places_named(names: str, model: SubjectModel, *, reads_mlp_input: bool) -> list[TrainedPlace]:
    """Return the places of a comma-separated text; `mlps` are those of all layers.

    Raises:
        MethodError: the model has no such place, or a transcoder is asked for where no MLP is.
    """
    n_layers = model.graph.n_layers
    if model.layers[-1].unit_behind != 1:
        raise MethodError(
            f"--at: the residual stream of model {model.name!r} must be kept as other tools have "
            "it, got one in another unit. A dictionary of it would not fit there. Use another "
            "model."
        )
    if names == ALL_MLPS:
        names = ",".join(f"m{layer}" for layer in range(n_layers))
    found = []
    for name in dict.fromkeys(part.strip() for part in names.split(",")):
        match = re.fullmatch(r"([mar])([0-9]{1,4})", name)
        exists = match is not None and int(match[2]) < n_layers
        if match is None or not exists or (match[1] == "m" and not model.graph.has_mlps):
            kinds = "m" if reads_mlp_input else "m, a or r"
            raise MethodError(
                f"--at: must be {kinds} and a layer from 0 to {n_layers - 1}, or mlps, got "
                f"{shown(name)}. It is where the dictionary is trained. Write m{n_layers - 1}, say."
            )
        if reads_mlp_input and match[1] != "m":
            raise MethodError(
                f"--at: must be an MLP for a transcoder, got {name}. A transcoder stands for what "
                "an MLP makes of what it reads. Write m0, say, or choose another --kind."
            )
        found.append(TrainedPlace(name, int(match[2]), reads_mlp_input))
    return found


def trained_positions(batch: PromptBatch, positions: str) -> Bool[Tensor, "row pos"]:
    """Return which tokens a rule of `names.TRAINED_POSITIONS` means."""
    if positions == "all":
        return batch.mask
    return batch.mask & (batch.position_ids > 0)


def read_places(
    model: SubjectModel, batch: PromptBatch, places: Sequence[TrainedPlace], positions: str
) -> dict[str, tuple[Float[Tensor, "token d_in"], Float[Tensor, "token d_out"]]]:
    """Return what the dictionary at each place reads and is to write, at the tokens meant.

    The layers behind the last place are not run.
    """
    kept: dict[Point, Tensor] = {}
    points = {place.point for place in places}
    points |= {hook_points.mlp_in(place.layer) for place in places if place.reads_mlp_input}
    last = max(place.layer for place in places)
    with torch.no_grad():
        entering, context = model.prepare(batch)
        hooks = {point: _keeper(kept, point) for point in points}
        run_layers(model.layers[: last + 1], context.layers, entering, Start(), hooks=hooks)
        chosen = trained_positions(batch, positions).to(entering.device)
        return {place.name: _both(model, place, kept, chosen) for place in places}


def _both(
    model: SubjectModel, place: TrainedPlace, kept: dict[Point, Tensor], chosen: Tensor
) -> tuple[Tensor, Tensor]:
    y = kept[place.point][chosen].float()
    if not place.reads_mlp_input:
        return y, y
    return read_by_mlp(model, place.layer, kept[hook_points.mlp_in(place.layer)][chosen]), y


def read_by_mlp(
    model: SubjectModel, layer: int, x: Float[Tensor, "*any d_model"]
) -> Float[Tensor, "*any d_model"]:
    """Return the residual stream that an MLP reads as its transcoder reads it."""
    mlp = model.layers[layer].mlp
    assert mlp is not None
    return mlp.norm.x_hat(x if mlp.unit == 1 else x * mlp.unit).float()


def _keeper(kept: dict[Point, Tensor], point: Point) -> Hook:
    def keep(activation: Tensor) -> None:
        kept[point] = activation

    return keep
