"""Recording what every sender writes, in narrow form: heads as z (d_head wide), not d_model wide.

A head's write to the residual stream is its z times its slice of W_O; the output bias of
attention belongs to no head. Behind a norm (Gemma 2 and 3, OLMo 2) z is kept over that norm's
scale, so that this holds there too. So the residual stream read by layer l is

    input + sum over earlier heads of z W_O + sum over earlier layers of b_O + earlier MLP outputs
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuits.units import NEURON
from circuitkit.errors import ActivationError
from circuitkit.model import hook_points
from circuitkit.model.finite import Finite
from circuitkit.model.finite import require_finite_tensor as require_finite_tensor
from circuitkit.model.forward import Hook, spread
from circuitkit.model.hook_points import Point
from circuitkit.model.runs import Run, whole_run
from circuitkit.model.subject import SubjectModel
from circuitkit.model.units import Parts
from circuitkit.prompts.batch import PromptBatch


@dataclass(frozen=True)
class Activations:
    """What the senders wrote in one run: the input, each layer's z and each layer's MLP output.

    `units` are those of the MLPs that are taken apart, and `errors` what their dictionaries leave
    out, in the order of layers; both empty where all MLPs are whole.
    """

    input: Float[Tensor, "row pos d_model"]
    z: tuple[Float[Tensor, "row pos _head _d_head"], ...]
    mlp: tuple[Float[Tensor, "row pos d_model"], ...]
    units: tuple[Float[Tensor, "row pos _unit"], ...] = ()
    errors: tuple[Float[Tensor, "row pos d_model"], ...] = ()

    def map(self, function: Callable[[Tensor], Tensor]) -> "Activations":
        """Return the activations with `function` applied to each tensor."""
        return Activations(
            function(self.input),
            tuple(function(z) for z in self.z),
            tuple(function(out) for out in self.mlp),
            tuple(function(acts) for acts in self.units),
            tuple(function(error) for error in self.errors),
        )

    def minus(self, other: "Activations") -> "Activations":
        """Return the difference of two runs on aligned prompts."""
        return Activations(
            self.input - other.input,
            tuple(a - b for a, b in zip(self.z, other.z, strict=True)),
            tuple(a - b for a, b in zip(self.mlp, other.mlp, strict=True)),
            tuple(a - b for a, b in zip(self.units, other.units, strict=True)),
            tuple(a - b for a, b in zip(self.errors, other.errors, strict=True)),
        )


def record(
    model: SubjectModel, batch: PromptBatch
) -> tuple[Activations, Float[Tensor, "row *label vocab"]]:
    """Return what every sender writes on these prompts, and the logits that are read.

    Raises:
        ActivationError: an activation or a logit is NaN or infinite.
    """
    return record_run(model, whole_run(model, batch))


def record_run(
    model: SubjectModel, run: Run, *, last_at_label: bool = False, later: Finite | None = None
) -> tuple[Activations, Float[Tensor, "row *label vocab"]]:
    """Return the same of a run that may begin behind earlier positions; those are left out.

    `last_at_label`: the last MLP is run at the labelled positions only, where alone it matters, and
    is zero elsewhere. Whether all is finite is left to who reads `later`, where that is given.

    Raises:
        ActivationError: an activation or a logit is NaN or infinite.
    """
    recorder = Recorder(model)
    with torch.no_grad():
        logits = model.run_from(
            run.entering,
            run.context,
            recorder.hooks(),
            sources=run.sources(),
            last_at_label=last_at_label,
        )
    activations = recorder.activations(run, last_at_label=last_at_label)
    require_finite(activations, model.name, logits=logits, later=later)
    return activations, logits


class Recorder:
    """Hooks that keep what the senders write. `activations` returns it after the run."""

    def __init__(self, model: SubjectModel) -> None:
        self.model, self.graph = model, model.graph
        self.kept: dict[Point, Tensor] = {}

    def hooks(self) -> dict[Point, Hook]:
        """Return one observing hook per sender tensor."""
        points = [hook_points.resid_pre(0)]
        for layer in range(self.graph.n_layers):
            points.append(hook_points.written_z(layer))
            if self.graph.has_mlps:
                points.append(hook_points.mlp_out(layer))
        for units in self.graph.units:
            is_neurons = units.kind == NEURON
            points.append((hook_points.neurons if is_neurons else hook_points.mlp_in)(units.layer))
        return {point: self._keeper(point) for point in points}

    def _keeper(self, point: Point) -> Hook:
        def keep(activation: Tensor) -> None:
            self.kept[point] = activation.detach()

        return keep

    def activations(self, run: Run, *, last_at_label: bool = False) -> Activations:
        """Return what was kept of a run, at the positions of the clean prompts.

        The last MLP's is perhaps of the labelled positions.
        """
        layers = range(self.graph.n_layers)
        with_mlps = layers if self.graph.has_mlps else range(0)
        entering = self.kept[hook_points.resid_pre(0)]
        mlps = [self.kept[hook_points.mlp_out(layer)] for layer in with_mlps]
        if mlps and last_at_label:
            mlps[-1] = spread(mlps[-1], run.context.labelled, entering.shape[1])
        z = tuple(self.kept[hook_points.written_z(layer)] for layer in layers)
        units, errors = self._units(run, last_at_label=last_at_label)
        return Activations(entering, z, tuple(mlps), units, errors).map(run.at_clean)

    def _units(
        self, run: Run, *, last_at_label: bool
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return what units were, and what their dictionaries left out, at every position."""
        units, errors = [], []
        n_pos = self.kept[hook_points.resid_pre(0)].shape[1]
        for spec in self.graph.units:
            layer = self.model.layers[spec.layer]
            assert layer.units is not None
            assert layer.mlp is not None
            if spec.kind == NEURON:
                found = [layer.units.named(self.kept[hook_points.neurons(spec.layer)])]
            else:
                at = hook_points.mlp_in(spec.layer), hook_points.mlp_out(spec.layer)
                parts = layer.units.coded(layer.mlp, *(self.kept[point] for point in at))
                assert parts.error is not None
                found = [parts.acts, parts.error]
            if last_at_label and spec.layer == self.graph.n_layers - 1:
                found = [spread(x, run.context.labelled, n_pos) for x in found]
            units.append(found[0])
            errors += found[1:]
        return tuple(units), tuple(errors)


