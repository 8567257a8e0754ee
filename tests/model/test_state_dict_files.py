"""Files of weights alone: of minGPT's, nanoGPT's and HookedTransformer's naming."""

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from circuitkit.errors import CircuitkitError, ModelError
from circuitkit.model import Reading, load_state_dict
from circuitkit.model.namings import from_mingpt
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.zoo import load_model

TURNED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
MINGPT = 'layout = "mingpt"\nn_heads = 4\nact_fn = "gelu_new"\nscale = {scale}\n'
OLD = {
    "transformer.wte.weight": "tok_emb.weight",
    "transformer.wpe.weight": "pos_emb",
    "transformer.ln_f.": "ln_f.",
    "lm_head.": "head.",
    "transformer.h.": "blocks.",
    ".ln_1.": ".ln1.",
    ".ln_2.": ".ln2.",
    ".attn.c_proj.": ".attn.proj.",
    ".mlp.c_fc.": ".mlp.0.",
    ".mlp.c_proj.": ".mlp.2.",
}


@pytest.fixture
def hf_model(toy_directory):
    return AutoModelForCausalLM.from_pretrained(toy_directory, dtype=torch.float64).eval()


@pytest.fixture
def mingpt(hf_model):
    """The toy model as minGPT names it, masks included: GPT-2's names, with torch's own layout."""
    tensors = hf_model.state_dict()
    found = {k: x.T.contiguous() if k.endswith(TURNED) else x for k, x in tensors.items()}
    found["transformer.h.0.attn.bias"] = torch.ones(1, 1, 16, 16).tril()
    return {k: x.clone() for k, x in found.items()}


def older(mingpt):
    """Return the same as minGPT named it in 2020."""
    found = {}
    for key, tensor in mingpt.items():
        if ".c_attn." in key:
            block, kind = key.split(".")[2], key.rpartition(".")[2]
            for name, part in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                found[f"blocks.{block}.attn.{name}.{kind}"] = part.clone()
            continue
        for old, new in OLD.items():
            key = key.replace(old, new)
        found[key] = tensor[None] if key == "pos_emb" else tensor
    found["blocks.0.attn.mask"] = found.pop("blocks.0.attn.bias")
    return found


def require_same(model, hf_model):
    tokens = [1, 2, 3, 4, 5]
    batch = tokenize_pairs([PromptPair(tokens, [1, 5, 3, 4, 5], [4])]).clean_batch
    with torch.no_grad():
        theirs = hf_model(torch.tensor([tokens])).logits[:, -1]
        assert torch.allclose(model.run(batch), theirs, atol=1e-10)


def reading_for(directory, hf_model):
    scale = 5**-0.5 if hf_model.config.scale_attn_weights else 1.0
    (directory / "reading.toml").write_text(MINGPT.format(scale=scale))
    return str(directory / "reading.toml")


@pytest.mark.parametrize("naming", ["mingpt", "older", "compiled", "nested", "safetensors"])
def test_a_file_in_either_naming_computes_what_the_model_computed(
    naming, mingpt, hf_model, tmp_path
):
    tensors = older(mingpt) if naming == "older" else mingpt
    if naming == "compiled":
        tensors = {f"_orig_mod.{key}": x for key, x in tensors.items()}
    file = tmp_path / ("w.safetensors" if naming == "safetensors" else "w.pt")
    if naming == "safetensors":
        save_file(tensors, file)
    else:
        torch.save({"model": tensors, "step": 3} if naming == "nested" else tensors, file)
    model = load_model(file, reading=reading_for(tmp_path, hf_model))
    require_same(model, hf_model)
    assert model.dtype == torch.float64
    assert model.name == f"{file}?reading={tmp_path / 'reading.toml'}"
    assert load_model(model.name).digest == model.digest


def test_a_hooked_transformers_file_is_what_load_state_dict_makes_of_it(mingpt, tmp_path):
    tensors = from_mingpt(mingpt, 4)
    torch.save(tensors, tmp_path / "w.pt")
    (tmp_path / "r.toml").write_text('act_fn = "gelu_new"')
    model = load_model(tmp_path / "w.pt", reading=str(tmp_path / "r.toml"))
    assert model.digest == load_state_dict(tensors, name="x", reading=Reading("gelu_new")).digest


def test_a_norm_without_bias_has_a_bias_of_zero(mingpt):
    fewer = {k: x for k, x in mingpt.items() if not k.endswith(("ln_1.bias", "ln_f.bias"))}
    found = from_mingpt(fewer, 4)
    assert found["blocks.1.ln1.b"].tolist() == [0] * 20
    assert found["ln_final.b"].tolist() == [0] * 20
    assert found.keys() == from_mingpt(mingpt, 4).keys()


WRONG = {
    "no reading": (None, "must come with a reading and nothing else, got none"),
    "no TOML": ("act_fn = ", "must be a file of TOML"),
    "no field": ("heads = 4", "got 'heads' = 4"),
    "a wrong type": ("act_fn = 4", "got 'act_fn' = 4"),
    "no layout": ('layout = "gpt"', "layout must be one of hooked-transformer"),
    "no heads": ('layout = "mingpt"', "n_heads must be a positive number"),
    "heads elsewhere": ("n_heads = 4", "n_heads must be a positive number"),
    "no activation": ('act_fn = "tanh"', "reading, act_fn: must be one of"),
    "other heads": ('layout = "mingpt"\nn_heads = 7', "must be of n_heads heads .* got n_heads 7"),
    "another naming": ("", "must have the keys of its layout"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_reading_that_does_not_fit_is_one_sentence(kind, mingpt, tmp_path):
    text, message = WRONG[kind]
    torch.save(mingpt, tmp_path / "w.pt")
    reading = ""
    if text is not None:
        (tmp_path / "r.toml").write_text(text)
        reading = str(tmp_path / "r.toml")
    with pytest.raises(CircuitkitError, match=message):
        load_model(tmp_path / "w.pt", reading=reading)


def test_tensors_of_no_known_name_are_refused_not_left_out(mingpt):
    with pytest.raises(ModelError, match=r"h\.0\.adapter\.weight: must be a name that minGPT"):
        from_mingpt(mingpt | {"transformer.h.0.adapter.weight": torch.ones(2)}, 4)


class Nasty:
    def __reduce__(self):
        return (print, ("run",))


def test_projections_stored_as_hugging_face_stores_them_are_refused_by_shape(mingpt):
    key = next(key for key in mingpt if key.endswith("attn.c_attn.weight"))
    turned = mingpt | {key: mingpt[key].T.contiguous()}
    with pytest.raises(ModelError, match=r"Hugging Face's GPT-2 stores the transposed\. Load its"):
        from_mingpt(turned, 4)


def test_nothing_in_a_file_of_weights_is_run(tmp_path, capfd):
    torch.save({"model": Nasty()}, tmp_path / "w.pt")
    (tmp_path / "r.toml").write_text("")
    with pytest.raises(ModelError, match=r"must be a file of tensors, got UnpicklingError"):
        load_model(tmp_path / "w.pt", reading=str(tmp_path / "r.toml"))
    assert "run" not in capfd.readouterr().out


def test_a_directory_takes_no_reading_and_a_file_no_adapter(toy_directory, tmp_path):
    with pytest.raises(ModelError, match="a reading must be given with a file of weights alone"):
        load_model(toy_directory, reading="r.toml")
    with pytest.raises(ModelError, match="nothing else, got adapter"):
        load_model(tmp_path / "w.pt", reading="r.toml", adapter="a")
