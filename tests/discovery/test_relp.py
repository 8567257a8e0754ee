import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2LMHeadModel

from circuitkit.circuits.graph import READS
from circuitkit.discovery import eap
from circuitkit.discovery.relp import RelP
from circuitkit.errors import MethodError
from circuitkit.interventions.ablation import MeanAblation, ZeroAblation
from circuitkit.interventions.work import Work
from circuitkit.metrics import Accuracy, KLDivergence, LogitDifference
from circuitkit.model.relevance import linearised
from circuitkit.prompts.columns import by_position
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.splits import sample_splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.task import find_task
from circuitkit.zoo import load_model
from tests.conftest import fingerprint
from tests.families import VARIED, make_family, make_native, save_family

METRIC = LogitDifference()
FROZEN = RelP("frozen")


def receivers(graph, layer, read):
    first = graph.first_receiver(layer) + READS.index(read) * graph.n_heads
    return slice(first, first + graph.n_heads)


# --- by definition ------------------------------------------------------------------------------


class LiteralGPT2:
    """RelP by its rules, in plain autograd: one prompt at a time, every receiver a view of its own.

    `freezes`: attention patterns are constants.
    """

    def __init__(self, directory, freezes):
        model = GPT2LMHeadModel.from_pretrained(directory, dtype=torch.float64)
        self.weights = {name: w.detach() for name, w in model.state_dict().items()}
        self.n_heads, self.n_layers = model.config.n_head, model.config.n_layer
        self.freezes = freezes

    def w(self, name):
        return self.weights[f"transformer.{name}"]

    def norm(self, x, name):
        centred = x - x.mean(-1, keepdim=True)
        scale = (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt().detach()
        return centred / scale * self.w(f"{name}.weight") + self.w(f"{name}.bias")

    def head(self, reads, layer, head):
        """Return what a head writes, given what its query, key and value read."""
        block = f"h.{layer}"
        d_model = reads[0].shape[-1]
        d_head = d_model // self.n_heads
        q, k, v = (
            (self.norm(x, f"{block}.ln_1") @ w + b)[:, head * d_head : (head + 1) * d_head]
            for x, w, b in zip(
                reads,
                self.w(f"{block}.attn.c_attn.weight").split(d_model, 1),
                self.w(f"{block}.attn.c_attn.bias").split(d_model),
                strict=True,
            )
        )
        later = torch.ones(len(q), len(q), dtype=torch.bool).triu(1)
        scores = (q @ k.T / math.sqrt(d_head)).masked_fill(later, -torch.inf)
        pattern = scores.softmax(-1)
        pattern = pattern.detach() if self.freezes else pattern
        out = self.w(f"{block}.attn.c_proj.weight")[head * d_head : (head + 1) * d_head]
        return pattern @ v @ out

    def mlp(self, x, layer):
        block = f"h.{layer}"
        pre = self.norm(x, f"{block}.ln_2") @ self.w(f"{block}.mlp.c_fc.weight")
        pre = pre + self.w(f"{block}.mlp.c_fc.bias")
        ratio = torch.nn.functional.gelu(pre, approximate="tanh") / pre
        out = (pre * ratio.detach()) @ self.w(f"{block}.mlp.c_proj.weight")
        return out + self.w(f"{block}.mlp.c_proj.bias")

    def run(self, tokens):
        """Return what is written, what is read in the order of the receivers, and the logits."""
        x = self.w("wte.weight")[tokens] + self.w("wpe.weight")[: len(tokens)]
        x = x.requires_grad_()
        written, reads = [x], []
        for layer in range(self.n_layers):
            mine = [[x.view_as(x) for _ in range(self.n_heads)] for _ in READS]
            reads += [view for views in mine for view in views]
            heads = [self.head(views, layer, i) for i, views in enumerate(zip(*mine, strict=True))]
            x = x + sum(heads) + self.w(f"h.{layer}.attn.c_proj.bias")
            reads.append(x.view_as(x))
            written += [*heads, self.mlp(reads[-1], layer)]
            x = x + written[-1]
        reads.append(x.view_as(x))
        logits = self.norm(reads[-1], "ln_f")[-1] @ self.weights["lm_head.weight"].T
        return written, reads, logits

    def scores(self, pairs):
        total = 0
        for pair in pairs.pairs:
            clean, reads, logits = self.run(pair.clean)
            corrupted, _, _ = self.run(pair.corrupted)
            gain = logits[pair.answers[0]] - logits[pair.wrong_answers[0]]
            grads = torch.autograd.grad(gain, reads, materialize_grads=True)
            change = torch.stack([a - b for a, b in zip(clean, corrupted, strict=True)])
            total = total + torch.einsum("spd,rpd->sr", change, torch.stack(grads))
        return total.detach() / len(pairs)


@pytest.mark.parametrize("method", [RelP(), FROZEN])
def test_scores_equal_the_literal_rules(toy, toy_directory, pairs, method):
    slow = LiteralGPT2(toy_directory, method.attention == "frozen").scores(pairs)
    slow = torch.where(toy.graph.edge_mask, slow, 0)
    fast = method.score_edges(toy, pairs, METRIC, Work()).values
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-11)
    assert (fast - eap.score_edges(toy, pairs, METRIC).values).abs().max() > 0.1


