"""Loading a model from a local directory or, where there is a network, by its Hugging Face name."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformer_lens.model_bridge import TransformerBridge
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from circuitkit.errors import DecompositionError, ModelError
from circuitkit.model.subject import SubjectModel

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "tokenizer.model", "spiece.model")
SUPPORTED = ("gpt2",)


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
        DecompositionError: the architecture is not supported.
    """
    where = f"model {str(source)!r}"
    device = _checked_device(device)
    with _quiet():
        hf_model = _load_weights(str(source), where, dtype)
        tokenizer = _load_tokenizer(str(source), where)
        digest = weight_digest(hf_model)
        bridge = TransformerBridge.boot_transformers(
            str(source),
            hf_model=hf_model.to(device),
            tokenizer=tokenizer or _stand_in_tokenizer(),
            dtype=dtype,
            device=device,
        )
    bridge.eval()
    return SubjectModel(bridge, name or str(source), digest, tokenizer)


def weight_digest(model: torch.nn.Module) -> str:
    """Return a digest of all weights: names, shapes and values, the first 16 hex digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        # float64 holds every narrower float, so the digest does not depend on --dtype.
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _load_weights(source: str, where: str, dtype: torch.dtype) -> PreTrainedModel:
    try:
        config = AutoConfig.from_pretrained(source)
        if config.model_type not in SUPPORTED:
            raise DecompositionError(
                f"{where}: its architecture must be one of {', '.join(SUPPORTED)}, got "
                f"{config.model_type!r}. Its residual stream could not be taken apart yet. Use "
                "another model."
            )
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
