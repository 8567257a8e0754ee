"""LoRA adapters: merged exactly, or refused with a sentence."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from circuitkit.errors import ModelError
from circuitkit.prompts.batch import PromptBatch
from circuitkit.zoo import load_model

D, MLP, VOCAB = 20, 48, 37
PLAIN = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["c_attn", "c_proj"]}
NAMES = {
    "transformer.h.0.attn.c_attn": (3 * D, D),
    "transformer.h.2.mlp.c_proj": (D, MLP),
}


def factors(names=NAMES, rank=2):
    generator = torch.Generator().manual_seed(3)
    found = {}
    for name, (out, read) in names.items():
        key = f"base_model.model.{name}"
        found[f"{key}.lora_A.weight"] = torch.randn(rank, read, generator=generator)
        found[f"{key}.lora_B.weight"] = torch.randn(out, rank, generator=generator)
    return found


def written(directory, config=PLAIN, tensors=None):
    directory.mkdir(exist_ok=True)
    (directory / "adapter_config.json").write_text(json.dumps(config))
    save_file(factors() if tensors is None else tensors, directory / "adapter_model.safetensors")
    return directory


def merged_by_hand(directory, scales, tensors):
    hf_model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float64)
    weights = dict(hf_model.named_parameters())
    for name, scale in scales.items():
        a, b = (tensors[f"base_model.model.{name}.lora_{x}.weight"].double() for x in "AB")
        weights[f"{name}.weight"].data += scale * (b @ a).T  # Conv1D keeps [in, out]
    return hf_model.eval()


def logits(model, hf_model):
    tokens = torch.tensor([[1, 2, 3, 4, 5]])
    batch = PromptBatch(tokens, torch.ones_like(tokens, dtype=torch.bool), torch.tensor([4]))
    with torch.no_grad():
        return model.run(batch), hf_model(tokens).logits[:, -1]


SCALES = {
    "plain": ({}, {name: 3.0 for name in NAMES}),
    "rslora": ({"use_rslora": True}, {name: 6 / 2**0.5 for name in NAMES}),
    "gaussian": ({"init_lora_weights": "gaussian"}, {name: 3.0 for name in NAMES}),
    "patterns": (
        {"alpha_pattern": {"h.2.mlp.c_proj": 1}},
        {"transformer.h.0.attn.c_attn": 3.0, "transformer.h.2.mlp.c_proj": 0.5},
    ),
}


@pytest.mark.parametrize("kind", SCALES)
def test_an_adapter_is_added_to_the_weights_with_its_own_scale(kind, toy_directory, tmp_path):
    more, scales = SCALES[kind]
    adapter = written(tmp_path / "a", PLAIN | more)
    model = load_model(toy_directory, adapter=str(adapter), dtype="float64")
    mine, theirs = logits(model, merged_by_hand(toy_directory, scales, factors()))
    assert torch.allclose(mine, theirs, atol=1e-10, rtol=1e-10)
    assert model.name == f"{toy_directory}?adapter={adapter}"


def test_the_digest_is_of_the_base_and_of_all_that_is_added(toy_directory, tmp_path):
    def digest(name, config=PLAIN, tensors=None):
        adapter = written(tmp_path / name, config, tensors)
        return load_model(toy_directory, adapter=str(adapter)).digest

    changed = factors()
    changed["base_model.model.transformer.h.0.attn.c_attn.lora_B.weight"][0] += 1
    found = [load_model(toy_directory).digest, digest("a"), digest("b", tensors=changed)]
    found.append(digest("c", PLAIN | {"lora_alpha": 7}))
    assert len(set(found)) == 4
    assert digest("d") == found[1]


def test_weights_that_an_adapter_holds_whole_take_the_place_of_the_models(toy_directory, tmp_path):
    head = torch.randn(VOCAB, D, generator=torch.Generator().manual_seed(0))
    tensors = factors() | {"base_model.model.lm_head.weight": head}
    adapter = written(tmp_path / "a", tensors=tensors)
    model = load_model(toy_directory, adapter=str(adapter), dtype="float64")
    assert torch.equal(model.unembedding[0], head.T.double())
    base = load_model(toy_directory, dtype="float64")
    assert torch.equal(model.token_embeddings, base.token_embeddings)  # was tied to it


def test_the_base_stays_as_it_was(toy_directory, tmp_path):
    before = (toy_directory / "model.safetensors").read_bytes()
    load_model(toy_directory, adapter=str(written(tmp_path / "a")))
    assert (toy_directory / "model.safetensors").read_bytes() == before


BROKEN = {
    "names": (PLAIN, factors({"model.layers.0.self_attn.q_proj": (D, D)}), "no weight of that"),
    "shapes": (PLAIN, factors({"transformer.h.0.attn.c_attn": (3 * D, D + 1)}), r"one of \[60, 20"),
    "whole": (PLAIN, factors() | {"base_model.model.lm_head.weight": torch.ones(3, D)}, "one of"),
    "dora": (PLAIN | {"use_dora": True}, None, "be plain LoRA, got DoRA"),
    "pissa": (PLAIN | {"init_lora_weights": "pissa_niter_4"}, None, "from its base .*'pissa_nit"),
    "ia3": (PLAIN | {"peft_type": "IA3"}, None, "be plain LoRA, got 'IA3'"),
    "half": (PLAIN, dict(list(factors().items())[:1]), "hold lora_A and lora_B .*KeyError"),
    "alpha": ({"peft_type": "LORA"}, None, "hold .*'lora_alpha'"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_adapter_that_is_not_of_the_model_is_one_sentence(kind, toy_directory, tmp_path):
    config, tensors, message = BROKEN[kind]
    adapter = written(tmp_path / "a", config, tensors)
    with pytest.raises(ModelError, match=rf"its adapter: must .*{message}"):
        load_model(toy_directory, adapter=str(adapter))


def test_a_directory_without_an_adapter_is_refused_before_the_model_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("circuitkit.model.loading.read_weights", lambda *_: pytest.fail("read"))
    for name in ("none", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(ModelError, match="must be a directory with adapter_config.json"):
            load_model("pico", adapter=str(tmp_path / name))


def test_factors_that_were_pickled_are_read_as_data(toy_directory, tmp_path):
    safe, pickled = written(tmp_path / "a"), tmp_path / "b"
    shutil.copytree(safe, pickled)
    (pickled / "adapter_model.safetensors").unlink()
    torch.save(factors(), pickled / "adapter_model.bin")
    found = [load_model(toy_directory, adapter=str(each)).digest for each in (safe, pickled)]
    assert found[0] == found[1]
