"""Random state dicts against the formulas of their layout."""

import pytest
import torch
from torch.nn import functional

from circuitkit.errors import ActivationError, ModelError
from circuitkit.model.state_dicts import Reading, load_state_dict, renamed
from circuitkit.prompts.batch import PromptBatch
from tests.families import make_native

N_CTX, VOCAB, VOCAB_OUT, N_LAYERS, N_HEADS, D_MODEL, D_HEAD, D_MLP = 6, 13, 7, 2, 3, 8, 5, 11
ACTIVATIONS = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_new": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "solu": lambda x: x * x.softmax(-1),
}


def random_state(*, norms="wb", mlps=True, gated=False, biases=True):
    shapes = {
        "embed.W_E": (VOCAB, D_MODEL),
        "pos_embed.W_pos": (N_CTX, D_MODEL),
        "unembed.W_U": (D_MODEL, VOCAB_OUT),
        "unembed.b_U": (VOCAB_OUT,),
        **{f"ln_final.{part}": (D_MODEL,) for part in norms},
    }
    for n in range(N_LAYERS):
        block = {f"attn.W_{x}": (N_HEADS, D_MODEL, D_HEAD) for x in "QKV"}
        block |= {f"attn.b_{x}": (N_HEADS, D_HEAD) for x in "QKV"}
        block |= {"attn.W_O": (N_HEADS, D_HEAD, D_MODEL), "attn.b_O": (D_MODEL,)}
        block |= {f"ln1.{part}": (D_MODEL,) for part in norms}
        if mlps:
            block |= {"mlp.W_in": (D_MODEL, D_MLP), "mlp.b_in": (D_MLP,)}
            block |= {"mlp.W_out": (D_MLP, D_MODEL), "mlp.b_out": (D_MODEL,)}
            block |= {f"ln2.{part}": (D_MODEL,) for part in norms}
        if gated:
            block |= {"mlp.W_gate": (D_MODEL, D_MLP)}
        shapes |= {f"blocks.{n}.{key}": shape for key, shape in block.items()}
    torch.manual_seed(0)
    return {
        key: torch.randn(shape, dtype=torch.float64) * 0.6
        for key, shape in shapes.items()
        if biases or ".b_" not in key
    }


def normed(x, state, name, reading):
    kind = reading.normalization
    if kind == "auto":
        kind = "LN" if f"{name}.w" in state else "none"
    if kind == "none":
        return x
    if kind.startswith("LN"):
        x = x - x.mean(-1, keepdim=True)
    x = x / (x.pow(2).mean(-1, keepdim=True) + reading.eps).sqrt()
    return x * state.get(f"{name}.w", 1) + state.get(f"{name}.b", 0)


def attended(x, state, place, reading):
    q, k, v = (
        torch.einsum("rpm,hmd->rhpd", x, state[f"{place}.W_{name}"])
        + state.get(f"{place}.b_{name}", torch.zeros(1, 1)).unsqueeze(1)
        for name in "QKV"
    )
    scores = q @ k.mT * (reading.scale or q.shape[-1] ** -0.5)
    seen = torch.ones_like(scores)
    if reading.attention == "causal":
        seen = seen.tril()
    pattern = scores.masked_fill(seen == 0, -torch.inf).softmax(-1)
    pattern = reading.softmax_share * pattern + (1 - reading.softmax_share) * seen
    z = pattern @ v
    return torch.einsum("rhpd,hdm->rpm", z, state[f"{place}.W_O"]) + state.get(f"{place}.b_O", 0)