def require_finite(
    activations: Activations,
    model_name: str,
    *,
    logits: Float[Tensor, "row ..."] | None = None,
    later: Finite | None = None,
) -> None:
    """Refuse activations and logits with NaN or infinity, naming the first place.

    All are read back from the device at once, or by who reads `later`.

    Raises:
        ActivationError: there is one.
    """
    named = {f"model {model_name!r}, input": activations.input}
    for layer, z in enumerate(activations.z):
        named[f"model {model_name!r}, layer {layer}, attention heads"] = z
        for mlp in activations.mlp[layer : layer + 1]:
            named[f"model {model_name!r}, layer {layer}, MLP"] = mlp
    for number, acts in enumerate((*activations.units, *activations.errors)):
        named[f"model {model_name!r}, units {number}"] = acts
    if logits is not None:
        named[f"model {model_name!r}, logits"] = logits
    finite = later or Finite()
    for where, tensor in named.items():
        finite.add(where, tensor)
    if later is None:
        finite.require(finite.flags().cpu())


@contextmanager
def counted_from(first: int) -> Iterator[None]:
    """Let errors inside the block count prompts from the first of this batch, `first` of all."""
    try:
        yield
    except ActivationError as error:
        raise ActivationError(error.where, error.row + first) from error


def sender_outputs(
    model: SubjectModel, activations: Activations
) -> Float[Tensor, "sender place d_model"]:
    """Return every sender's write to the residual stream; a place is a (row, pos)."""
    n_places = activations.input.shape[0] * activations.input.shape[1]
    graph = model.graph
    out = activations.input.new_empty(len(graph.senders), n_places, graph.d_model)
    out[0] = activations.input.flatten(0, 1)
    for layer, z in enumerate(activations.z):
        first = graph.head_sender(layer)
        heads = out[first : graph.mlp_sender(layer)]
        torch.bmm(by_head(z), model.layers[layer].attention.w_out, out=heads)
        for mlp in activations.mlp[layer : layer + 1]:
            out[graph.mlp_sender(layer)] = mlp.flatten(0, 1)
    errors = iter(activations.errors)
    for spec, acts in zip(graph.units, activations.units, strict=True):
        units = model.layers[spec.layer].units
        assert units is not None
        error = next(errors) if spec.has_error else None
        parts = Parts(acts, error, activations.mlp[spec.layer]).map(lambda x: x.flatten(0, 1))
        units.writes(parts, out[graph.mlp_senders(spec.layer)])
    return out


def by_head(z: Float[Tensor, "row pos head d_head"]) -> Float[Tensor, "head place d_head"]:
    """Return z with heads first and rows and positions as one axis."""
    return z.flatten(0, 1).transpose(0, 1)


def attention_bias_before(
    model: SubjectModel, layer: int, *, own_layer: bool
) -> Float[Tensor, " d_model"]:
    """Return the sum of attention output biases in the residual stream at `layer`."""
    total = torch.zeros(model.graph.d_model, dtype=model.dtype, device=model.device)
    for earlier in range(layer + int(own_layer)):
        total = total + model.layers[earlier].attention.b_out
    return total
