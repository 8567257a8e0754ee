"""A model whose values are its own, and whose gradients follow layer-wise relevance propagation.

    norm              the scale is a constant                                       (LN-rule)
    activation f      f(x) is x times a constant, f(x) / x; zero where x is zero    (identity rule)
    gate times value  each factor passes on half of the gradient                    (half rule)
    attention         patterns are constants, if asked for                          (AH-rule)
    routed experts    the router's choice and weights are constants                 (ours)
    gated heads       the gate is a constant                                        (ours)

Under these rules every part but the softmax is homogeneous of degree one in what it reads, biases
apart: gradient times input sums to the output, so relevance is neither made nor lost.

Which function of an MLP is its activation, and whether it has a gate, is not read from names but
found by trying it, as norms are: without its biases an MLP must have degree one, or two if gated.
Jafari et al. 2025 (arXiv:2508.21258) put the rules together; those of norms and attention are by
Ali et al. 2022, that of gates by Arras et al. 2019.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from circuitkit.errors import MethodError
from circuitkit.model.attention import Attention
from circuitkit.model.gated import GatedAttention
from circuitkit.model.layers import MLP, Layer
from circuitkit.model.norms import HALF, Norm
from circuitkit.model.subject import SubjectModel
from circuitkit.work.devices import sent

DEGREES = (1, 2)  # of plain and of gated MLPs
N_PROBES = 3
DEGREE_GAP = 1e-3
COARSE_DEGREE_GAP = 0.1  # half precision
EXPERTS = "experts"  # what Hugging Face calls them; a router stands beside them
ROUTERS = ("gate", "router", "shared_expert_gate")


def linearised(model: SubjectModel, *, holds_patterns: bool) -> SubjectModel:
    """Return the same model, with the same values, whose gradients follow the rules.

    `holds_patterns`: attention patterns are constants too, so that queries and keys get nothing.

    Raises:
        MethodError: an MLP, attention or the head is of a kind to which the rules do not apply.
    """
    _require_rules(model)
    where = f"model {model.name!r}"
    held = [
        _held_layer(layer, f"{where}, block {index}", holds_patterns)
        for index, layer in enumerate(model.layers)
    ]
    layers = _with_degrees(held, where)
    return model.computing_with(layers, HeldNorm(**vars(model.final_norm)))


@dataclass(frozen=True)
class HeldNorm(Norm):
    """A norm whose scale is a constant to gradients."""

    @property
    def has_live_scale(self) -> bool:
        return False

    def x_hat(self, x: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_model"]:
        """Return the normalised input, linear in `x` to gradients."""
        return _with_gradient(super().x_hat(x), self._linear(x))

    def inverse_scale(self, x: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any 1"]:
        """Return 1 / s, a constant to gradients."""
        return super().inverse_scale(x).detach()

    def __call__(self, x: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_model"]:
        """Return the whole norm of `x`, linear in `x` to gradients."""
        if self.is_identity:
            return x
        return _with_gradient(super().__call__(x), self._linear(x) * self.weight)

    def _linear(self, x: Tensor) -> Tensor:
        if self.is_identity:
            return x
        wide = x.float() if x.dtype in HALF else x
        centred = wide - wide.mean(-1, keepdim=True) if self.is_centred else wide
        return (centred * self.inverse_scale(wide)).to(x.dtype)


@dataclass(frozen=True, kw_only=True)
class RelevanceMLP(MLP):
    """An MLP that passes on relevance: activations by the identity rule, gates by the half rule."""

    degree: int = 1  # how many factors that depend on the input are multiplied

    def __call__(self, x: Float[Tensor, "*row d_model"]) -> Float[Tensor, "*row d_model"]:
        """Return what the MLP adds to the residual stream, of degree one to gradients."""
        # all that the two factors pass on goes through here: halving it halves that of both
        with _rules_within(self.module):
            return super().__call__(_with_gradient(x, x / self.degree))


def _require_rules(model: SubjectModel) -> None:
    """Refuse what is not of degree one in what it reads, and what no rule makes so."""
    clipped = [
        index for index, layer in enumerate(model.layers) if layer.attention.clip is not None
    ]
    if not clipped and model.head is None:
        return
    place, got = "head", f"{type(model.head).__name__} behind the final norm"
    if clipped:
        place, got = f"block {clipped[0]}", "queries, keys and values that are clipped"
    raise MethodError(
        f"relp: model {model.name!r}, {place}: all but norms, activations and patterns must be "
        f"linear, got {got}. Relevance would not be conserved. Use eap or eap-ig."
    )


def _held_layer(layer: Layer, where: str, holds_patterns: bool) -> Layer:
    attention = replace(_held_attention(layer.attention, where), holds_pattern=holds_patterns)
    mlp = layer.mlp
    if mlp is None:
        return replace(layer, attention=attention)
    held = {"norm": HeldNorm(**vars(mlp.norm)), "post_norm": _held(mlp.post_norm)}
    return replace(layer, attention=attention, mlp=RelevanceMLP(**vars(mlp) | held))


def _with_degrees(layers: Sequence[Layer], where: str) -> tuple[Layer, ...]:
    """Return the layers with the degree of each MLP: all are read back from the device at once."""
    mlps = [(layer.mlp, layer.attention.w_out) for layer in layers if layer.mlp is not None]
    if not mlps:
        return tuple(layers)
    found = torch.stack([_gradient_times_input(mlp.module, like) for mlp, like in mlps]).cpu()
    of_mlps, done = iter(found), []
    for index, layer in enumerate(layers):
        mlp = layer.mlp
        if mlp is not None:
            place = f"{where}, block {index}"
            degree = _degree_of(mlp, layer.attention.w_out, next(of_mlps), place)
            mlp = RelevanceMLP(**vars(mlp) | {"degree": degree})
        done.append(replace(layer, mlp=mlp))
    return tuple(done)


def _held_attention(attention: Attention, where: str) -> Attention:
    """Return attention whose norms and gates are constants.

    Raises:
        MethodError: the layer mixes positions without heads.
    """
    if attention.is_opaque:
        raise MethodError(
            f"relp: {where}: every layer must have heads, got one that mixes positions in another "
            "way. The relevance rules say nothing of it. Use eap or eap-ig."
        )
    held = attention.with_norms(lambda norm: HeldNorm(**vars(norm)))
    return replace(held, holds_gate=True) if isinstance(held, GatedAttention) else held


def _held(norm: Norm | None) -> Norm | None:
    return None if norm is None else HeldNorm(**vars(norm))


def _with_gradient(value: Tensor, linear: Tensor) -> Tensor:
    """Return `value`, to the last digit, with the gradient of `linear`."""
    return value.detach() + (linear - linear.detach())


@contextmanager
def _rules_within(module: nn.Module) -> Iterator[None]:
    """Let activations follow the identity rule, and routers be constants, within the block.

    Activations are the submodules without weights, and functions kept as attributes. Those that
    only pass on what they are given do so under the rule as well.
    """
    functions = {name: f for name, f in vars(module).items() if _is_activation(name, f)}
    with ExitStack() as stack:
        for part in module.modules():
            if not [*part.parameters()]:
                stack.callback(part.register_forward_hook(_identity_rule).remove)
        for name, part in module.named_children():
            if name in ROUTERS and hasattr(module, EXPERTS):
                stack.callback(part.register_forward_hook(_constant).remove)
        for name, function in functions.items():
            stack.callback(vars(module).__setitem__, name, function)
            vars(module)[name] = _by_identity_rule(function)
        yield


def _is_activation(name: str, value: Any) -> bool:
    return callable(value) and not name.startswith("_") and name != "forward"


def _by_identity_rule(function: Any) -> Any:
    def ruled(x: Tensor) -> Tensor:
        return _times_ratio(x, function(x))

    return ruled


def _identity_rule(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
    x = arguments[0]
    return None if output is x else _times_ratio(x, output)


def _times_ratio(
    x: Float[Tensor, "*any width"], y: Float[Tensor, "*any width"]
) -> Float[Tensor, "*any width"]:
    """Return `y`, to gradients as `x` times the constant y / x, or times zero where x is zero."""
    with torch.no_grad():
        ratio = torch.where(x == 0, 0, y / x)
    return _with_gradient(y, x * ratio)


def _constant(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
    if isinstance(output, tuple):
        return tuple(_constant(module, arguments, x) for x in output)
    return output.detach() if isinstance(output, Tensor) else output


def _degree_of(mlp: MLP, like: Tensor, found: Float[Tensor, " place"], where: str) -> int:
    """Return the degree of an MLP in what it reads, once its activations follow the identity rule.

    `found` is gradient times input over output.

    Raises:
        MethodError: it is neither 1, as in plain MLPs, nor 2, as in gated ones.
    """
    gap = COARSE_DEGREE_GAP if like.dtype in HALF else DEGREE_GAP
    for degree in DEGREES:
        if bool(((found - degree).abs() < gap).all()):
            return degree
    raise MethodError(
        f"relp: {where}: the MLP must be projections around an activation, gated or not, got "
        f"{type(mlp.module).__name__}, whose gradient times input is {float(found.mean()):.3g} of "
        "its output under the relevance rules. Relevance would not be conserved. Use eap or eap-ig."
    )


def _gradient_times_input(module: nn.Module, like: Tensor) -> Float[Tensor, " place"]:
    """Return gradient times input over output of a module without its biases, at random inputs.

    The gradient is that of the output along itself, under the rules.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, N_PROBES, like.shape[-1], generator=generator).to(like.dtype)
    x = sent(x, like.device).requires_grad_()
    biases = {n: torch.zeros_like(p) for n, p in module.named_parameters() if "bias" in n}
    with torch.enable_grad(), _rules_within(module):
        out = functional_call(module, biases, (x,))
        out = (out[0] if isinstance(out, tuple) else out).reshape(x.shape)
        sizes = (out * out.detach()).sum(-1)
        [gradient] = torch.autograd.grad(sizes.sum(), [x])
    products = (gradient * x).detach().double().sum(-1)[0]
    whole = sizes[0].detach().double()
    # an MLP that writes nothing passes nothing on, by any rule
    return torch.where(whole == 0, 1.0, products / whole)
