"""An untrained model of the same architecture: the control that a search must not pass.

A search that also finds an algorithm in random weights says nothing about the model (the non-linear
representation dilemma; Sutter et al. 2025, arXiv:2507.08802).

    a Hugging Face model    its class, made anew from its configuration
    a planted model         every weight drawn from a normal distribution as wide as its matrix
"""

from dataclasses import replace

import torch
from transformers import PreTrainedModel

from circuitkit.errors import ModelError
from circuitkit.model import SubjectModel
from circuitkit.model.loading import from_hf
from circuitkit.model.state_dicts import Reading, load_state_dict
from circuitkit.zoo.pico.evaluate import untrained_copy
from circuitkit.zoo.planted import PREFIX, planted
from circuitkit.zoo.planted.blueprint import state_dict, width_of_heads


def untrained_like(model: SubjectModel, *, seed: int = 0) -> SubjectModel:
    """Return a model of the same architecture and tokenizer with random weights.

    Raises:
        ModelError: its weights came as a file without a configuration.
    """
    name = f"untrained {model.name}"
    own = model.bridge.original_model
    if model.name.startswith(PREFIX):
        return _random_planted(model, name, seed)
    if not isinstance(own, PreTrainedModel):
        raise ModelError(
            f"model {model.name!r}: to be made anew it must have a configuration, got weights "
            "alone. The control on an untrained model cannot be run. Use a model that ships, or a "
            "Hugging Face model."
        )
    fresh = untrained_copy(own, seed=seed).to(device=model.device, dtype=model.dtype)
    return from_hf(fresh, model.tokenizer, name=name)


def _random_planted(model: SubjectModel, name: str, seed: int) -> SubjectModel:
    found = planted(model.name)
    tensors = state_dict(found.blueprint, found.slots, width_of_heads(found.blueprint))
    generator = torch.Generator().manual_seed(seed)
    drawn = {
        key: x.std(correction=0) * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        for key, x in tensors.items()
    }
    reading = Reading(act_fn="relu", normalization="none", scale=1.0)
    device = str(model.device)
    made = load_state_dict(drawn, name=name, reading=reading, dtype=model.dtype, device=device)
    return replace(made, tokenizer=model.tokenizer)