def expected_logits(state, tokens, reading):
    """Return the last logits of a state dict, by the formulas of its layout alone."""
    x = state["embed.W_E"][tokens] + state["pos_embed.W_pos"][: tokens.shape[1]]
    for n in range(len({key.split(".")[1] for key in state if key.startswith("blocks.")})):
        block = f"blocks.{n}"
        x = x + attended(normed(x, state, f"{block}.ln1", reading), state, f"{block}.attn", reading)
        if f"{block}.mlp.W_in" in state:
            wide = normed(x, state, f"{block}.ln2", reading)
            act = ACTIVATIONS[reading.act_fn]
            neurons = wide @ state[f"{block}.mlp.W_in"] + state.get(f"{block}.mlp.b_in", 0)
            gate = state.get(f"{block}.mlp.W_gate")
            # a bias beside a gate belongs to the ungated projection
            neurons = act(neurons) if gate is None else act(wide @ gate) * neurons
            x = x + neurons @ state[f"{block}.mlp.W_out"] + state.get(f"{block}.mlp.b_out", 0)
    x = normed(x, state, "ln_final", reading)
    return (x @ state["unembed.W_U"] + state.get("unembed.b_U", 0))[:, -1]


def batch_of(tokens, label_pos=None):
    tokens = torch.as_tensor(tokens)
    places = torch.full((len(tokens),), tokens.shape[1] - 1) if label_pos is None else label_pos
    return PromptBatch(tokens, torch.ones_like(tokens, dtype=torch.bool), places)


