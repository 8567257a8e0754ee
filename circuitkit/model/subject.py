"""SubjectModel: a transformer under study, wrapped by TransformerLens's TransformerBridge.

It runs padded prompts and returns logits at the labelled positions only, with hooks that live
exactly as long as the run, and hands out the weights that the engine multiplies by itself.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components.normalization import NormalizationBridge
from transformers import PreTrainedTokenizerBase

from circuitkit.errors import DecompositionError, ModelError, PromptError
from circuitkit.graph import READS, ComponentGraph
from circuitkit.model import hook_points
from circuitkit.model.norms import Norm
from circuitkit.prompts import PromptBatch

Hook = Callable[[Tensor], Tensor | None]
NO_HOOKS: Mapping[str, Hook] = {}


@dataclass(frozen=True)
class AttentionWeights:
    """One layer's projections: q of every head, then k, then v, with the norm in front folded in.

    They apply to the normalised residual stream (`Norm.x_hat`). Key and value weights are listed
    per query head.
    """

    w: Float[Tensor, "receiver d_model d_head"]
    b: Float[Tensor, "receiver d_head"]
    w_out: Float[Tensor, "head d_head d_model"]
    b_out: Float[Tensor, " d_model"]


@dataclass(frozen=True)
class SubjectModel:
    """A model under study. The wrapped bridge is handed back as it came after every call."""

    bridge: TransformerBridge = field(repr=False)
    name: str
    digest: str
    tokenizer: PreTrainedTokenizerBase | None = field(repr=False)

    def __post_init__(self) -> None:
        if self.bridge.training:
            raise ModelError(
                f"model {self.name!r}: must be in evaluation mode, got training mode. Dropout "
                "would make every measurement random. Call .eval() on it first."
            )

    @cached_property
    def graph(self) -> ComponentGraph:
        """The components and edges of this architecture."""
        cfg = self.bridge.cfg
        return ComponentGraph(
            n_layers=int(cfg.n_layers),
            n_heads=int(cfg.n_heads),
            d_model=int(cfg.d_model),
            parallel_attn_mlp=bool(cfg.parallel_attn_mlp),
        )

    @property
    def d_head(self) -> int:
        """The width of one head's q, k, v and z."""
        return int(self.bridge.cfg.d_head)

    @property
    def n_ctx(self) -> int:
        """The most tokens that a prompt may have."""
        return int(self.bridge.cfg.n_ctx)

    @cached_property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._some_weight.device

    @cached_property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return self._some_weight.dtype

    @cached_property
    def attention(self) -> tuple[AttentionWeights, ...]:
        """The attention weights of every layer. Folding copies q, k and v: kept once made."""
        return tuple(self._attention_weights(layer) for layer in range(self.graph.n_layers))

    @cached_property
    def attn_norms(self) -> tuple[Norm, ...]:
        """The norm in front of each layer's attention."""
        return tuple(
            Norm.of_module(block.ln1.original_component, f"layer {layer}, norm before attention")
            for layer, block in enumerate(self._blocks)
        )

    def run(
        self, batch: PromptBatch, hooks: Mapping[str, Hook] = NO_HOOKS
    ) -> Float[Tensor, "row vocab"]:
        """Return the logits at each prompt's labelled position.

        Hooks map a name of `hook_points` to a function of the activation there; what it returns,
        unless None, replaces the activation. Only the labelled position is unembedded.

        Raises:
            PromptError: the prompts are longer than the model's context.
        """
        self._check_length(batch)
        rows = torch.arange(len(batch.tokens), device=self.device)
        label_pos = batch.label_pos.to(self.device)

        def keep_labelled(x: Tensor) -> Tensor:
            return x[rows, label_pos].unsqueeze(1)

        at_label = self._hooked(hook_points.UNEMBED_IN, keep_labelled)
        with self._native_norms(), at_label, self._all_hooked(hooks):
            output = self.bridge.original_model(**self._inputs(batch))
        logits: Tensor = output.logits[:, 0]
        return logits

    @contextmanager
    def _native_norms(self) -> Iterator[None]:
        """Let every LayerNorm run as torch's own, with the hooks at its ends.

        The bridge spells a norm out in ten steps, so that its inside can be hooked. Nothing here
        hooks it, and over a run with its backward pass the steps cost a twentieth of the time.
        """
        try:
            for norm in self._layer_norms:
                object.__setattr__(norm, "forward", partial(hook_points.native_norm, norm))
            yield
        finally:
            for norm in self._layer_norms:
                norm.__dict__.pop("forward", None)

    def _inputs(self, batch: PromptBatch) -> dict[str, Any]:
        inputs: dict[str, Any] = {
            "input_ids": batch.tokens.to(self.device),
            "position_ids": batch.position_ids.to(self.device),
            "use_cache": False,
        }
        if not bool(batch.mask.all()):
            inputs["attention_mask"] = batch.mask.long().to(self.device)
        return inputs

    def _check_length(self, batch: PromptBatch) -> None:
        longest = int(batch.mask.sum(1).max())
        if longest > self.n_ctx:
            raise PromptError(
                f"prompts: must have at most {self.n_ctx} tokens for model {self.name!r}, got "
                f"{longest}. The model has no positions beyond. Shorten the prompts."
            )

    @contextmanager
    def _all_hooked(self, hooks: Mapping[str, Hook]) -> Iterator[None]:
        handles = []
        try:
            for name, hook in hooks.items():
                handles.append(self._add_hook(name, hook))
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def _hooked(self, name: str, hook: Hook) -> Iterator[None]:
        with self._all_hooked({name: hook}):
            yield

    def _add_hook(self, name: str, hook: Hook) -> "_Handle":
        if name not in self.bridge.hook_dict:
            raise DecompositionError(
                f"model {self.name!r}: must have the hook point {name!r}, got none. The "
                "architecture is not supported. Use a GPT-2-like model."
            )
        point = self.bridge.hook_dict[name]

        def call(activation: Tensor, hook: Any, *, function: Hook = hook) -> Tensor | None:
            return function(activation)

        return _Handle(point, point.add_hook(call))

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let no weight collect gradients inside the block, and restore every flag after it."""
        parameters = list(self.bridge.parameters())
        flags = [p.requires_grad for p in parameters]
        try:
            for p in parameters:
                p.requires_grad_(False)
            yield
        finally:
            for p, flag in zip(parameters, flags, strict=True):
                p.requires_grad_(flag)

    @cached_property
    def _layer_norms(self) -> tuple[NormalizationBridge, ...]:
        """The bridge's LayerNorms, found once: finding them walks every module."""
        return tuple(
            module
            for module in self.bridge.modules()
            if isinstance(module, NormalizationBridge)
            and isinstance(module.original_component, nn.LayerNorm)
        )

    @property
    def _some_weight(self) -> Tensor:
        weight: Tensor = next(iter(self.bridge.original_model.parameters()))
        return weight

    @property
    def _blocks(self) -> Any:
        return self.bridge.blocks

    def _attention_weights(self, layer: int) -> AttentionWeights:
        attn = self._blocks[layer].attn
        heads, d_head = self.graph.n_heads, self.d_head
        zeros = torch.zeros(heads * d_head, dtype=self.dtype, device=self.device)
        w = [getattr(attn, f"W_{read.upper()}").detach() for read in READS]
        b = [getattr(attn, f"b_{read.upper()}") for read in READS]
        b = [zeros if bias is None else bias.detach() for bias in b]
        folded = self.attn_norms[layer].fold(
            torch.cat(w), torch.cat([bias.reshape(heads, d_head) for bias in b])
        )
        b_out = zeros.new_zeros(self.graph.d_model) if attn.b_O is None else attn.b_O.detach()
        return AttentionWeights(*folded, attn.W_O.detach(), b_out)


@dataclass(frozen=True)
class _Handle:
    """One added hook, so that exactly this one is taken away again."""

    point: Any
    handle: Any

    def remove(self) -> None:
        self.handle.hook.remove()
        self.point.fwd_hooks[:] = [kept for kept in self.point.fwd_hooks if kept is not self.handle]
