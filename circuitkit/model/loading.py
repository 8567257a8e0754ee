"""Making a model ready to be studied: from files, from an object in memory, or from a bridge."""

import copy
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import cached_file

from circuitkit.errors import DecompositionError, ModelError, PrecisionWarning
from circuitkit.model import hook_points
from circuitkit.model.adapters import Adapter, merge, read_adapter
from circuitkit.model.check import (
    COARSE_GAP,
    Reference,
    check_against,
    probe,
    references_of,
    references_of_bridge,
)
from circuitkit.model.classifiers import (
    as_language_model,
    at_position_read,
    is_classifier,
    position_read,
)
from circuitkit.model.digests import (
    file_digest,
    joined_digest,
    legacy_digest,
    stored_digest,
    value_digest,
    whole_digest,
)
from circuitkit.model.layouts import own_bridge
from circuitkit.model.quantised import is_plain, is_quantised, make_dense
from circuitkit.model.refusals import checked_device, first_line, refusing
from circuitkit.model.source import ModelSource, source_of
from circuitkit.model.subject import SubjectModel
from circuitkit.model.weight_files import (
    ModelFiles,
    quiet,
    read_tokenizer,
    read_weights,
    require_family,
)
from circuitkit.prompts.batch import PromptBatch
from circuitkit.work.text import shown

AUTO_DTYPE = "auto"
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Called:
    """What a model is called, by its user and in messages, and what its tokenizer is."""

    name: str
    where: str
    tokenizer: PreTrainedTokenizerBase | None
    trust_remote_code: bool = False


def load_directory(
    source: str | Path | ModelSource,
    *,
    name: str = "",
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    trust_remote_code: bool = False,
) -> SubjectModel:
    """Return the model in a directory of Hugging Face files, or the one of that name on the hub.

    `dtype` None: as the weights are stored. A directory without tokenizer files works for prompts
    of token ids. Files of Python that come with the model are run only with `trust_remote_code`;
    weights are read as data alone.

    Raises:
        ModelError: no such model, or weights that are missing, truncated or do not fit.
        DecompositionError: the architecture cannot be taken apart, or not exactly.
    """
    place = source if isinstance(source, ModelSource) else source_of(source)
    files = ModelFiles(place, trust_remote_code)
    device = checked_device(device)
    adapter = read_adapter(Path(place.adapter), files.where) if place.adapter else None
    with quiet(), ThreadPoolExecutor(1) as beside:
        # reading the files a second time, for their digest, takes as long as all else
        early = beside.submit(_digest_of, files) if files.directory is not None else None
        hf_model = read_weights(files, AUTO_DTYPE if dtype is None else dtype)
        called = Called(name or str(place), files.where, read_tokenizer(files), trust_remote_code)
        with refusing(files.where, hf_model, type(hf_model).__name__):
            hf_model.to(device)
        found = early.result() if early is not None else _digest_of(files)
        digest = value_digest(hf_model.state_dict()) if found is None else found
        again = files.from_anywhere
        legacy = None if adapter else partial(_legacy_digest_of, again)
        if adapter is not None:
            merge(adapter, hf_model, files.where)
            digest = joined_digest(digest, adapter.digest)
        origin = partial(_read_again, again, hf_model.dtype, adapter)
        return _taken_apart(hf_model, called, digest, legacy=legacy, origin=origin)


def _read_again(files: ModelFiles, dtype: torch.dtype, adapter: Adapter | None) -> PreTrainedModel:
    """Return the model of some files once more, not wrapped: wrapping takes modules apart."""
    with quiet():
        hf_model = read_weights(files, dtype)
        if adapter is not None:
            merge(adapter, hf_model, files.where)
        return hf_model