# --- conservation -------------------------------------------------------------------------------

# plain, parallel, gated, fused gate, norms behind and on queries and keys, routed experts
CONSERVING = ("gpt2", "gpt-neox", "llama", "phi-3", "gemma-3", "olmo-2", "mixtral")


@pytest.fixture(scope="module", params=CONSERVING)
def unbiased(request, tmp_path_factory):
    """A model without biases."""
    directory = save_family(request.param, tmp_path_factory.mktemp(request.param))
    model = AutoModelForCausalLM.from_pretrained(directory)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    model.save_pretrained(directory)
    return load_model(directory, dtype=torch.float64)


def test_relevance_is_conserved_at_the_logits_and_by_every_head_and_mlp(unbiased, pairs):
    graph = unbiased.graph
    scores = FROZEN.score_edges(unbiased, pairs, METRIC, Work(ZeroAblation())).values
    gain = METRIC.gain(unbiased.run(pairs.clean_batch), pairs.labels).mean()
    close = partial(torch.testing.assert_close, rtol=1e-8, atol=1e-10 * float(scores.abs().max()))
    close(scores[:, -1].sum(), gain.detach())
    incoming, outgoing = scores.sum(0), scores.sum(1)
    for layer in range(graph.n_layers):
        first = graph.head_sender(layer)
        heads = slice(first, first + graph.n_heads)
        close(incoming[receivers(graph, layer, "v")], outgoing[heads])
        mlp = graph.first_receiver(layer) + 3 * graph.n_heads
        close(incoming[mlp], outgoing[first + graph.n_heads])
    close(outgoing[0], gain.detach())  # nothing else brings relevance in


@pytest.mark.parametrize("name", ["qwen3", "olmo-2"])
def test_norms_of_queries_and_keys_conserve_relevance_by_head(name, tmp_path):
    model = make_family(name, tmp_path)
    attention = linearised(model, holds_patterns=False).layers[0].attention
    for norm in (attention.q_norm, attention.k_norm):
        n_heads = attention.n_heads if norm is attention.q_norm else attention.n_kv_heads
        x = torch.randn(2, 3, n_heads, attention.d_head, dtype=torch.float64, requires_grad=True)
        out = norm(x)
        [grad] = torch.autograd.grad(out[..., 0, :].sum(), [x])
        torch.testing.assert_close((grad * x).sum(-1)[..., 0], out[..., 0, :].sum(-1))
        assert grad[..., 1:, :].abs().max() == 0  # not through a scale that heads share


# --- special cases ------------------------------------------------------------------------------


def test_without_norms_and_mlps_only_the_patterns_differ_from_eap(pairs):
    model = make_native("native-attention-only")
    graph, expected = model.graph, eap.score_edges(model, pairs, METRIC).values
    by_gradient = RelP().score_edges(model, pairs, METRIC, Work()).values
    torch.testing.assert_close(by_gradient, expected)
    frozen = FROZEN.score_edges(model, pairs, METRIC, Work()).values
    last = receivers(graph, graph.n_layers - 1, "v")
    torch.testing.assert_close(frozen[:, last], expected[:, last])
    torch.testing.assert_close(frozen[:, -1], expected[:, -1])
    assert (frozen - expected)[:, receivers(graph, 0, "v")].abs().max() > 1e-3
    for layer in range(graph.n_layers):
        for read in "qk":
            assert frozen[:, receivers(graph, layer, read)].abs().max() == 0


def test_scores_do_not_depend_on_batches_and_columns_add_up(toy, pairs):
    whole = RelP().score_edges(toy, pairs, METRIC, Work()).values
    one_by_one = RelP().score_edges(toy, pairs, METRIC, Work(batch_size=1)).values
    torch.testing.assert_close(one_by_one, whole, rtol=1e-9, atol=1e-11)
    parts = RelP().score_columns(toy, pairs, METRIC, by_position(pairs), Work())
    torch.testing.assert_close(sum(part.values for part in parts), whole)


