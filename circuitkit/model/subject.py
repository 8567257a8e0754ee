"""SubjectModel: a transformer under study, wrapped by TransformerLens's TransformerBridge.

The bridge finds the parts of every family; the forward pass over them is our own (forward.py), so
that it can begin at any layer and position and give every head its own input. Hooks live exactly as
long as a run, and the wrapped model is never changed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedTokenizerBase

from circuitkit.circuits.graph import ComponentGraph
from circuitkit.errors import ModelError, PromptError
from circuitkit.model import hook_points
from circuitkit.model.attention import LayerContext
from circuitkit.model.context import (
    Context,
    attention_mask,
    block_arguments,
    is_native,
    rotary_of,
    windows_of,
)
from circuitkit.model.digests import is_legacy
from circuitkit.model.forward import (
    NO_HOOKS,
    Hooks,
    Sources,
    Start,
    at,
    at_label,
    one_label_dropped,
    run_layers,
)
from circuitkit.model.layers import Layer, layer_from_block, matrix_of, part
from circuitkit.model.norms import Norm, norm_of
from circuitkit.model.vocabulary import require_answers, require_tokens
from circuitkit.prompts.chat import render_chat
from circuitkit.prompts.messages import is_chat
from circuitkit.prompts.pairs import Prompt, PromptBatch, PromptPairs


@dataclass(frozen=True)
class SubjectModel:
    """A model under study. The wrapped bridge is handed back as it came after every call.

    `softmax_share` below 1 mixes that share of every attention pattern with uniform ones
    (Zhong et al. 2023, arXiv:2306.17844). `legacy` computes the digest of the form that older
    circuit files have (model/digests.py).
    """

    bridge: TransformerBridge = field(repr=False)
    name: str
    digest: str
    tokenizer: PreTrainedTokenizerBase | None = field(repr=False)
    softmax_share: float = 1.0
    legacy: Callable[[], str] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.bridge.training:
            raise ModelError(
                f"model {self.name!r}: must be in evaluation mode, got training mode. Dropout "
                "would make every measurement random. Call .eval() on it first."
            )
        if not 0 <= self.softmax_share <= 1:
            raise ModelError(
                f"model {self.name!r}: softmax_share must be from 0 to 1, got "
                f"{self.softmax_share}. It is a share of every pattern. Give such a number."
            )

    def has_weights(self, digest: str) -> bool:
        """Whether a digest, of either form, is of this model's weights."""
        return digest == self.digest or (is_legacy(digest) and digest == self._legacy_digest)

    @cached_property
    def _legacy_digest(self) -> str:
        return "" if self.legacy is None else self.legacy()

    @cached_property
    def graph(self) -> ComponentGraph:
        """The components and edges of this architecture."""
        first = self.layers[0]
        return ComponentGraph(
            n_layers=len(self.layers),
            n_heads=first.attention.n_heads,
            d_model=int(self.bridge.cfg.d_model),
            parallel_attn_mlp=first.is_parallel,
            has_mlps=first.mlp is not None,
        )

    def text_of(self, prompt: Prompt) -> str:
        """Return a prompt as a reader sees it: its text, messages as the model's template has them.

        Token ids are shown as such where there is no tokenizer.
        """
        if isinstance(prompt, str):
            return prompt
        if is_chat(prompt):
            return render_chat(prompt, self.tokenizer).text
        ids = list(prompt)
        return str(self.tokenizer.decode(ids)) if self.tokenizer is not None else str(ids)

    def token_texts(self, ids: Sequence[int]) -> tuple[str, ...]:
        """Return the tokens of a prompt one by one, each with the space that belongs to it.

        A tokenizer may drop a leading space from a token that it decodes alone.
        """
        texts: list[str] = []
        for end in range(1, len(ids) + 1):
            before, until = self.text_of(ids[: end - 1]) if end > 1 else "", self.text_of(ids[:end])
            follows = self.tokenizer is not None and until.startswith(before)
            texts.append(until[len(before) :] if follows else self.text_of(ids[end - 1 : end]))
        return tuple(texts)

    @property
    def d_head(self) -> int:
        """The width of one head's q, k, v and z."""
        return self.layers[0].attention.d_head

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
    def layers(self) -> tuple[Layer, ...]:
        """Every block taken apart. Folding norms copies q, k and v: kept once made."""
        where = f"model {self.name!r}"
        return tuple(
            layer_from_block(self.bridge, index, where, self.softmax_share)
            for index in range(len(self.bridge.blocks))
        )

    @property
    def token_embeddings(self) -> Float[Tensor, "vocab d_embed"]:
        """The embedding of every token, before any scaling that the model applies."""
        weight: Tensor = self.bridge.embed.original_component.weight.detach()
        return weight

    @cached_property
    def final_norm(self) -> Norm:
        """The norm in front of the unembedding."""
        d_model = int(self.bridge.cfg.d_model)
        module = part(self.bridge, "ln_final")
        return norm_of(module, d_model, self._some_weight, f"model {self.name!r}, final norm")

    @property
    def unembedding(self) -> tuple[Float[Tensor, "d_model vocab"], Float[Tensor, " vocab"]]:
        """The weight and the bias behind the final norm.

        Raises:
            DecompositionError: it is not a matrix of floats.
        """
        return matrix_of(
            self.bridge.unembed.original_component, f"model {self.name!r}, unembedding"
        )

    def computing_with(self, layers: tuple[Layer, ...], final_norm: Norm) -> "SubjectModel":
        """Return this model with its parts replaced by others of the same shapes."""
        other = replace(self)
        # where cached properties keep what they have found
        vars(other).update(vars(self) | {"layers": layers, "final_norm": final_norm})
        return other

    def run(
        self, batch: PromptBatch, hooks: Hooks = NO_HOOKS, *, sources: Sources | None = None
    ) -> Float[Tensor, "row *label vocab"]:
        """Return the logits at each prompt's labelled position, at each label where it has several.

        Hooks map a place of `hook_points` to a function of the activation there; what it returns,
        unless None, replaces the activation. Keys and values are kept in `sources`.

        Raises:
            PromptError: the prompts are longer than the model's context, name other tokens, or
                have answers of several tokens that a later token would see.
        """
        entering, context = self.prepare(batch)
        return self.run_from(entering, context, hooks, sources=sources)

    def run_from(
        self,
        x: Float[Tensor, "row pos d_model"],
        context: Context,
        hooks: Hooks = NO_HOOKS,
        *,
        first: int = 0,
        sources: Sources | None = None,
        projected: tuple[Tensor, Tensor, Tensor] | None = None,
        last_at_label: bool = False,
    ) -> Float[Tensor, "row *label vocab"]:
        """Return the logits, given the residual stream in front of layer `first`.

        `last_at_label`: compute what follows the last layer's heads at the labelled positions only;
        hooks there see [row, label, ...].
        """
        x = run_layers(
            self.layers,
            context.layers,
            x,
            Start(first, projected, sources or Sources()),
            hooks=hooks,
            labelled=context.labelled if last_at_label else None,
        )
        is_read = last_at_label and first < len(self.layers)
        x = one_label_dropped(x if is_read else at_label(x, context.labelled))
        return self.unembed(at(hooks, hook_points.FINAL_NORM_IN, x))

    def unembed(self, x: Float[Tensor, "row *label d_model"]) -> Float[Tensor, "row *label vocab"]:
        """Return the logits of the residual stream behind the last layer."""
        logits: Tensor = self.bridge.unembed.original_component(self.final_norm(x))
        if self.logit_softcap:
            logits = torch.tanh(logits / self.logit_softcap) * self.logit_softcap
        return logits

    def prepare(self, batch: PromptBatch) -> tuple[Float[Tensor, "row pos d_model"], Context]:
        """Return what enters block 0, and what every layer needs to know of the prompts.

        Raises:
            PromptError: the prompts are longer than the model's context, name other tokens, or
                have answers of several tokens that a later token would see.
        """
        self.require_length(batch)
        self._check_vocabulary(batch)
        self._check_branches(batch)
        entering, arguments = block_arguments(self.bridge, batch, self.device)
        real, places = batch.mask.to(self.device), batch.position_ids.to(self.device)
        branches = batch.branches and batch.branches.map(lambda x: x.to(self.device))
        if branches is None and bool(real.all()):
            places = places[:1]
        masks = {
            window: attention_mask(
                real, self.dtype, causal=self.is_causal, window=window, branches=branches
            )
            for window in set(self._windows)
        }
        shared: dict[int, Any] = {}
        layers = []
        for index, window in enumerate(self._windows):
            tables = arguments[index].get("position_embeddings")
            key = index if tables is None else id(tables)
            if key not in shared:
                shared[key] = rotary_of(self.bridge, index, arguments[index], places, entering)
            layers.append(LayerContext(masks[window], shared[key]))
        return entering, Context(tuple(layers), batch.labelled.to(self.device))

    def require_length(self, batch: PromptBatch) -> None:
        """Refuse prompts for which the model has no positions.

        Raises:
            PromptError: they are longer than its context.
        """
        longest = int(batch.position_ids.max()) + 1
        if longest > self.n_ctx:
            raise PromptError(
                f"prompts: must have at most {self.n_ctx} tokens for model {self.name!r}, got "
                f"{longest}. The model has no positions beyond. Shorten the prompts."
            )

    def _check_branches(self, batch: PromptBatch) -> None:
        if batch.branches is not None and not self.is_causal:
            raise PromptError(
                f"answers: must be one token each for model {self.name!r}, got some of several. "
                "Its tokens see later ones, so an answer cannot be read token by token. Choose "
                "answers of one token."
            )

    def require_vocabulary(self, *sets: PromptPairs) -> None:
        """Refuse pairs with tokens or answers that the model does not have.

        Raises:
            PromptError: naming the first id that is no token, and its place.
            AnswerError: naming the first id that has no logit, and its pair.
        """
        for pairs in sets:
            self._check_vocabulary(pairs.clean_batch)
            self._check_vocabulary(pairs.corrupted_batch)

    @cached_property
    def _vocabulary(self) -> tuple[int, int]:
        """How many tokens the embedding has, and how many logits there are."""
        return len(self.token_embeddings), self.unembedding[0].shape[1]

    def _check_vocabulary(self, batch: PromptBatch) -> None:
        n_tokens, n_logits = self._vocabulary
        require_tokens(batch.tokens, batch.mask, n_tokens, self.name)
        if batch.labels is not None:
            require_answers(batch.labels, n_logits, self.name)

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
    def _windows(self) -> tuple[int | None, ...]:
        if is_native(self.bridge):
            return (None,) * len(self.bridge.blocks)
        config = self.bridge.original_model.config
        return windows_of(config, len(self.bridge.blocks), f"model {self.name!r}")

    @cached_property
    def is_causal(self) -> bool:
        """Whether no position sees a later one."""
        return str(getattr(self.bridge.cfg, "attention_dir", "causal")) == "causal"

    @cached_property
    def logit_softcap(self) -> float:
        """The c of c tanh(logit / c) that the model ends with (Gemma 2), 0 where there is none."""
        config = getattr(self.bridge.original_model, "config", None)
        cap = getattr(config, "final_logit_softcapping", None)
        native = getattr(self.bridge.cfg, "output_logits_soft_cap", 0) if cap is None else cap
        return max(float(native or 0), 0.0)

    @property
    def _some_weight(self) -> Tensor:
        weight: Tensor = next(iter(self.bridge.original_model.parameters()))
        return weight
