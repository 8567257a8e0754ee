"""Does the model taken apart compute what the model's own code computes? Asked once, when loading.

A random prompt and its beginning go through both: through the model's own code without padding (in
a causal model one run holds both), through the parts as a padded batch. (In float64 Hugging Face's
own attention gives NaN for padded batches: its mask overflows in a float32 softmax.) The residual
stream after every block and the logits must agree: so an architecture with a part that is not
understood is refused, naming the first block that differs and by how much, instead of giving wrong
scores.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from circuitkit.errors import CircuitkitError, DecompositionError
from circuitkit.model import hook_points
from circuitkit.model.classifiers import is_classifier
from circuitkit.model.context import model_inputs
from circuitkit.model.families import as_meant
from circuitkit.model.precision import own_type
from circuitkit.model.recording import record
from circuitkit.model.refusals import first_line
from circuitkit.model.subject import SubjectModel
from circuitkit.prompts.batch import PromptBatch

PROBE_LENGTH, PROBE_PADDING = 12, 3
# in float64 the family's own code is held to float64 too (model/precision.py)
RELATIVE_GAP = {torch.float64: 1e-9, torch.float32: 1e-3}
COARSE_GAP = 0.1  # half precision: of random, unlike of meaningful, prompts


@dataclass(frozen=True)
class Reference:
    """What the model's own code computes on one prompt: after each block, and the last logits."""

    residuals: tuple[Float[Tensor, "pos d_model"], ...]
    logits: Float[Tensor, " vocab"]


def probe(vocab: int, n_ctx: int) -> PromptBatch:
    """Return a random prompt, and its beginning padded on the left to the same length."""
    length = min(PROBE_LENGTH, n_ctx)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, vocab, (2, length), generator=generator)
    mask = torch.ones(2, length, dtype=torch.bool)
    padding = min(PROBE_PADDING, length - 1)
    mask[1, :padding] = False
    tokens[1, padding:] = tokens[0, : length - padding]
    return PromptBatch(tokens, mask, torch.full((2,), length - 1))


def one_by_one(batch: PromptBatch) -> list[PromptBatch]:
    """Return each prompt as a batch of its own, without padding."""
    alone = []
    for tokens, mask in zip(batch.tokens, batch.mask, strict=True):
        real = tokens[mask].unsqueeze(0)
        alone.append(
            PromptBatch(
                real, torch.ones_like(real, dtype=torch.bool), torch.tensor([len(real[0]) - 1])
            )
        )
    return alone


def references_of(hf_model: Any, batch: PromptBatch) -> list[Reference]:
    """Return what a plain Hugging Face model computes, before anything wraps it."""
    prompts = one_by_one(batch)
    lengths = [prompt.tokens.shape[1] for prompt in prompts]
    if _is_causal(hf_model):  # the beginning of a prompt never sees the rest
        residuals, logits = _own_run(hf_model, prompts[0], [length - 1 for length in lengths])
        return [
            Reference(tuple(x[:length] for x in residuals), logits[row])
            for row, length in enumerate(lengths)
        ]
    return [
        Reference(residuals, logits[0])
        for residuals, logits in (_own_run(hf_model, p, [p.tokens.shape[1] - 1]) for p in prompts)
    ]


def _is_causal(hf_model: nn.Module) -> bool:
    """Whether no position sees a later one, as the model's own attention says, and any is read."""
    said = {module.is_causal for module in hf_model.modules() if hasattr(module, "is_causal")}
    return said == {True} and not is_classifier(hf_model)


def _own_run(
    hf_model: Any, prompt: PromptBatch, places: list[int]
) -> tuple[tuple[Tensor, ...], Float[Tensor, "place vocab"]]:
    """Return the residual stream after each block but the last, and the logits at some places.

    A classifier has logits at the one place that its head reads.
    """
    inputs = model_inputs(prompt, hf_model.device)
    keeps = "logits_to_keep" in inspect.signature(hf_model.forward).parameters
    kept = {"logits_to_keep": torch.tensor(places, device=hf_model.device)} if keeps else {}
    with torch.no_grad(), as_meant(hf_model), own_type(hf_model.dtype):
        output = hf_model(**inputs, **kept, output_hidden_states=True)
    # the last hidden state is already normalised, so the logits stand for it
    residuals = tuple(x[0] for x in output.hidden_states[1:-1])
    logits: Tensor = output.logits
    if logits.ndim == 2:
        return residuals, logits
    return residuals, logits[0] if keeps else logits[0, places]


