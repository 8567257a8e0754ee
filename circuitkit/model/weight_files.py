"""Reading a model's files: configuration, weights and tokenizer, and refusing what does not fit."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import transformers
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from circuitkit.errors import DecompositionError, ModelError
from circuitkit.model.classifiers import auto_class
from circuitkit.model.families import require_residual_stream
from circuitkit.model.refusals import first_line
from circuitkit.model.source import ModelSource, exists, is_directory

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
    """Where a model is read from, and whether its own code may be run."""

    source: ModelSource
    trust_remote_code: bool = False

    @property
    def where(self) -> str:
        """What messages call it."""
        return self.source.where

    @property
    def place(self) -> str:
        """The directory or Hugging Face name that the loaders are given."""
        source = self.source
        return str(Path(source.name).parent) if source.is_gguf else source.name

    @property
    def directory(self) -> Path | None:
        """The directory of the weights; None for a Hugging Face name."""
        is_one = is_directory(self.place)
        return Path(self.place) / self.source.subfolder if is_one else None

    @property
    def from_anywhere(self) -> "ModelFiles":
        """The same files, to be read again later, whatever the working directory is then."""
        if not exists(self.place):
            return self
        return replace(
            self, source=replace(self.source, name=str(Path(self.source.name).absolute()))
        )

    @property
    def options(self) -> dict[str, Any]:
        """What else the loaders are given."""
        source = self.source
        said: dict[str, Any] = {"revision": source.revision, "subfolder": source.subfolder}
        said["gguf_file"] = Path(source.name).name if source.is_gguf else ""
        return {"trust_remote_code": self.trust_remote_code} | {k: v for k, v in said.items() if v}

    def require_sense(self) -> None:
        """Refuse what can be seen without opening a file.

        Raises:
            ModelError: a revision of a directory, a part of it that is none, or a missing file.
        """
        source, where = self.source, self.where
        if source.reading:
            raise ModelError(
                f"{where}: a reading must be given with a file of weights alone, got "
                f"{source.name!r}. config.json says what a directory's weights mean. Leave it out."
            )
        if source.revision and exists(self.place):
            raise ModelError(
                f"{where}: a revision must be of a Hugging Face name, got one of the directory "
                f"{self.place!r}. A directory has one state. Leave the revision out."
            )
        if not exists(self.place) and _is_path(self.place):
            raise ModelError(
                f"{where}: must be a directory or file, got a path where nothing is. Its start or "
                "its slashes say that it is no Hugging Face name. Check the path."
            )
        if self.directory is not None and not is_directory(str(self.directory)):
            raise ModelError(
                f"{where}: the subfolder must be a directory in {self.place!r}, got "
                f"{source.subfolder!r}. There are no weights to read. Check its name."
            )
        if source.is_gguf and not exists(source.name):
            raise ModelError(
                f"{where}: must be a file of GGUF on this machine, got none. There is nothing to "
                "read. Download it first, and give its path."
            )


def _is_path(name: str) -> bool:
    """Whether a name can only be a path: Hugging Face names are `model` or `user/model`."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name


def config_of(files: ModelFiles) -> PreTrainedConfig:
    """Return what config.json says, if it is of a model that can be taken apart.

    Raises:
        ModelError: it cannot be read.
        DecompositionError: its blocks do not split into heads.
    """
    files.require_sense()
    try:
        config = AutoConfig.from_pretrained(files.place, **files.options)
    except Exception as error:  # the loaders raise many kinds: missing, cut short, not JSON
        raise _unreadable(files, error) from error
    require_family(config, files.where)
    return config


def read_weights(files: ModelFiles, dtype: Any) -> PreTrainedModel:
    """Return the Hugging Face model, in evaluation mode; `dtype` may be "auto".

    Raises:
        ModelError: weights that are missing, truncated, or do not fit.
        DecompositionError: its blocks do not split into heads.
    """
    config = config_of(files)
    try:
        loaded, report = auto_class(config).from_pretrained(
            files.place,
            dtype=dtype,
            attn_implementation="eager",
            output_loading_info=True,
            weights_only=True,
            **files.options,
        )
    except Exception as error:  # the loaders raise many kinds: missing, cut short, not JSON
        raise _unreadable(files, error) from error
    _require_all_weights(report, files.where)
    return loaded.eval()


def _unreadable(files: ModelFiles, error: Exception) -> ModelError:
    if not files.trust_remote_code and "trust_remote_code" in str(error):
        return _needs_code(files)
    if isinstance(error, ImportError):
        return ModelError(
            f"{files.where}: its weights must be of a form that is read here, got "
            f"{type(error).__name__}: {first_line(error)}. A package that reads them is missing. "
            "Install it, or use weights in float32 or bfloat16."
        )
    return ModelError(
        f"{files.where}: must be a readable model directory, a zoo name or a Hugging Face name, "
        f"got {type(error).__name__}: {first_line(error)}. Without its weights there is nothing "
        "to study. Check the path, or run `circuitkit models` for the models that ship."
    )


def _needs_code(files: ModelFiles) -> ModelError:
    """Return that a model would run code of its own, where that is why it could not be loaded."""
    return ModelError(
        f"{files.where}: must be of an architecture that transformers has, got one that its own "
        "files of Python define. Loading it would run them. If you have read and trust that code, "
        "add --trust-remote-code (in Python: trust_remote_code=True)."
    )


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


def require_family(config: PreTrainedConfig, where: str) -> None:
    """Refuse families whose blocks do not split into heads, or have no one residual stream.

    Raises:
        DecompositionError: it is one of them.
    """
    require_residual_stream(config, where)
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


def read_tokenizer(files: ModelFiles) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer; None for a directory without one.

    A subfolder without tokenizer files has that of the whole.

    Raises:
        ModelError: its files cannot be read.
    """
    options, directory = files.options, files.directory
    if directory is not None and not files.source.is_gguf:
        found = [place for place in (directory, Path(files.place)) if _has_tokenizer(place)]
        if not found:
            return None
        if found[0] != directory:
            del options["subfolder"]
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(files.place, **options)
    except Exception as error:
        if not files.trust_remote_code and "trust_remote_code" in str(error):
            raise _needs_code(files) from error
        raise ModelError(
            f"{files.where}: its tokenizer must be readable, got {type(error).__name__}: "
            f"{first_line(error)}. Prompts could not be read. Mend or remove the tokenizer files."
        ) from error
    return tokenizer


def _has_tokenizer(directory: Path) -> bool:
    return any((directory / file).exists() for file in TOKENIZER_FILES)


@contextmanager
def quiet() -> Iterator[None]:
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
