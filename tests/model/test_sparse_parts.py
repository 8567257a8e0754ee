"""Parts of families with experts, latents, chunks, sinks, gates, or layers without heads."""

import pytest
import torch
import transformers

from circuitkit.errors import DecompositionError, MethodError, PromptError
from circuitkit.interpretation.sweeps.logit_attribution import attribute
from circuitkit.interpretation.sweeps.patterns import attention_patterns
from circuitkit.interpretation.weights.products import ov_factors
from circuitkit.interventions.patching import patch_places
from circuitkit.interventions.sites import site_named
from circuitkit.metrics import LogitDifference
from circuitkit.model import hook_points
from circuitkit.model.context import Span, attention_mask
from circuitkit.model.precision import own_type
from circuitkit.model.relevance import linearised
from circuitkit.model.runs import shared_positions
from circuitkit.prompts.columns import all_positions
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.zoo import load_model
from tests.conftest import random_pairs
from tests.families import make_family

METRIC = LogitDifference()
SMALL = {
    "vocab_size": 37,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 32,
}


@pytest.fixture
def hybrid(tmp_path):
    return make_family("qwen3-next", tmp_path)


@pytest.fixture
def latent(tmp_path):
    return make_family("deepseek-v3", tmp_path)


def test_float64_stays_float64_inside_own_type_and_float32_is_left_alone():
    wide, narrow = torch.ones(2, dtype=torch.float64), torch.ones(2)
    with own_type(torch.float64):
        kept = (
            wide.float(),
            wide.to(torch.float32),
            wide.type(torch.float32),
            wide.softmax(0, dtype=torch.float32),
            torch.nn.functional.softmax(wide, dim=0, dtype=torch.float32),
        )
        assert {x.dtype for x in kept} == {torch.float64}
        assert narrow.float().dtype == torch.float32
    assert wide.float().dtype == torch.float32
    with own_type(torch.float32):
        assert wide.float().dtype == torch.float32


def test_windows_and_chunks_are_counted_from_each_prompts_own_first_token():
    real = torch.tensor([[True] * 6, [False] * 2 + [True] * 4])
    places = (real.long().cumsum(1) - 1).clamp(min=0)
    for span in (Span(window=2), Span(chunk=3)):
        padded = attention_mask(real, torch.float64, causal=True, span=span, places=places)
        alone = attention_mask(real[1:, 2:], torch.float64, causal=True, span=span)
        assert torch.equal(padded[1, :, 2:, 2:], alone[0])
    assert alone[0, 0].eq(0).int().tolist() == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [0, 0, 0, 1],
    ]


def test_a_head_reads_its_key_through_a_latent_of_its_own(latent):
    """What one head's key read does reaches that head's pattern, and no other head's."""
    pairs = tokenize_pairs(random_pairs(2, lengths=(7,)))
    batch, point = pairs.clean_batch, hook_points.projection(0, "k")
    kept = {}

    def moved(k):
        k = k.repeat_interleave(latent.graph.n_heads, 2)
        k[:, 1, 2] += 1
        return k

    for name, hooks in (("before", {}), ("after", {point: moved})):
        keep = {hook_points.pattern(0): lambda x, name=name: kept.__setitem__(name, x)}
        latent.run(batch, hooks | keep)
    changed = (kept["before"] - kept["after"]).abs().amax((0, 2, 3)) > 1e-6
    assert changed.tolist() == [False, False, True, False]


def test_a_layer_without_heads_makes_every_run_begin_with_the_first_token(hybrid, tmp_path):
    same = PromptPair([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 9, 6], [1], [2])
    pairs = tokenize_pairs([same])
    assert shared_positions(hybrid, pairs) == 0
    assert shared_positions(make_family("llama", tmp_path), pairs) == 4
    assert not hybrid.can_lend


def test_a_mixer_is_patched_like_a_head_and_has_no_pattern(hybrid):
    names = [place.name for place in site_named("heads").places(hybrid)]
    assert names == ["r0", "a1.h0", "a1.h1", "a1.h2", "a1.h3", "r2"]
    for site in ("q", "k", "v", "z", "pattern"):
        places = site_named(site).places(hybrid)
        assert {place.point.layer for place in places} == {1}
    pairs = tokenize_pairs(random_pairs(3))
    [place] = [p for p in site_named("heads").places(hybrid) if p.name == "r2"]
    effects = patch_places(hybrid, pairs, [place], all_positions(pairs), metric=METRIC).effects
    assert effects.abs().min() > 0


