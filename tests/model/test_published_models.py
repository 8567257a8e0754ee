"""Published small models do what their papers say; skipped where their files are absent."""

import base64
import json

import numpy as np
import pytest
import torch

from circuitkit.model import hook_points
from circuitkit.model.state_dicts import Reading, load_state_dict, renamed
from tests.conftest import SHARED
from tests.model.test_state_dicts import batch_of


def published(path):
    path = SHARED / "models" / path
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path


def weights(path):
    return torch.load(published(path), map_location="cpu", weights_only=True)


def mean_ablated(layer, head):
    """Return hooks that replace a head's z by its mean over the prompts, position by position."""

    def hook(z):
        z = z.clone()
        z[:, :, head] = z[:, :, head].mean(0)
        return z

    return {hook_points.z(layer): hook}


def palindromes(n=2000, half=10, n_letters=31):
    """Return [START, 20 letters, END]; every second one has 2 to 10 of its pairs broken."""
    generator = torch.Generator().manual_seed(0)
    is_palindrome = torch.arange(n) % 2
    first = torch.randint(n_letters, (n, half), generator=generator)
    n_broken = torch.randint(2, half + 1, (n, 1), generator=generator)
    rank = torch.rand(n, half, generator=generator).argsort(1).argsort(1)
    shift = torch.randint(1, n_letters, (n, half), generator=generator)
    shift *= (rank < n_broken) & (is_palindrome[:, None] == 0)
    start = torch.full((n, 1), n_letters)
    return torch.cat([start, first, ((first + shift) % n_letters).flip(1), start + 1], 1)


def test_the_palindrome_classifier_behaves_as_published():
    state = weights("arena_palindromes_jul23/palindrome_classifier.pt")
    model = load_state_dict(state, name="palindromes")
    tokens = palindromes()
    sign = 2 * (torch.arange(len(tokens)) % 2) - 1

    def difference(hooks):
        logits = model.run(batch_of(tokens), hooks)
        return (logits[:, 1] - logits[:, 0]).detach() * sign

    assert (difference({}) > 0).float().mean() > 0.99
    assert float(difference({}).mean()) == pytest.approx(7.48, abs=0.1)
    for head, left in {(0, 0): 0.65, (0, 1): 6.72, (1, 0): 0.30, (1, 1): 6.76}.items():
        # the published prompts are others
        assert float(difference(mean_ablated(*head)).mean()) == pytest.approx(left, abs=0.5)


@pytest.mark.parametrize("run", ["l8k1hzciux", "p99zdpze5l"])
def test_clock_and_pizza_add_modulo_59_with_their_own_attention(run):
    config = json.loads(published(f"pizza_clock_modadd59/config_{run}.json").read_text())
    state = renamed(weights(f"pizza_clock_modadd59/model_{run}.pt"))
    pairs = torch.cartesian_prod(torch.arange(59), torch.arange(59))

    def accuracy(share):
        reading = Reading(attention="bidirectional", softmax_share=float(share))
        model = load_state_dict(state, name=run, reading=reading)
        return float((model.run(batch_of(pairs)).argmax(1) == pairs.sum(1) % 59).float().mean())

    assert accuracy(config["attn_coeff"]) == 1.0
    if config["attn_coeff"] == 1:
        assert accuracy(0) < 0.9  # the clock needs its softmax


def test_the_induction_model_behaves_as_published():
    state = renamed(weights("toy_induction_2L/induction_head_infinite.pth")["model"])
    model = load_state_dict(state, name="induction")
    generator = torch.Generator().manual_seed(0)
    n, length, first, second = 64, 16, 5, 33
    tokens = torch.randint(128, (n, 85), generator=generator)
    pasted = torch.randint(128, (n, length), generator=generator)
    for start in (first, second, 62):
        tokens[:, start : start + length] = pasted

    def log_prob(start, hooks):
        means = []
        for i in range(1, length):
            batch = batch_of(tokens, torch.full((n,), start + i - 1))
            log_probs = model.run(batch, hooks).log_softmax(-1)
            means.append(log_probs.gather(1, pasted[:, i, None]).mean().item())
        return np.mean(means)

    assert log_prob(first, {}) == pytest.approx(-5.45, abs=0.15)
    assert log_prob(second, {}) == pytest.approx(-2.15, abs=0.15)
    assert log_prob(second, {}) - log_prob(first, {}) > 2.5
    # the previous-token head, an induction head and the idle one
    for head, left in {(0, 2): -4.76, (1, 2): -3.05, (1, 0): -2.15}.items():
        assert log_prob(second, mean_ablated(*head)) == pytest.approx(left, abs=0.2)


