"""Where in the model values are patched: kinds of places, found in every layer or every head.

    resid, resid-mid, resid-post   the residual stream entering, within and leaving each block
    attn, mlp                      what attention and MLP add to it
    heads                          what each head adds to it
    z, q, k, v, pattern            inside each head
    neurons                        inside each MLP

A head's `heads` and `z` are the same patch, except behind a norm (Gemma 2 and 3, OLMo 2): there
patching z changes the norm's scale and so what other heads add; patching the head does not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool
from torch import Tensor

from circuitkit import names
from circuitkit.circuits.graph import mlp_name
from circuitkit.errors import GraphError, MethodError
from circuitkit.model import SubjectModel, hook_points
from circuitkit.model.hook_points import Point
from circuitkit.work.devices import sent


@dataclass(frozen=True)
class Place:
    """One row of a patching sweep: where in the model values are replaced.

    `units` are the entries replaced along `axis` of the activation; () replaces every entry.
    `pos_axis` is the axis of positions: destinations, for an attention pattern. `also` are the same
    kind of points in later layers, where values are replaced together with those at `point`.
    """

    name: str
    point: Point
    units: tuple[int, ...] = ()
    axis: int = 2
    pos_axis: int = 1
    also: tuple[Point, ...] = ()

    @property
    def points(self) -> tuple[Point, ...]:
        """Every point that is written, the first layer's first."""
        return (self.point, *self.also)

    def replaced(self, activation: Tensor, donor: Tensor, where: Bool[Tensor, "row pos"]) -> Tensor:
        """Return `activation` with the donor's entries at this place, in the positions given."""
        n_units = activation.shape[self.axis]
        chosen = torch.full((n_units,), not self.units)
        chosen[list(self.units)] = True
        shape = [1] * activation.ndim
        shape[0], shape[self.pos_axis] = where.shape
        units = [1] * activation.ndim
        units[self.axis] = n_units
        there = sent(chosen, activation.device).reshape(units)
        return torch.where(where.reshape(shape) & there, donor, activation)


@dataclass(frozen=True)
class Site:
    """A kind of place, found once in every layer, or once for every head of a layer."""

    name: str
    label: str  # of a layer, as "resid {}", or of a head, as "{}<q>"
    point: Callable[[int], Point]
    is_per_head: bool = False
    has_mixers: bool = False  # of a layer without heads, what stands in their place
    needs_mlps: bool = False
    needs_sequential: bool = False
    needs_neurons: bool = False
    pos_axis: int = 1
    axis: int = 2

    @property
    def description(self) -> str:
        """What is patched, for help and headings."""
        return names.SITES[self.name]

    def places(self, model: SubjectModel) -> tuple[Place, ...]:
        """Return the places from the first layer to the last.

        Raises:
            GraphError: the model has no such place.
        """
        self._require_in(model)
        make = partial(Place, axis=self.axis, pos_axis=self.pos_axis)
        layers = range(model.graph.n_layers)
        if not self.is_per_head:
            return tuple(make(self.label.format(i), self.point(i)) for i in layers)
        return tuple(
            make(self.label.format(name), self.point(layer), (number,))
            for layer in layers
            if self.has_mixers or layer not in model.graph.mixers
            for number, name in enumerate(model.graph.names_in(layer))
        )

    def _require_in(self, model: SubjectModel) -> None:
        reason = ""
        if self.needs_mlps and not model.graph.has_mlps:
            reason = "an attention-only model"
        elif self.needs_sequential and model.graph.parallel_attn_mlp:
            reason = "parallel blocks, where nothing lies between attention and MLP"
        elif self.needs_neurons and any(
            layer.mlp is None or layer.mlp.out_module is None for layer in model.layers
        ):
            reason = "MLPs without one last projection, as mixtures of experts"
        if reason:
            raise GraphError(
                f"site {self.name!r}: must exist in model {model.name!r}, got {reason}. There is "
                "nothing to patch. Choose another site."
            )


SITES = (
    Site("resid", "resid {}", hook_points.resid_pre),
    Site("resid-mid", "mid {}", hook_points.resid_mid, needs_sequential=True),
    Site("resid-post", "post {}", hook_points.resid_post),
    Site("attn", "attn {}", hook_points.attn_out),
    Site("mlp", "m{}", hook_points.mlp_out, needs_mlps=True),
    Site("heads", "{}", hook_points.written_z, is_per_head=True, has_mixers=True),
    Site("z", "{}<z>", hook_points.z, is_per_head=True),
    *(
        Site(read, f"{{}}<{read}>", partial(hook_points.projection, read=read), is_per_head=True)
        for read in ("q", "k", "v")
    ),
    Site("pattern", "{}<pattern>", hook_points.pattern, is_per_head=True, axis=1, pos_axis=2),
    Site("neurons", "neurons {}", hook_points.neurons, needs_mlps=True, needs_neurons=True),
)


def site_named(name: str) -> Site:
    """Return the site of this name.

    Raises:
        MethodError: there is none.
    """
    for site in SITES:
        if site.name == name:
            return site
    known = ", ".join(site.name for site in SITES)
    raise MethodError(
        f"site {name!r}: must be one of {known}. It says where values are patched. Choose one."
    )


def neuron_places(layer: int, neurons: Sequence[int]) -> tuple[Place, ...]:
    """Return one place for each of some neurons of a layer's MLP, named as `m3.n17`."""
    return tuple(
        Place(f"{mlp_name(layer)}.n{i}", hook_points.neurons(layer), (i,)) for i in neurons
    )