@pytest.mark.parametrize("name", ["qwen3-next", "deepseek-v3", "olmoe", "gpt-oss", "gemma-4"])
def test_direct_effects_add_up_and_heads_are_the_sum_over_what_they_look_at(name, tmp_path):
    model = make_family(name, tmp_path)
    pairs = tokenize_pairs(random_pairs(3))
    found = attribute(model, pairs)
    whole = found.direct.sum(1) + found.bias
    torch.testing.assert_close(whole, found.value, rtol=1e-9, atol=1e-9)
    for head, (layer, number) in model.graph.head_places.items():
        by_source = found.by_source[:, layer, number].sum(1)
        own = found.direct[:, model.graph.senders.index(head)]
        torch.testing.assert_close(by_source, own, rtol=1e-9, atol=1e-9)


def test_a_layer_without_heads_refuses_answers_of_several_tokens(hybrid):
    pairs = tokenize_pairs([PromptPair([1, 2, 3, 4], [1, 2, 5, 4], [[6, 7]], [[8, 9]])])
    with pytest.raises(PromptError, match=r"Layer 0 mixes positions without heads"):
        hybrid.run(pairs.clean_batch)


def test_patterns_of_a_layer_without_heads_are_zeros(hybrid):
    layers = attention_patterns(hybrid, tokenize_pairs(random_pairs(2))).layers
    assert [bool(layer.any()) for layer in layers] == [False, True, False]


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("qwen3-next", "a1.h0", "GatedAttention"),
        ("deepseek-v2", "a0.h1", "LatentAttention"),
    ],
)
def test_a_head_that_is_no_product_of_matrices_has_no_weights_to_look_at(
    name, head, kind, tmp_path
):
    with pytest.raises(DecompositionError, match=f"must be a product of matrices, got {kind}"):
        ov_factors(make_family(name, tmp_path), head)


def test_relevance_rules_refuse_a_layer_without_heads(hybrid):
    with pytest.raises(MethodError, match="block 0: every layer must have heads"):
        linearised(hybrid, holds_patterns=False)


@pytest.mark.parametrize("name", ["deepseek-v3", "llama-4"])
def test_relevance_is_conserved_through_latents_and_shared_experts(name, tmp_path):
    """With patterns held and no biases, gradient times input is the logit itself."""
    model = make_family(name, tmp_path)
    held = linearised(model, holds_patterns=True)
    batch = tokenize_pairs(random_pairs(2)).clean_batch
    entering, context = held.prepare(batch)
    entering = entering.detach().requires_grad_()
    with torch.enable_grad(), held.frozen():
        logits = held.run_from(entering, context)[:, 3]
        [gradient] = torch.autograd.grad(logits.sum(), [entering])
    torch.testing.assert_close(logits, model.run(batch)[:, 3])
    products = (gradient * entering).sum((1, 2))
    torch.testing.assert_close(products, logits, rtol=1e-9, atol=1e-9)


def gemma_3n():
    made = transformers.Gemma3nTextConfig(
        **SMALL | {"num_hidden_layers": 4},
        layer_types=["sliding_attention", "full_attention"] * 2,
        num_kv_shared_layers=0,
        vocab_size_per_layer_input=37,
        hidden_size_per_layer_input=4,
        laurel_rank=4,
        activation_sparsity_pattern=[0.0] * 4,
    )
    return transformers.Gemma3nForCausalLM(made)


def gemma_4(**changed):
    made = transformers.Gemma4TextConfig(
        **SMALL,
        layer_types=["sliding_attention", "full_attention"],
        global_head_dim=8,
        vocab_size_per_layer_input=37,
        **{"hidden_size_per_layer_input": 0} | changed,
    )
    return transformers.Gemma4ForCausalLM(made)


def negative_gemma_4():
    model = gemma_4()
    model.model.layers[1].layer_scalar.fill_(-1.0)
    return model


REFUSED = {
    gemma_3n: "got 'gemma3n_text' with blocks that mix four residual streams",
    lambda: gemma_4(hidden_size_per_layer_input=4): r"block 0 \(Gemma4TextDecoderLayer\): a block "
    "must read the residual stream alone",
    negative_gemma_4: r"block 1 \(Gemma4TextDecoderLayer\): the scalar behind a block must be "
    "above zero, got -1",
}


@pytest.mark.parametrize("make", REFUSED)
@pytest.mark.without_shapes
def test_what_is_no_sum_of_writes_is_refused_with_its_block(make, tmp_path):
    torch.manual_seed(0)
    make().save_pretrained(tmp_path)
    with pytest.raises(DecompositionError, match=REFUSED[make]) as error:
        load_model(tmp_path)
    assert len(str(error.value)) < 600