def from_hf(
    hf_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    name: str = "",
) -> SubjectModel:
    """Return a Hugging Face model that is in memory, to be studied. Its weights are not copied.

    The object stays as it is: a second tree of modules is wrapped, which shares every weight with
    it. So what trains or edits the object changes the model that is studied, but not its digest,
    which is that of the weights now: that of the files which `save_pretrained` would write. The
    model is computed with eager attention, in the type and on the device that its weights have.

    `name`: what circuits call the model. With the directory or Hugging Face name that holds the
    same weights, commands find it again.

    Raises:
        ModelError: it is no Hugging Face language model, is in training mode, is wrapped by a
            library of adapters, or its weights are spread over devices.
        DecompositionError: its architecture cannot be taken apart.
    """
    where = f"model {shown(name)}" if name else "model in memory"
    _require_language_model(hf_model, where)
    called = Called(name or "in memory", where, tokenizer)
    with quiet():
        with refusing(where, hf_model, type(hf_model).__name__):
            twin = sharing_weights(hf_model)
            twin.set_attn_implementation("eager")
        legacy = partial(legacy_digest, hf_model)
        origin = partial(sharing_weights, hf_model)
        return _taken_apart(twin, called, "", legacy=legacy, origin=origin)


def _require_language_model(hf_model: Any, where: str) -> None:
    """Refuse objects that are no language model of one's own machine, ready to be run."""
    if not isinstance(hf_model, PreTrainedModel):
        wrapped = hasattr(hf_model, "merge_and_unload")
        raise ModelError(
            f"{where}: must be a Hugging Face model (PreTrainedModel), got "
            f"{type(hf_model).__name__}. "
            + (
                "Adapters must be part of the weights. Call .merge_and_unload() first."
                if wrapped
                else "Its parts are found by its class. For a TransformerBridge use from_bridge, "
                "for a dictionary of tensors load_state_dict."
            )
        )
    require_family(hf_model.config, where)
    if hf_model.get_output_embeddings() is None and not is_classifier(hf_model):
        raise ModelError(
            f"{where}: must have logits, got {type(hf_model).__name__} without an unembedding. "
            "Nothing can be asked of it. Load it with AutoModelForCausalLM."
        )
    if hf_model.training:
        raise ModelError(
            f"{where}: must be in evaluation mode, got training mode. Dropout would make every "
            "measurement random. Call .eval() on it first."
        )
    devices = sorted({str(p.device) for p in hf_model.parameters()})
    if len(devices) > 1 or "meta" in devices:
        raise ModelError(
            f"{where}: its weights must be on one device, got {', '.join(devices)}. Layers are run "
            "one by one, and nothing moves between devices. Load it with one device_map entry."
        )


def sharing_weights(hf_model: PreTrainedModel) -> PreTrainedModel:
    """Return the same model in modules of its own: no tensor of them is copied.

    Quantised ones are: some packages move their values about when they are first run.
    """
    tensors = chain(hf_model.parameters(), hf_model.buffers())
    shared = {id(tensor): tensor for tensor in tensors if is_plain(tensor)}
    twin: PreTrainedModel = copy.deepcopy(hf_model, shared)
    return twin


def _as_saved(hf_model: PreTrainedModel) -> dict[str, Tensor]:
    """Return the weights by name, without second names of tied ones, as files hold them."""
    tensors: dict[str, Tensor] = hf_model.state_dict()
    for name, first in getattr(hf_model, "all_tied_weights_keys", {}).items():
        both = first in tensors and name in tensors
        if both and tensors[name].data_ptr() == tensors[first].data_ptr():
            del tensors[name]
    return tensors


