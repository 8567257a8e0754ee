"""Loading a model from a local directory or, where there is a network, by its Hugging Face name."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
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
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import cached_file

from circuitkit.errors import DecompositionError, ModelError
from circuitkit.model import hook_points
from circuitkit.model.check import check_against, probe, references_of, references_of_bridge
from circuitkit.model.classifiers import (
    as_language_model,
    at_position_read,
    auto_class,
    position_read,
)
from circuitkit.model.digests import file_digest, legacy_digest, value_digest
from circuitkit.model.families import require_residual_stream
from circuitkit.model.layouts import own_bridge
from circuitkit.model.refusals import checked_device, first_line, refusing
from circuitkit.model.subject import SubjectModel
from circuitkit.work.text import shown

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "tokenizer.model", "spiece.model")
# Masks and tables that older files store beside the weights.
BUFFERS = re.compile(r"\.(attn|attention)\.(bias|masked_bias)$|inv_freq$|position_ids$")
# Families whose blocks do not split into heads that read and write one residual stream.
NO_HEADS = {
    **dict.fromkeys(("mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm"), "state-space blocks"),
    **dict.fromkeys(("jamba", "bamba", "zamba", "zamba2", "falcon_h1"), "some state-space blocks"),
    "recurrent_gemma": "recurrent blocks",
    **dict.fromkeys(("gemma3n", "gemma3n_text"), "blocks that mix four residual streams"),
}


@dataclass(frozen=True)
class ModelFiles:
    """Where a model is read from, what messages call it, and whether its own code may be run."""

    source: str
    where: str
    trust_remote_code: bool = False


def load_directory(
    source: str | Path,
    *,
    name: str = "",
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    trust_remote_code: bool = False,
) -> SubjectModel:
    """Return the model in a directory of Hugging Face files, or the one of that name on the hub.

    A directory without tokenizer files works for prompts of token ids. Files of Python that come
    with the model are run only with `trust_remote_code`; weights are read as data alone.

    Raises:
        ModelError: no such model, or weights that are missing, truncated or do not fit.
        DecompositionError: the architecture cannot be taken apart, or not exactly.
    """
    where = f"model {shown(str(source))}"
    device = checked_device(device)
    files = ModelFiles(str(source), where, trust_remote_code)
    with _quiet():
        hf_model = _load_weights(files, dtype)
        tokenizer = _load_tokenizer(files)
        digest = _digest_of(str(source), hf_model, where)
        kind = type(hf_model).__name__
        with refusing(where, hf_model, kind):
            hf_model.to(device)
            if dtype == torch.float64 and hasattr(hf_model, "set_experts_implementation"):
                hf_model.set_experts_implementation("eager")  # the fused one has no float64
            batch = probe(_n_vocab(hf_model, where), _n_ctx(hf_model.config))
            references = references_of(hf_model, batch)
            hf_model = as_language_model(hf_model, where)
            batch = at_position_read(batch, position_read(hf_model))
            bridge = _booted(files, hf_model, tokenizer or _stand_in_tokenizer())
            bridge.eval()
    legacy = partial(_legacy_digest_of, files)
    model = SubjectModel(bridge, name or str(source), digest, tokenizer, legacy=legacy)
    with refusing(where, hf_model, kind):
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
        ModelError: it is no bridge, in training mode, or its weights are NaN.
        DecompositionError: its architecture cannot be taken apart.
    """
    if not isinstance(bridge, TransformerBridge):
        raise ModelError(
            f"model {name!r}: must be a TransformerBridge, got {type(bridge).__name__}. Its parts "
            "are found by the bridge. Wrap it, or give load_model its directory."
        )
    cfg = bridge.cfg
    names = ("act_fn", "attention_dir", "eps", "normalization_type", "attn_scale")
    rules = [getattr(cfg, key, None) for key in names]
    rule, inner = f"{rules} {softmax_share}", bridge.original_model
    legacy = partial(legacy_digest, inner, rule)
    digest = value_digest(inner.state_dict(), rule)
    model = SubjectModel(bridge, name, digest, tokenizer, softmax_share, legacy)
    with refusing(f"model {name!r}", inner):
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
    files: ModelFiles, hf_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> TransformerBridge:
    try:
        own = own_bridge(hf_model, tokenizer)
        if own is not None:
            return own
        return TransformerBridge.boot_transformers(
            files.source,
            trust_remote_code=files.trust_remote_code,
            hf_model=hf_model,
            tokenizer=tokenizer,
            dtype=hf_model.dtype,
            device=str(hf_model.device),
        )
    except Exception as error:  # the bridge raises many kinds for architectures it lacks
        raise DecompositionError(
            f"{files.where}: its architecture ({hf_model.config.model_type!r}) must be one that "
            f"TransformerBridge knows, got {type(error).__name__}: {first_line(error)}. Its parts "
            "cannot be found. Use another model."
        ) from error


