"""Loading a model from a local directory or, where there is a network, by its Hugging Face name."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from circuitkit.errors import DecompositionError, ModelError
from circuitkit.model import hook_points
from circuitkit.model.check import check_against, probe, references_of, references_of_bridge
from circuitkit.model.subject import SubjectModel

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "tokenizer.model", "spiece.model")
# Families whose blocks do not split into heads that read and write one residual stream.
NO_HEADS = {
    **dict.fromkeys(("mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm"), "state-space blocks"),
    **dict.fromkeys(("jamba", "bamba", "zamba", "zamba2", "falcon_h1"), "some state-space blocks"),
    "recurrent_gemma": "recurrent blocks",
}


def load_directory(
    source: str | Path,
    *,
    name: str = "",
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> SubjectModel:
    """Return the model in a directory of Hugging Face files, or the one of that name on the hub.

    A directory without tokenizer files works for prompts of token ids.

    Raises:
        ModelError: no such model, or weights that are missing, truncated or do not fit.
        DecompositionError: the architecture cannot be taken apart, or not exactly.
    """
    where = f"model {str(source)!r}"
    device = _checked_device(device)
    with _quiet():
        hf_model = _load_weights(str(source), where, dtype).to(device)
        tokenizer = _load_tokenizer(str(source), where)
        digest = weight_digest(hf_model)
        if dtype == torch.float64 and hasattr(hf_model, "set_experts_implementation"):
            hf_model.set_experts_implementation("eager")  # the fused one has no float64
        batch = probe(int(hf_model.config.vocab_size), _n_ctx(hf_model.config))
        references = references_of(hf_model, batch)
        bridge = _booted(str(source), where, hf_model, tokenizer or _stand_in_tokenizer())
    bridge.eval()
    model = SubjectModel(bridge, name or str(source), digest, tokenizer)
    check_against(model, batch, references)
    return model


def from_bridge(
    bridge: TransformerBridge,
    *,
    name: str = "bridge",
    tokenizer: PreTrainedTokenizerBase | None = None,
    softmax_share: float = 1.0,
) -> SubjectModel:
    """Return the model that a TransformerBridge wraps, as one of `boot_native`, to be studied.

    The bridge must be in evaluation mode. It is used as it is: weights that were folded or centred
    stay so.

    Raises:
        ModelError: it is in training mode.
        DecompositionError: its architecture cannot be taken apart.
    """
    cfg = bridge.cfg
    names = ("act_fn", "attention_dir", "eps", "normalization_type", "attn_scale")
    rules = [getattr(cfg, key, None) for key in names]
    digest = weight_digest(bridge.original_model, f"{rules} {softmax_share}")
    model = SubjectModel(bridge, name, digest, tokenizer, softmax_share)
    batch = probe(int(cfg.d_vocab), int(cfg.n_ctx))
    with mixed_patterns(bridge, softmax_share):
        references = references_of_bridge(bridge, batch, model.device)
    check_against(model, batch, references)
    return model


@contextmanager
def mixed_patterns(bridge: TransformerBridge, share: float) -> Iterator[None]:
    """Let the bridge itself mix its attention patterns with uniform ones inside the block."""
    if share == 1.0:
        yield
        return

    causal = str(getattr(bridge.cfg, "attention_dir", "causal")) == "causal"

    def mix(pattern: Tensor, hook: Any) -> Tensor:
        seen = torch.ones_like(pattern)  # prompts without padding
        return share * pattern + (1 - share) * (seen.tril() if causal else seen)

    names = [hook_points.bridge_pattern(layer) for layer in range(len(bridge.blocks))]
    with bridge.hooks(fwd_hooks=[(name, mix) for name in names]):
        yield


def _booted(
    source: str, where: str, hf_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> TransformerBridge:
    try:
        return TransformerBridge.boot_transformers(
            source,
            hf_model=hf_model,
            tokenizer=tokenizer,
            dtype=hf_model.dtype,
            device=str(hf_model.device),
        )
    except Exception as error:  # the bridge raises many kinds for architectures it lacks
        raise DecompositionError(
            f"{where}: its architecture ({hf_model.config.model_type!r}) must be one that "
            f"TransformerBridge knows, got {type(error).__name__}: {_first_line(error)}. Its parts "
            "cannot be found. Use another model."
        ) from error


def _n_ctx(config: PreTrainedConfig) -> int:
    names = ("n_positions", "max_position_embeddings", "n_ctx")
    return next((int(getattr(config, n)) for n in names if getattr(config, n, None)), 2048)


def weight_digest(model: torch.nn.Module, rules: str = "") -> str:
    """Return a digest of all weights: names, shapes and values, the first 16 hex digits.

    `rules` says what else the model computes with, where its files do not.
    """
    digest = hashlib.sha256(rules.encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        # float64 holds every narrower float, so the digest does not depend on --dtype.
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _load_weights(source: str, where: str, dtype: torch.dtype) -> PreTrainedModel:
    try:
        config = AutoConfig.from_pretrained(source)
        _require_heads(config, where)
        loaded, report = AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, attn_implementation="eager", output_loading_info=True
        )
    except DecompositionError:
        raise
    except Exception as error:  # the loaders raise many kinds: missing, cut short, not JSON
        raise ModelError(
            f"{where}: must be a readable model directory, a zoo name or a Hugging Face name, got "
            f"{type(error).__name__}: {_first_line(error)}. Without its weights there is nothing "
            "to study. Check the path, or run `circuitkit models` for the models that ship."
        ) from error
    missing = sorted(report["missing_keys"])
    if missing or report["mismatched_keys"]:
        raise ModelError(
            f"{where}: the weight file must hold every weight, got none that fits for "
            f"{(missing or report['mismatched_keys'])[:3]}. They would be random. Get the "
            "complete file."
        )
    return loaded.eval()


def _require_heads(config: PreTrainedConfig, where: str) -> None:
    kind = config.model_type
    if config.is_encoder_decoder:
        reason = "an encoder and a decoder"
    elif kind in NO_HEADS:
        reason = NO_HEADS[kind]
    else:
        return
    raise DecompositionError(
        f"{where}: its architecture must be a transformer decoder, got {kind!r} with {reason}. Its "
        "residual stream cannot be taken apart into heads and MLPs. Use another model."
    )


def _load_tokenizer(source: str, where: str) -> PreTrainedTokenizerBase | None:
    directory = Path(source)
    if directory.is_dir() and not any((directory / file).exists() for file in TOKENIZER_FILES):
        return None
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source)
    except Exception as error:
        raise ModelError(
            f"{where}: its tokenizer must be readable, got {type(error).__name__}: "
            f"{_first_line(error)}. Prompts could not be read. Mend or remove the tokenizer files."
        ) from error
    return tokenizer


def _stand_in_tokenizer() -> PreTrainedTokenizerBase:
    """Return a tokenizer of one word, for the bridge's own use; prompts never meet it."""
    words = Tokenizer(WordLevel({"<none>": 0}, unk_token="<none>"))
    return PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<none>", name_or_path="stand-in"
    )


def _checked_device(device: str) -> str:
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"device {device!r}: must be available, got {_first_line(error)}. The model cannot "
            "be placed there. Use --device cpu."
        ) from error
    return device


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or "no message").splitlines()[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the loaders' own bars and notices, and restore their settings."""
    level = transformers.logging.get_verbosity()
    bars = transformers.logging.is_progress_bar_enabled()
    lens_level = logging.root.level
    try:
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        logging.root.setLevel(logging.ERROR)
        yield
    finally:
        transformers.logging.set_verbosity(level)
        logging.root.setLevel(lens_level)
        if bars:
            transformers.logging.enable_progress_bar()