def references_of_bridge(bridge: Any, batch: PromptBatch, device: torch.device) -> list[Reference]:
    """Return what a TransformerBridge computes."""
    found = []
    dtype = next(bridge.original_model.parameters()).dtype
    for prompt in one_by_one(batch):
        residuals: list[Tensor] = []
        keep = partial(_keep, residuals)
        handles = [block.register_forward_hook(keep) for block in list(bridge.blocks)[:-1]]
        try:
            with torch.no_grad(), own_type(dtype):
                output = bridge.original_model(**model_inputs(prompt, device))
        finally:
            for handle in handles:
                handle.remove()
        logits = output if isinstance(output, Tensor) else output.logits
        found.append(Reference(tuple(x[0] for x in residuals), _last(logits)))
    return found


def _last(logits: Float[Tensor, "row ..."]) -> Float[Tensor, " vocab"]:
    """Return the logits of one prompt's last token, or of the one that a classifier reads."""
    return logits[0, -1] if logits.ndim == 3 else logits[0]


def check_against(
    model: SubjectModel,
    batch: PromptBatch,
    references: list[Reference],
    allowed: float | None = None,
) -> float:
    """Refuse a model whose parts do not add up to what its own code computes; return the gap.

    `allowed` is the largest relative gap; None: as the type of the weights is.

    Raises:
        DecompositionError: naming the first block that differs, and the relative gap.
        ActivationError: the model's own code gives NaN or infinity.
    """
    allowed = allowed or RELATIVE_GAP.get(model.dtype, COARSE_GAP)
    largest = 0.0
    for place, gap in relative_gaps(model, batch, references):
        if not gap <= allowed:
            raise DecompositionError(
                f"model {model.name!r}, {place}: taken apart it must compute what its own code "
                f"computes within {allowed:g}, got a relative gap of {gap:.2g}. Some part of this "
                "architecture is not understood, and edge effects would be wrong. Use another "
                "model."
            )
        largest = max(largest, gap)
    return largest


def relative_gaps(
    model: SubjectModel, batch: PromptBatch, references: list[Reference]
) -> Iterator[tuple[str, float]]:
    """Yield the gap between the parts and the model's own code behind each block, in order.

    Raises:
        DecompositionError: the parts do not run.
        ActivationError: the model's own code gives NaN or infinity.
    """
    found: list[Tensor] = []
    hooks: dict[hook_points.Point, Callable[[Tensor], None]] = {
        hook_points.resid_post(layer): found.append for layer in range(model.graph.n_layers - 1)
    }
    try:
        with torch.no_grad():
            logits = model.run(batch, hooks)
    except CircuitkitError:
        raise
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise DecompositionError(
            f"model {model.name!r}, {_block(model, len(found))}: taken apart it must run, got "
            f"{type(error).__name__}: {first_line(error)}. Some part of this architecture is not "
            "understood. Use another model."
        ) from error
    if not all(bool(torch.isfinite(reference.logits).all()) for reference in references):
        record(model, batch)  # names the layer and the prompt
    for row, reference in enumerate(references):
        real = batch.mask[row].to(model.device)
        for layer, theirs in enumerate(reference.residuals):
            mine = found[layer][row][real] * model.layers[layer].unit_behind
            yield _block(model, layer), _gap(mine, theirs)
        yield "the last block or the unembedding", _gap(logits[row], reference.logits)


def _block(model: SubjectModel, layer: int) -> str:
    kind = type(model.bridge.blocks[layer].original_component).__name__
    return f"block {layer} ({kind})"


def _gap(mine: Float[Tensor, "*any"], theirs: Float[Tensor, "*any"]) -> float:
    return float((mine - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30))


def _keep(kept: list[Tensor], module: Any, given: Any, output: Any) -> None:
    kept.append((output[0] if isinstance(output, tuple) else output).detach())