def _n_ctx(config: PreTrainedConfig) -> int:
    names = ("n_positions", "max_position_embeddings", "n_ctx")
    text = config.get_text_config()
    return next((int(getattr(text, n)) for n in names if getattr(text, n, None)), 2048)


def _n_vocab(hf_model: PreTrainedModel, where: str) -> int:
    """Return the size of the vocabulary of a model of text alone."""
    size = getattr(hf_model.config.get_text_config(), "vocab_size", None)
    if isinstance(size, int):
        return size
    parts = sorted(getattr(hf_model.config, "sub_configs", {}))
    raise DecompositionError(
        f"{where}: its architecture must be a transformer decoder of text alone, got "
        f"{type(hf_model).__name__} ({hf_model.config.model_type!r}) with the parts "
        f"{', '.join(parts) or 'unknown'}. Its residual stream holds more than tokens. Save the "
        "language model by itself and use that."
    )


def _digest_of(source: str, hf_model: PreTrainedModel, where: str) -> str:
    """Return the digest of the files that were just loaded, else of the values."""
    try:
        config = cached_file(source, "config.json", local_files_only=True)
        found = file_digest(Path(config).parent)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"{where}: its weight files must be readable twice, got {type(error).__name__}: "
            f"{first_line(error)}. They say which weights a circuit belongs to. Get them again."
        ) from error
    return value_digest(hf_model.state_dict()) if found is None else found


def _legacy_digest_of(files: ModelFiles) -> str:
    """Return the digest that older circuit files have: of the weights loaded as float32."""
    with _quiet():
        return legacy_digest(_load_weights(files, torch.float32))


def _load_weights(files: ModelFiles, dtype: torch.dtype) -> PreTrainedModel:
    where, trusted = files.where, files.trust_remote_code
    try:
        config = AutoConfig.from_pretrained(files.source, trust_remote_code=trusted)
        _require_heads(config, where)
        require_residual_stream(config, where)
        loaded, report = auto_class(config).from_pretrained(
            files.source,
            dtype=dtype,
            attn_implementation="eager",
            output_loading_info=True,
            trust_remote_code=trusted,
            weights_only=True,
        )
    except DecompositionError:
        raise
    except Exception as error:  # the loaders raise many kinds: missing, cut short, not JSON
        _require_no_remote_code(error, files)
        raise ModelError(
            f"{where}: must be a readable model directory, a zoo name or a Hugging Face name, got "
            f"{type(error).__name__}: {first_line(error)}. Without its weights there is nothing "
            "to study. Check the path, or run `circuitkit models` for the models that ship."
        ) from error
    _require_all_weights(report, where)
    return loaded.eval()


def _require_no_remote_code(error: Exception, files: ModelFiles) -> None:
    """Say that a model would run code of its own, where that is why it could not be loaded."""
    if files.trust_remote_code or "trust_remote_code" not in str(error):
        return
    raise ModelError(
        f"{files.where}: must be of an architecture that transformers has, got one that its own "
        "files of Python define. Loading it would run them. If you have read and trust that code, "
        "add --trust-remote-code (in Python: trust_remote_code=True)."
    ) from error


def _require_all_weights(report: dict[str, Any], where: str) -> None:
    """Refuse weight files that are not exactly what config.json describes."""
    missing, unfit = sorted(report["missing_keys"]), sorted(report["mismatched_keys"], key=str)
    if missing or unfit:
        raise ModelError(
            f"{where}: the weight file must hold every weight, got none that fits for "
            f"{(missing or unfit)[:3]}. They would be random. Get the complete file."
        )
    unused = sorted(key for key in report["unexpected_keys"] if not BUFFERS.search(key))
    if unused:
        raise ModelError(
            f"{where}: config.json must describe every weight in the file, got {len(unused)} that "
            f"it has no place for: {', '.join(unused[:3])}. It would be a part of the model only. "
            "Get the config.json that belongs to the weights."
        )


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


def _load_tokenizer(files: ModelFiles) -> PreTrainedTokenizerBase | None:
    directory = Path(files.source)
    if directory.is_dir() and not any((directory / file).exists() for file in TOKENIZER_FILES):
        return None
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            files.source, trust_remote_code=files.trust_remote_code
        )
    except Exception as error:
        _require_no_remote_code(error, files)
        raise ModelError(
            f"{files.where}: its tokenizer must be readable, got {type(error).__name__}: "
            f"{first_line(error)}. Prompts could not be read. Mend or remove the tokenizer files."
        ) from error
    return tokenizer


def _stand_in_tokenizer() -> PreTrainedTokenizerBase:
    """Return a tokenizer of one word, for the bridge's own use; prompts never meet it."""
    words = Tokenizer(WordLevel({"<none>": 0}, unk_token="<none>"))
    return PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<none>", name_or_path="stand-in"
    )


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