def random_tokens(n=5, length=N_CTX):
    return torch.randint(0, VOCAB, (n, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("makeup", "reading"),
    [
        ({}, Reading()),
        ({"biases": False}, Reading(act_fn="gelu", eps=1e-2)),
        ({"norms": ""}, Reading(act_fn="gelu_new", softmax_share=0.3)),
        ({"norms": "", "mlps": False}, Reading(softmax_share=0.0, attention="bidirectional")),
        ({"norms": "w"}, Reading(normalization="RMS", attention="bidirectional")),
        ({"norms": "", "gated": True}, Reading(act_fn="silu", normalization="LNPre")),
        ({"norms": ""}, Reading(act_fn="solu", normalization="RMSPre", scale=0.3)),
        ({"mlps": False}, Reading(scale=1.0)),
    ],
)
def test_logits_follow_from_the_tensors_by_the_formulas_of_the_layout(makeup, reading):
    state = random_state(**makeup)
    model = load_state_dict(state, name="random", reading=reading, dtype=torch.float64)
    tokens = random_tokens()
    expected = expected_logits(state, tokens, reading)
    torch.testing.assert_close(model.run(batch_of(tokens)), expected, rtol=0, atol=1e-12)
    assert model.graph.has_mlps == makeup.get("mlps", True)
    assert (model.n_ctx, model.d_head, model.bridge.cfg.d_vocab_out) == (N_CTX, D_HEAD, VOCAB_OUT)


def exported(model):
    """Return a native model's weights under the names of a HookedTransformer."""
    bridge, state = model.bridge, {}
    state["embed.W_E"] = bridge.embed.original_component.weight
    state["pos_embed.W_pos"] = bridge.pos_embed.original_component.weight
    state["unembed.W_U"] = bridge.unembed.original_component.weight.T
    norms = {"ln_final": bridge.ln_final.original_component}
    for n, layer in enumerate(bridge.blocks):
        place, heads = f"blocks.{n}", (model.graph.n_heads, model.d_head)
        for name in "qkv":
            part = layer.attn._modules[name].original_component
            split = part.weight.unflatten(0, heads).transpose(1, 2)
            state[f"{place}.attn.W_{name.upper()}"] = split
            state[f"{place}.attn.b_{name.upper()}"] = part.bias.unflatten(0, heads)
        part = layer.attn.o.original_component
        state |= {f"{place}.attn.W_O": part.weight.T.unflatten(0, heads)}
        state |= {f"{place}.attn.b_O": part.bias, f"{place}.attn.IGNORE": torch.tensor(-1e5)}
        norms |= {f"{place}.{ln}": layer._modules.get(ln) for ln in ("ln1", "ln2")}
        for side in ("in", "out") if model.graph.has_mlps else ():
            part = layer.mlp._modules[side].original_component
            state |= {f"{place}.mlp.W_{side}": part.weight.T, f"{place}.mlp.b_{side}": part.bias}
    for name, norm in norms.items():
        if getattr(norm, "weight", None) is not None:
            state |= {f"{name}.w": norm.weight, f"{name}.b": norm.bias}
    return state


@pytest.mark.parametrize(
    ("family", "reading"),
    [
        ("native", Reading(act_fn="gelu")),
        ("native-attention-only", Reading()),
        ("native-bidirectional", Reading(normalization="LNPre", attention="bidirectional")),
    ],
)
def test_a_model_survives_being_exported_and_loaded(family, reading):
    model = make_native(family)
    state = exported(model)
    loaded = load_state_dict(state, name="again", reading=reading, dtype=torch.float64)
    batch = batch_of(random_tokens())
    torch.testing.assert_close(loaded.run(batch), model.run(batch), rtol=0, atol=1e-12)
    before = loaded.run(batch)
    with torch.no_grad():
        state["embed.W_E"].zero_()
    assert torch.equal(loaded.run(batch), before)  # the tensors were copied


def test_loading_leaves_the_random_stream_alone():
    state = random_state()
    before = torch.get_rng_state()
    load_state_dict(state, name="random")
    assert torch.equal(torch.get_rng_state(), before)


WRONG = {
    "embed.W_E": None,
    "blocks.0.attn.W_Q": None,
    "blocks.1.mlp.W_out": None,
    "blocks.1.ln2.b": None,
    "blocks.3.attn.W_Q": (N_HEADS, D_MODEL, D_HEAD),
    "blocks.0.attn.rotary_sin": (N_CTX, D_HEAD),
    "blocks.0.mlp.W_gate": (D_MODEL, D_MLP),
    "pos_embed.W_pos": (D_MODEL, N_CTX),
    "blocks.1.attn.W_V": (N_HEADS, D_HEAD, D_MODEL),
    "unembed.b_U": (1, VOCAB_OUT),
}


@pytest.mark.parametrize("key", WRONG)
def test_a_key_or_shape_that_does_not_fit_is_named(key):
    state = random_state()
    state.pop(key, None)
    if WRONG[key] is not None:
        state[key] = torch.zeros(WRONG[key])
    named = "blocks.1.mlp.W_gate" if key.endswith("W_gate") else key
    with pytest.raises(ModelError, match=f"^state dict of 'x'.*{named}"):
        load_state_dict(state, name="x")


def test_weights_that_are_no_finite_floats_are_refused():
    state = random_state()
    with pytest.raises(ModelError, match="W_U: must be floats .* got torch.int64"):
        load_state_dict(state | {"unembed.W_U": state["unembed.W_U"].long()}, name="x")
    with pytest.raises(ActivationError):
        load_state_dict(state | {"unembed.W_U": state["unembed.W_U"] * torch.nan}, name="x")


@pytest.mark.parametrize(
    "values",
    [
        {"act_fn": "tanh"},
        {"normalization": "BN"},
        {"attention": "casual"},
        {"eps": -1.0},
        {"scale": 0.0},
        {"softmax_share": 1.5},
    ],
)
def test_a_reading_that_defines_no_model_is_refused(values):
    [(field, value)] = values.items()
    with pytest.raises(ModelError, match=f"reading, {field}: must be .*, got {value!r}"):
        Reading(**values)


def test_an_output_projection_that_does_not_split_into_heads_is_refused():
    state = random_state()  # of a HookedTransformer's layout already
    with pytest.raises(ModelError, match=r"blocks.0.attn.W_O: must be \[d_model, head \* d_head\]"):
        renamed(state)
    flat = {"blocks.0.attn.W_O": torch.zeros(D_MODEL, N_HEADS * D_HEAD)}
    with pytest.raises(ModelError, match="and 0 heads"):
        renamed(flat)


def test_renaming_undoes_the_layout_of_the_progress_measures_releases():
    state = random_state(norms="", mlps=False)
    state |= {f"blocks.{n}.attn.mask": torch.ones(N_CTX, N_CTX) for n in range(N_LAYERS)}
    released = {}
    for key, tensor in state.items():
        if key.endswith("W_O"):
            tensor = tensor.flatten(0, 1).T
        elif key.endswith(("W_E", "W_Q", "W_K", "W_V")):
            tensor = tensor.mT
        released[key.replace("blocks.", "attn_blocks.")] = tensor
    found = renamed(released)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)