def _taken_apart(
    hf_model: PreTrainedModel,
    called: Called,
    digest: str,
    *,
    legacy: Any = None,
    origin: Callable[[], PreTrainedModel],
) -> SubjectModel:
    """Return the model, wrapped and compared with its own code.

    No digest: that of the weights as they are here, as files would hold them.
    """
    _require_dtype(hf_model, called.where)
    kind = type(hf_model).__name__
    with refusing(called.where, hf_model, kind):
        if hf_model.dtype == torch.float64 and hasattr(hf_model, "set_experts_implementation"):
            hf_model.set_experts_implementation("eager")  # the fused one has no float64
        batch = probe(_n_vocab(hf_model, called.where), _n_ctx(hf_model.config))
        references = _asked(hf_model, batch, called.where)
        quantised = is_quantised(hf_model)
        if quantised:
            make_dense(hf_model, hf_model.dtype, called.where)
        digest = digest or stored_digest(_as_saved(hf_model))
        hf_model = as_language_model(hf_model, called.where)
        batch = at_position_read(batch, position_read(hf_model))
        bridge = _booted(hf_model, called)
        bridge.eval()
    model = SubjectModel(
        bridge, called.name, digest, called.tokenizer, legacy=legacy, origin=origin
    )
    with refusing(called.where, hf_model, kind):
        gap = check_against(model, batch, references, COARSE_GAP if quantised else None)
    if quantised:
        _say_gap(model, gap, called.where)
    return model


def _asked(hf_model: PreTrainedModel, batch: PromptBatch, where: str) -> list[Reference]:
    """Return what the model's own code computes."""
    try:
        return references_of(hf_model, batch)
    except (RuntimeError, ImportError, ValueError) as error:
        if not is_quantised(hf_model):
            raise
        raise ModelError(
            f"{where}: its quantised weights must run here, got {type(error).__name__}: "
            f"{first_line(error)}. Nothing could be compared with the model's own code. Try "
            "--device cuda, where their kernels run, or use weights in bfloat16."
        ) from error


def _say_gap(model: SubjectModel, gap: float, where: str) -> None:
    warnings.warn(
        f"{where}: the weights are studied as the numbers that they stand for, in {model.dtype}. "
        f"What their own kernels compute on a random prompt differs by up to {gap:.2g} of the "
        "largest value. A circuit is one of these numbers.",
        PrecisionWarning,
        stacklevel=2,
    )


def _require_dtype(hf_model: PreTrainedModel, where: str) -> None:
    if hf_model.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise ModelError(
            f"{where}: its weights must be of a type that is computed with ({names}), got "
            f"{hf_model.dtype}. No effect can be measured in it. Use --dtype bfloat16."
        )


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
            "are found by the bridge. Wrap it, use from_hf, or give load_model its directory."
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


def _booted(hf_model: PreTrainedModel, called: Called) -> TransformerBridge:
    tokenizer = called.tokenizer or _stand_in_tokenizer()
    try:
        own = own_bridge(hf_model, tokenizer)
        if own is not None:
            return own
        return TransformerBridge.boot_transformers(
            called.name,
            trust_remote_code=called.trust_remote_code,
            hf_model=hf_model,
            tokenizer=tokenizer,
            dtype=hf_model.dtype,
            device=str(hf_model.device),
        )
    except Exception as error:  # the bridge raises many kinds for architectures it lacks
        raise DecompositionError(
            f"{called.where}: its architecture ({hf_model.config.model_type!r}) must be one that "
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


def _digest_of(files: ModelFiles) -> str | None:
    """Return the digest of the files that are loaded; None where it is that of the values."""
    if files.source.is_gguf:
        return whole_digest(Path(files.source.name))
    options = {k: v for k, v in files.options.items() if k in ("revision", "subfolder")}
    try:
        config = cached_file(files.place, "config.json", local_files_only=True, **options)
        return file_digest(Path(config).parent)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"{files.where}: its weight files must be readable twice, got {type(error).__name__}: "
            f"{first_line(error)}. They say which weights a circuit belongs to. Get them again."
        ) from error


def _legacy_digest_of(files: ModelFiles) -> str:
    """Return the digest that older circuit files have: of the weights loaded as float32."""
    with quiet():
        return legacy_digest(read_weights(files, torch.float32))


def _stand_in_tokenizer() -> PreTrainedTokenizerBase:
    """Return a tokenizer of one word, for the bridge's own use; prompts never meet it."""
    words = Tokenizer(WordLevel({"<none>": 0}, unk_token="<none>"))
    return PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<none>", name_or_path="stand-in"
    )