def decoded(path):
    contents = json.loads(published(f"gpt_nano_sort/{path}").read_text())
    arrays = {k: v for k, v in contents.items() if isinstance(v, dict) and "data" in v}
    return {
        k: torch.tensor(np.frombuffer(base64.b64decode(v["data"]), "<f4").reshape(v["shape"]))
        for k, v in arrays.items()
    }


def hooked_from_min_gpt(old, n_layers=3, n_heads=3):
    """Return a minGPT's weights, [out, in] and with q, k, v in one, as a HookedTransformer's."""
    state = {
        "embed.W_E": old["transformer.wte.weight"],
        "pos_embed.W_pos": old["transformer.wpe.weight"],
        "unembed.W_U": old["lm_head.weight"].T,
    }
    names = {"transformer.ln_f": "ln_final"}
    for n in range(n_layers):
        theirs, block = f"transformer.h.{n}", f"blocks.{n}"
        names |= {f"{theirs}.ln_1": f"{block}.ln1", f"{theirs}.ln_2": f"{block}.ln2"}
        joint = (old[f"{theirs}.attn.c_attn.{part}"].chunk(3) for part in ("weight", "bias"))
        for name, weight, bias in zip("QKV", *joint, strict=True):
            state[f"{block}.attn.W_{name}"] = weight.unflatten(0, (n_heads, -1)).mT
            state[f"{block}.attn.b_{name}"] = bias.unflatten(0, (n_heads, -1))
        out = old[f"{theirs}.attn.c_proj.weight"].T
        state[f"{block}.attn.W_O"] = out.unflatten(0, (n_heads, -1))
        state[f"{block}.attn.b_O"] = old[f"{theirs}.attn.c_proj.bias"]
        for name, side in {"c_fc": "in", "c_proj": "out"}.items():
            state[f"{block}.mlp.W_{side}"] = old[f"{theirs}.mlp.{name}.weight"].T
            state[f"{block}.mlp.b_{side}"] = old[f"{theirs}.mlp.{name}.bias"]
    for name, ours in names.items():
        state |= {f"{ours}.w": old[f"{name}.weight"], f"{ours}.b": old[f"{name}.bias"]}
    return state


def test_gpt_nano_sort_has_its_recorded_activations_and_sorts_every_list():
    state = hooked_from_min_gpt(decoded("gpt-nano-sort-model.json"))
    model = load_state_dict(state, name="sort", reading=Reading(act_fn="gelu_new"))
    recorded, found = decoded("gpt-nano-sort-t0-partials.json"), {}
    hooks = {
        hook_points.resid_post(n): lambda x, n=n: found.update({f"block{n}": x}) for n in range(3)
    }
    hooks[hook_points.pattern(0)] = lambda x: found.update(attSm=x)
    logits = model.run(batch_of(recorded["idx"].long()), hooks)
    torch.testing.assert_close(logits, recorded["lm_head"][:, -1], rtol=0, atol=1e-5)
    for name, activation in found.items():
        torch.testing.assert_close(activation, recorded[name], rtol=0, atol=1e-5)
    assert len(found) == 4
    tokens = lists = torch.cartesian_prod(*[torch.arange(3)] * 6)
    for _ in range(6):
        tokens = torch.cat([tokens, model.run(batch_of(tokens)).argmax(1, keepdim=True)], 1)
    assert torch.equal(tokens[:, 6:], lists.sort(1).values)