def test_identical_prompts_give_zero(toy):
    same = tokenize_pairs([PromptPair([1, 2, 3], [1, 2, 3], [4], [5])])
    assert RelP().score_edges(toy, same, METRIC, Work()).values.abs().max() == 0


# --- every family -------------------------------------------------------------------------------


NOT_LINEAR = {
    "mpt": r"block 0: .* are clipped\.",
    "modernbert": "head: .* ModernBertPredictionHead",
    "gpt-oss": "block 0: .* GptOssMLP",
}


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_a_model_that_no_rule_makes_linear_is_refused(name, tmp_path, pairs):
    model, got = make_family(name, tmp_path), NOT_LINEAR[name]
    with pytest.raises(MethodError, match=f"relp: model .*{got}"):
        RelP().score_edges(model, pairs, METRIC, Work())


@pytest.mark.parametrize("name", [name for name in VARIED if name not in NOT_LINEAR])
def test_every_family_is_scored_and_comes_back_as_it_was(name, tmp_path, pairs):
    model = make_family(name, tmp_path)
    before = fingerprint(model)
    for method in (RelP(), FROZEN):
        scores = method.score_edges(model, pairs, METRIC, Work(MeanAblation(pairs))).by_edge()
        assert scores.isfinite().all()
        assert (scores != 0).double().mean() > (0.8 if method.attention == "gradient" else 0.3)
    assert fingerprint(model) == before
    ruled = linearised(model, holds_patterns=True)
    assert torch.equal(ruled.run(pairs.clean_batch), model.run(pairs.clean_batch))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["gpt2", "gemma-3"])
def test_rules_are_found_in_lower_precision(name, dtype, tmp_path, pairs):
    directory = save_family(name, tmp_path)
    wide, narrow = (load_model(directory, dtype=kind) for kind in (torch.float64, dtype))
    degrees = [
        [layer.mlp.degree for layer in linearised(model, holds_patterns=False).layers]
        for model in (wide, narrow)
    ]
    assert degrees[0] == degrees[1] == [1 if name == "gpt2" else 2] * 3


@pytest.mark.parametrize("name", ["gpt2", "native", "mixtral"])
def test_model_comes_back_after_an_error_inside_an_mlp(name, tmp_path, pairs):
    model = make_family(name, tmp_path)
    before = fingerprint(model)
    activations = [vars(layer.mlp.module).get("act") for layer in model.layers]

    def fail(module, arguments):
        raise RuntimeError("inside")

    ruled = linearised(model, holds_patterns=False)
    handle = list(model.layers[1].mlp.module.children())[-1].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="inside"):
        ruled.run(pairs.clean_batch)
    handle.remove()
    assert fingerprint(model) == before
    assert [vars(layer.mlp.module).get("act") for layer in model.layers] == activations


# --- refusals -----------------------------------------------------------------------------------


class Squared(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) * x.pow(2)


def test_an_mlp_of_unknown_parts_is_refused_before_any_run(toy, pairs):
    layer = toy.layers[1]
    odd = replace(layer, mlp=replace(layer.mlp, module=Squared(layer.mlp.module)))
    model = toy.computing_with((toy.layers[0], odd, toy.layers[2]), toy.final_norm)
    with pytest.raises(MethodError, match="block 1: the MLP must be .* got Squared"):
        RelP().score_edges(model, pairs, METRIC, Work(progress=lambda *_: pytest.fail("ran")))
    assert model.run(pairs.clean_batch).isfinite().all()


def test_unusable_metrics_and_settings_are_refused(toy, pairs):
    with pytest.raises(MethodError, match="must have a gradient"):
        RelP().score_edges(toy, pairs, Accuracy(), Work())
    with pytest.raises(MethodError, match="must have a slope"):
        RelP().score_columns(toy, pairs, KLDivergence(), by_position(pairs), Work())
    with pytest.raises(MethodError, match="one of gradient, frozen, got 'held'"):
        RelP("held")


def test_an_mlp_that_writes_nothing_is_no_obstacle():
    model = load_model("planted-facts", dtype="float64")  # its second MLP is empty
    pairs = sample_splits(find_task("planted-facts"), model.tokenizer, n=8, seed=0).discovery
    values = RelP().score_edges(model, pairs, LogitDifference(), Work()).values
    assert bool(torch.isfinite(values).all())
    assert float(values.abs().max()) > 1
    assert not values[:, model.graph.receivers.index("m1")].any()
