"""Which weights a model has, as a short word."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from circuitkit.circuits.file import load_circuit
from circuitkit.model import from_bridge, load_state_dict
from circuitkit.model.digests import (
    file_digest,
    is_legacy,
    legacy_digest,
    may_agree,
    value_digest,
)
from circuitkit.zoo import load_model

PICO, PLANTED = "06e78fa9c31efc96", "88a3eaa707101879"  # of the older form, in circuit files


@pytest.fixture
def copy(toy_directory, tmp_path):
    return shutil.copytree(toy_directory, tmp_path / "copy")


def test_the_digest_is_the_same_for_every_type_the_model_is_loaded_in(toy_directory):
    found = {load_model(toy_directory, dtype=t).digest for t in ("float64", "float32", "bfloat16")}
    assert found == {file_digest(toy_directory)}
    assert not is_legacy(found.pop())


def test_one_changed_bit_of_any_tensor_changes_the_digest(copy):
    before = file_digest(copy)
    weights = load_file(copy / "model.safetensors")
    for name in list(weights):
        changed = {k: v.clone() for k, v in weights.items()}
        changed[name].view(torch.int32).view(-1)[-1] ^= 1
        save_file(changed, copy / "model.safetensors")
        assert file_digest(copy) != before, name


def test_names_shapes_and_types_count(tmp_path):
    def digest(**tensors):
        save_file(tensors, tmp_path / "model.safetensors")
        return file_digest(tmp_path)

    x = torch.arange(6.0)
    different = [
        digest(a=x, b=x + 1),
        digest(a=x + 1, b=x),
        digest(a=x),
        digest(b=x),
        digest(a=x.reshape(2, 3)),
        digest(a=x.view(torch.int32)),
        digest(a=x, b=x.clone()),
    ]
    assert len(set(different)) == len(different)


def test_files_and_their_order_do_not_count(copy, tmp_path):
    whole, model = file_digest(copy), AutoModelForCausalLM.from_pretrained(copy)
    model.save_pretrained(tmp_path / "shards", max_shard_size="8KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    weights = load_file(copy / "model.safetensors")
    (tmp_path / "turned").mkdir()
    (tmp_path / "torch").mkdir()
    turned = dict(sorted(weights.items(), reverse=True))
    save_file(turned, tmp_path / "turned" / "model.safetensors", metadata={"a": "b"})
    torch.save(turned, tmp_path / "torch" / "pytorch_model.bin")
    found = {n: file_digest(tmp_path / n) for n in ("shards", "turned", "torch")}
    assert found == dict.fromkeys(found, whole)


def test_the_files_that_are_loaded_are_the_files_that_count(copy):
    before = file_digest(copy)
    torch.save({"a": torch.ones(2)}, copy / "pytorch_model.bin")
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "b"}}))
    assert file_digest(copy) == before


def test_a_directory_without_known_files_has_none(tmp_path):
    assert file_digest(tmp_path) is None


def test_a_value_has_the_same_digest_in_every_type_that_holds_it():
    exact = torch.arange(-8.0, 8.0).reshape(2, 8)
    found = {
        value_digest({"w": exact.to(t)})
        for t in (torch.float64, torch.float32, torch.bfloat16, torch.float16)
    }
    assert len(found) == 1
    fine = exact.double()
    fine[1, 3] += 1e-12
    assert value_digest({"w": fine}) not in found
    assert value_digest({"w": exact.T.contiguous().T}) in found
    for other in ({"v": exact}, {"w": exact.reshape(8, 2)}, {"w": exact[:1]}, {"w": exact.int()}):
        assert value_digest(other) not in found
    assert value_digest({"w": exact}, "rules") not in found


def test_large_tensors_are_hashed_to_their_end():
    x = torch.zeros(2**22 + 3)
    before = value_digest({"w": x})
    x[-1] = 1
    assert value_digest({"w": x}) != before


def test_a_state_dict_has_one_digest_in_every_type(toy):
    generator = torch.Generator().manual_seed(0)
    shapes = {"embed.W_E": (11, 6), "pos_embed.W_pos": (8, 6), "unembed.W_U": (6, 11)}
    shapes |= {f"blocks.0.attn.W_{x}": (2, 6, 3) for x in "QKV"} | {"blocks.0.attn.W_O": (2, 3, 6)}
    tensors = {k: torch.randn(s, generator=generator) for k, s in shapes.items()}
    found = {
        load_state_dict(tensors, name="s", dtype=t).digest for t in (torch.float32, torch.bfloat16)
    }
    assert len(found) == 1
    changed = tensors | {"unembed.W_U": tensors["unembed.W_U"] + 1}
    assert load_state_dict(changed, name="s").digest not in found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_circuit_files_of_the_older_form_still_know_their_model(dtype):
    pico = load_model("pico", dtype=dtype)
    assert pico.has_weights(PICO)
    assert pico.has_weights(pico.digest)
    assert not pico.has_weights(PICO[:-1] + "0")
    assert not pico.has_weights(pico.digest[:-1] + "x")


def test_planted_models_are_known_by_the_older_form_too():
    model = load_model("planted-ioi:decoys:0")
    assert model.has_weights(PLANTED)
    assert not load_model("planted-ioi:decoys:1").has_weights(PLANTED)


def test_a_bridge_is_known_by_the_older_form_too(toy):
    rules = [getattr(toy.bridge.cfg, k, None) for k in ("act_fn", "attention_dir", "eps")]
    rules += [getattr(toy.bridge.cfg, k, None) for k in ("normalization_type", "attn_scale")]
    model = from_bridge(toy.bridge)
    assert model.has_weights(legacy_digest(toy.bridge.original_model, f"{rules} 1.0"))


def test_the_older_form_is_computed_only_when_asked_for(toy_directory, monkeypatch):
    def fail(*_):
        raise AssertionError("loaded again")

    monkeypatch.setattr("circuitkit.model.loading.legacy_digest", fail)
    model = load_model(toy_directory)
    assert model.has_weights(model.digest)
    assert not model.has_weights("b3-0000000000000000")
    with pytest.raises(AssertionError, match="loaded again"):
        model.has_weights(PICO)


def test_digests_of_two_forms_cannot_contradict_each_other():
    assert may_agree(PICO, "b3-6121df74e9fa8587")
    assert may_agree(PICO, PICO)
    assert not may_agree(PICO, PLANTED)
    assert not may_agree("b3-1", "b3-2")
    assert may_agree("", "b3-1") is False


def test_the_shipped_circuits_are_of_the_shipped_model():
    pico = load_model("pico")
    files = sorted((Path(__file__).parents[2] / "circuits").glob("*.json"))
    assert files
    for file in files:
        assert pico.has_weights(load_circuit(file).provenance.model_digest), file.name
