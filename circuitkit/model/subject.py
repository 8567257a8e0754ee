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
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from circuitkit.circuits.graph import ComponentGraph
from circuitkit.errors import DecompositionError, ModelError
from circuitkit.model import hook_points
from circuitkit.model.attention import LayerContext
from circuitkit.model.classifiers import require_label_numbers, require_position_read
from circuitkit.model.context import (
    Context,
    Span,
    attention_mask,
    block_arguments,
    is_native,
    query_scale_of,
    rotary_of,
    spans_of,
    text_config,
    turns,
)
from circuitkit.model.digests import is_legacy
from circuitkit.model.families import Family, alibi_bias, family_of
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
from circuitkit.model.vocabulary import (
    require_answers,
    require_length,
    require_one_token,
    require_tokens,
)
from circuitkit.prompts.batch import PromptBatch
from circuitkit.prompts.chat import render_chat
from circuitkit.prompts.messages import is_chat
from circuitkit.prompts.pairs import Prompt, PromptPairs
from circuitkit.work.devices import sent


@dataclass(frozen=True)
class SubjectModel:
    """A model under study. The wrapped bridge is handed back as it came after every call.

    `softmax_share` below 1 mixes that share of every attention pattern with uniform ones
    (Zhong et al. 2023, arXiv:2306.17844). `legacy` computes the digest of the form that older
    circuit files have (model/digests.py). `origin` makes the Hugging Face model again, unwrapped;
    None for a bridge (model/changed.py). `is_recomputed`: some part is computed otherwise than the
    weights say (`computing_with`).
    """

    bridge: TransformerBridge = field(repr=False)
    name: str
    digest: str
    tokenizer: PreTrainedTokenizerBase | None = field(repr=False)
    softmax_share: float = 1.0
    legacy: Callable[[], str] | None = field(default=None, repr=False, compare=False)
    origin: Callable[[], PreTrainedModel] | None = field(default=None, repr=False, compare=False)
    is_recomputed: bool = field(default=False, repr=False, compare=False)

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
        layers = [layer.attention for layer in self.layers]
        counts = {attention.n_heads for attention in layers if not attention.is_opaque}
        if len(counts) != 1:
            raise DecompositionError(
                f"model {self.name!r}: some layers must have heads, all of them equally many, got "
                f"{sorted(counts) or 'none'}. Heads are what circuits are made of. Use another "
                "model."
            )
        return ComponentGraph(
            n_layers=len(layers),
            n_heads=counts.pop(),
            d_model=int(self.bridge.cfg.d_model),
            parallel_attn_mlp=self.layers[0].is_parallel,
            has_mlps=self.layers[0].mlp is not None,
            mixers=tuple(i for i, attention in enumerate(layers) if attention.is_opaque),
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
        """The width of what one head writes, in front of its output projection."""
        attending = (layer.attention for layer in self.layers if not layer.attention.is_opaque)
        return next(attending).d_head

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
        """Every block taken apart; kept once made."""
        where = f"model {self.name!r}"
        found: list[Layer] = []
        for index in range(len(self.bridge.blocks)):
            unit = found[-1].unit_behind if found else 1.0
            found.append(layer_from_block(self.bridge, index, where, self.softmax_share, unit))
        return tuple(found)

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
        norm = norm_of(module, d_model, self._some_weight, f"model {self.name!r}, final norm")
        unit = self.layers[-1].unit_behind
        return norm if unit == 1 else replace(norm, eps=norm.eps / unit**2)

    @property
    def unembedding(self) -> tuple[Float[Tensor, "d_model vocab"], Float[Tensor, " vocab"]]:
        """The weight and the bias behind the final norm.

        Raises:
            DecompositionError: it is not a matrix of floats, or does not follow the final norm.
        """
        if self.head is not None:
            raise DecompositionError(
                f"model {self.name!r}, unembedding: must follow the final norm, got "
                f"{type(self.head).__name__} in between. Logits are no sum of what components "
                "write, so there are no direct effects. Use attribution or patching."
            )
        weight, bias = self._last_matrix
        scale = self.logit_scale
        return (weight, bias) if scale == 1.0 else (weight * scale, bias * scale)

    def computing_with(
        self, layers: tuple[Layer, ...], final_norm: Norm, *, digest: str = ""
    ) -> "SubjectModel":
        """Return this model with its parts replaced by others of the same shapes.

        `digest`: under which what is remembered of it is of no other model.
        """
        own = {"layers": layers, "final_norm": final_norm, "is_recomputed": True}
        own |= {"digest": digest, "legacy": None} if digest else {}
        other = replace(self)
        vars(other).update(vars(self) | own)  # where cached properties keep what they have found
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
        normed = self.final_norm(x)
        normed = normed if self.head is None else self.head(normed)
        logits: Tensor = self.bridge.unembed.original_component(normed)
        if self.logit_scale != 1.0:
            logits = logits * self.logit_scale
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
        # one row stands for all where no prompt is padded: asked on the host, where prompts are
        rows = slice(0, 1 if batch.branches is None and bool(batch.mask.all()) else None)
        real, places = (sent(x[rows], self.device) for x in (batch.mask, batch.position_ids))
        branches = batch.branches and batch.branches.map(lambda x: sent(x, self.device))
        masks = {
            span: attention_mask(
                real,
                self.dtype,
                causal=self.is_causal,
                span=span,
                places=places,
                branches=branches,
            )
            for span in set(self._spans)
        }
        bias = alibi_bias(self.bridge.original_model, places, self.dtype)
        shared: dict[Any, Any] = {}
        layers = []
        for index, span in enumerate(self._spans):
            tables = arguments[index].get("position_embeddings")
            key = index if tables is None else (id(tables), turns(self.bridge, index))
            if key not in shared:
                shared[key] = rotary_of(self.bridge, index, arguments[index], places, entering)
            scale = query_scale_of(self.bridge, index, places, entering)
            opaque = self.layers[index].attention.is_opaque
            known = real if opaque else None
            layers.append(LayerContext(masks[span], shared[key], scale, known, bias))
        return entering, Context(tuple(layers), sent(batch.labelled, self.device))

    def require_length(self, batch: PromptBatch) -> None:
        """Refuse prompts for which the model has no positions.

        Raises:
            PromptError: they are longer than its context.
        """
        require_length(batch, self.n_ctx, self.name)

    def _check_branches(self, batch: PromptBatch) -> None:
        if batch.branches is not None:
            why = "" if self.is_causal else "Its tokens see later ones"
            if self.graph.mixers:
                why = f"Layer {self.graph.mixers[0]} mixes positions without heads"
            require_one_token(why, self.name)

    def require_vocabulary(self, *sets: PromptPairs) -> None:
        """Refuse pairs with tokens or answers that the model does not have.

        Raises:
            PromptError: naming the first id that is no token, and its place; or an answer that is
                text, of a classifier.
            AnswerError: naming the first id that has no logit, and its pair.
        """
        for pairs in sets:
            require_label_numbers(pairs, self.bridge.original_model, self.name)
            self._check_vocabulary(pairs.clean_batch)
            self._check_vocabulary(pairs.corrupted_batch)

    @cached_property
    def _vocabulary(self) -> tuple[int, int]:
        """How many tokens the embedding has, and how many logits there are."""
        return len(self.token_embeddings), self._last_matrix[0].shape[1]

    @property
    def n_logits(self) -> int:
        """How many logits there are: of tokens, or of the labels of a classifier."""
        return self._vocabulary[1]

    @property
    def _last_matrix(self) -> tuple[Float[Tensor, "d_in vocab"], Float[Tensor, " vocab"]]:
        return matrix_of(
            self.bridge.unembed.original_component, f"model {self.name!r}, unembedding"
        )

    def _check_vocabulary(self, batch: PromptBatch) -> None:
        n_tokens, n_logits = self._vocabulary
        require_tokens(batch.tokens, batch.mask, n_tokens, self.name)
        require_position_read(batch, self.bridge.original_model, self.name)
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
    def _spans(self) -> tuple[Span, ...]:
        if is_native(self.bridge):
            return (Span(),) * len(self.bridge.blocks)
        found = spans_of(self._config, len(self.bridge.blocks), f"model {self.name!r}")
        wider = self._family.wider_window
        return tuple(replace(span, window=span.window and span.window + wider) for span in found)

    @property
    def can_lend(self) -> bool:
        """Whether positions can be run once and lend all that later ones need of them."""
        return self.is_causal and not self.graph.mixers

    @cached_property
    def _family(self) -> Family:
        return family_of(self._config)

    @property
    def _config(self) -> Any:
        return text_config(self.bridge)

    @cached_property
    def head(self) -> nn.Module | None:
        """What stands between the final norm and the unembedding (ModernBERT)."""
        found = self._family.head(self.bridge.original_model)
        own: nn.Module | None = getattr(found, "original_component", found)
        return own

    @cached_property
    def logit_scale(self) -> float:
        """What the logits behind the unembedding are multiplied with (Cohere, Granite)."""
        return self._family.logit_scale(self._config)

    @cached_property
    def is_causal(self) -> bool:
        """Whether no position sees a later one."""
        return str(getattr(self.bridge.cfg, "attention_dir", "causal")) == "causal"

    @cached_property
    def logit_softcap(self) -> float:
        """The c of c tanh(logit / c) that the model ends with (Gemma 2), 0 where there is none."""
        cap = getattr(text_config(self.bridge), "final_logit_softcapping", None)
        native = getattr(self.bridge.cfg, "output_logits_soft_cap", 0) if cap is None else cap
        return max(float(native or 0), 0.0)

    @property
    def _some_weight(self) -> Tensor:
        weight: Tensor = next(iter(self.bridge.original_model.parameters()))
        return weight
