"""Models in which some weights are others."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

import circuitkit as ck
from circuitkit.errors import ModelError
from circuitkit.model.changed import named_weights, save_model, weight_name, with_weights
from circuitkit.model.check import probe
from circuitkit.model.digests import file_digest
from circuitkit.model.layers import part

W_DOWN = "transformer.h.1.mlp.c_proj.weight"


@pytest.fixture(scope="module")
def pico():
    return ck.load_model("pico")


@pytest.fixture(scope="module")
def planted_ioi():
    return ck.load_model("planted-ioi")


@pytest.fixture(scope="module")
def hf_model():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=30, n_embd=16, n_layer=2, n_head=2, n_positions=24)
    return GPT2LMHeadModel(config).double().eval()


@pytest.fixture(scope="module")
def model(hf_model):
    return ck.from_hf(hf_model, name="small")


def logits_of(model):
    return model.run(probe(30, 24))


def hf_logits(hf_model, **changed):
    """Return the logits of the Hugging Face model itself, with other weights for once."""
    batch = probe(30, 24)
    with torch.no_grad():
        found = torch.func.functional_call(
            hf_model,
            changed,
            (batch.tokens,),
            {"attention_mask": batch.mask, "position_ids": batch.position_ids},
        )
    return found.logits[torch.arange(len(batch.tokens)), batch.labelled[:, 0]]


def test_a_changed_weight_gives_what_the_model_itself_gives_with_it(model, hf_model):
    new = torch.randn_like(hf_model.get_parameter(W_DOWN))
    changed = with_weights(model, {W_DOWN: new})
    assert torch.allclose(logits_of(changed), hf_logits(hf_model, **{W_DOWN: new}), atol=1e-12)
    assert not torch.allclose(logits_of(changed), logits_of(model), atol=1e-3)


def test_the_first_model_is_the_same_to_the_bit_and_shares_what_did_not_change(model, hf_model):
    before, digest = logits_of(model), model.digest
    changed = with_weights(model, {W_DOWN: torch.zeros_like(hf_model.get_parameter(W_DOWN))})
    assert torch.equal(logits_of(model), before)
    assert model.digest == digest != changed.digest
    ours, theirs = named_weights(model), named_weights(changed)
    same = {name for name in ours if ours[name].data_ptr() == theirs[name].data_ptr()}
    assert same == set(ours) - {W_DOWN}


def test_changes_follow_one_another_and_the_old_value_brings_the_old_model_back(model, hf_model):
    old = hf_model.get_parameter(W_DOWN)
    once = with_weights(model, {W_DOWN: old * 2})
    twice = with_weights(once, {"transformer.ln_f.bias": torch.ones(16)})
    back = with_weights(
        twice, {W_DOWN: old, "transformer.ln_f.bias": hf_model.transformer.ln_f.bias}
    )
    assert not torch.equal(logits_of(twice), logits_of(once))
    assert torch.equal(logits_of(back), logits_of(model))
    assert back.digest == model.digest


def test_a_tied_embedding_changes_the_unembedding_too_unless_both_are_named(model, hf_model):
    wte, head = "transformer.wte.weight", "lm_head.weight"
    old = hf_model.get_parameter(wte)
    new = torch.randn_like(old)
    both = with_weights(model, {wte: new})
    assert torch.allclose(logits_of(both), hf_logits(hf_model, **{wte: new, head: new}), atol=1e-12)
    alone = with_weights(model, {wte: new, head: old})
    expected = hf_logits(untied(hf_model), **{wte: new, head: old})
    assert torch.allclose(logits_of(alone), expected, atol=1e-12)
    assert not torch.allclose(logits_of(alone), logits_of(both), atol=1e-3)


def untied(hf_model):
    """Return the model with an unembedding of its own."""
    config = GPT2Config(**{**hf_model.config.to_dict(), "tie_word_embeddings": False})
    other = GPT2LMHeadModel(config).double().eval()
    other.load_state_dict(hf_model.state_dict())
    return other


def test_a_saved_model_is_the_changed_one_to_the_bit_also_with_untied_embeddings(
    model, hf_model, tmp_path
):
    wte, head = "transformer.wte.weight", "lm_head.weight"
    old = hf_model.get_parameter(wte)
    for n, weights in enumerate(({W_DOWN: torch.ones(64, 16)}, {wte: old * 2, head: old})):
        changed = with_weights(model, weights)
        save_model(changed, tmp_path / str(n))
        assert file_digest(tmp_path / str(n)) == changed.digest
        again = ck.load_model(tmp_path / str(n))
        assert torch.equal(logits_of(again), logits_of(changed))
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path / str(n), dtype=torch.float64)
        assert torch.allclose(logits_of(changed), hf_logits(theirs.eval()), atol=1e-12)


def test_a_saved_model_leaves_no_weights_of_another_beside_it(model, tmp_path):
    for name in ("model-00001-of-2.safetensors", "adapter_config.json", "notes.txt"):
        (tmp_path / name).write_text("old")
    save_model(model, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"model.safetensors", "notes.txt"} <= names
    assert not {"model-00001-of-2.safetensors", "adapter_config.json"} & names


def test_a_value_that_is_too_large_for_the_models_type_is_refused(hf_model):
    half = ck.from_hf(copy.deepcopy(hf_model).bfloat16())
    with pytest.raises(ModelError, match="must be finite"):
        with_weights(half, {W_DOWN: torch.full((64, 16), 1e39, dtype=torch.float64)})


def test_models_of_directories_and_of_bridges_can_be_changed(pico, planted_ioi):
    for model in (pico, planted_ioi):
        name = next(n for n in named_weights(model) if n.endswith(("c_proj.weight", "o.weight")))
        changed = with_weights(model, {name: torch.zeros_like(named_weights(model)[name])})
        assert changed.layers[0].attention.w_out.abs().max() == 0
        assert model.layers[0].attention.w_out.abs().max() > 0
        assert changed.digest != model.digest
        assert changed.tokenizer is model.tokenizer


def test_files_are_found_again_from_another_working_directory(hf_model, tmp_path, monkeypatch):
    hf_model.save_pretrained(tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    model = ck.load_model("here")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert not model.has_weights("0" * 16)  # of the older form: read from the files
    changed = with_weights(model, {W_DOWN: torch.zeros(64, 16)})
    assert changed.layers[1].mlp.out_module is not None


def test_the_last_projection_of_an_mlp_has_the_name_of_the_files(model, pico):
    for each in (model, pico):
        name = weight_name(each, each.layers[1].mlp.out_module)
        assert name == "transformer.h.1.mlp.c_proj"


def test_the_output_projection_of_attention_has_the_name_of_the_files(model, pico):
    for each in (model, pico):
        module = part(each.bridge.blocks[1]._modules["attn"], "o")
        assert weight_name(each, module) == "transformer.h.1.attn.c_proj"


def test_what_cannot_take_a_weights_place_is_refused(model):
    for weights, rule in (
        ({"h.1.mlp": torch.zeros(1)}, "must be one of the model's state dict, got 'h.1.mlp'"),
        ({W_DOWN: torch.zeros(16, 64)}, r"must have the shape \(64, 16\), got \(16, 64\)"),
        ({W_DOWN: torch.full((64, 16), torch.nan)}, "must be finite"),
    ):
        with pytest.raises(ModelError, match=rule):
            with_weights(model, weights)
    with pytest.raises(ModelError, match="must be one with weights of its own, got GELU"):
        weight_name(model, torch.nn.GELU())


def test_a_bridge_is_not_saved_as_files_of_no_architecture(planted_ioi, tmp_path):
    with pytest.raises(ModelError, match="must come from a Hugging Face model"):
        save_model(planted_ioi, tmp_path / "out")
    assert not (tmp_path / "out").exists()
