"""Directions found, kept and used: by hooks and in the weights."""

import copy

import numpy as np
import pytest
import torch

import circuitkit as ck
from circuitkit.control.steering.classes import (
    TwoClasses,
    activations_at_ends,
    classes_of_pairs,
    logits_of,
    read_two_classes,
)
from circuitkit.control.steering.found import (
    difference_of_means,
    feature_direction,
    probe_direction,
    random_vector,
    shuffled_vector,
)
from circuitkit.control.steering.uses import ablated, added, last_tokens, set_to, write_points
from circuitkit.control.steering.vector import given_vector, load_vector, save_vector
from circuitkit.control.steering.weights import AddedEverywhere, Orthogonalised
from circuitkit.dictionaries.training.prompts import batch_of
from circuitkit.errors import DictionaryError, GraphError, MethodError, ModelError, PromptError
from circuitkit.model import hook_points
from circuitkit.model.check import probe
from tests.conftest import VOCAB
from tests.families import make_family

BATCH = probe(VOCAB, 16)


def drawn(model, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(model.graph.d_model, generator=rng, dtype=torch.float64)


@pytest.fixture(scope="module")
def vector(toy):
    return given_vector(toy, drawn(toy), hook_points.resid_pre(1))


@pytest.fixture(scope="module")
def prompts():
    rng = np.random.default_rng(0)
    ids = tuple(tuple(rng.integers(0, VOCAB, 5 + row % 3).tolist()) for row in range(24))
    return TwoClasses(ids, tuple(row % 2 == 0 for row in range(24)), ("",) * 24)


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    made = {}

    def make(name):
        if name not in made:
            made[name] = make_family(name, tmp_path_factory.mktemp("families"))
        return made[name]

    return make


def parts_along(model, vector, hooks, batch=BATCH):
    """Return the part along a direction, after some hooks, in front of and behind every layer."""
    found = {}

    def seeing(point):
        def see(x):
            out = hooks[point](x) if point in hooks else x
            found[point] = (out @ vector.unit.to(out)).detach()
            return out

        return see

    points = {*hooks, *(hook_points.resid_post(i) for i in range(model.graph.n_layers))}
    points |= {hook_points.resid_pre(i) for i in range(model.graph.n_layers)}
    model.run(batch, {point: seeing(point) for point in points})
    return found


def test_the_difference_of_means_is_that_of_the_activations_read_one_by_one(toy, prompts):
    point = hook_points.resid_mid(1)
    kept = {}
    for row, ids in enumerate(prompts.ids):
        seeing = {point: lambda x, row=row: kept.update({row: x[0, -2].detach()})}
        toy.run(batch_of([ids]), seeing)
    by_hand = {
        side: torch.stack([kept[r] for r, y in enumerate(prompts.labels) if y == side]).mean(0)
        for side in (True, False)
    }
    found = difference_of_means(toy, prompts, point, end=-2)
    torch.testing.assert_close(found.direction, by_hand[True] - by_hand[False])
    assert found.true == pytest.approx(float(by_hand[True] @ found.unit))
    assert found.false == pytest.approx(float(by_hand[False] @ found.unit))
    assert found.true - found.false == pytest.approx(found.norm)


def test_ablation_leaves_no_part_along_the_direction_anywhere(toy, vector):
    before = parts_along(toy, vector, {})
    after = parts_along(toy, vector, ablated(toy, vector))
    assert min(float(x.abs().max()) for x in before.values()) > 0.1
    assert max(float(x.abs().max()) for x in after.values()) < 1e-12
    assert len(write_points(toy)) == 1 + 2 * toy.graph.n_layers


def test_an_addition_moves_the_stream_by_its_dose_at_the_places_marked_alone(toy, vector):
    at = last_tokens(BATCH)
    before = parts_along(toy, vector, {})[vector.point]
    after = parts_along(toy, vector, added(toy, vector, -0.5, at))[vector.point]
    torch.testing.assert_close(after - before, -0.5 * vector.norm * at.double())
    everywhere = parts_along(toy, vector, added(toy, vector, 2.0))[vector.point]
    torch.testing.assert_close(everywhere - before, torch.full_like(before, 2 * vector.norm))


def test_an_affine_change_sets_the_projection_and_nothing_across_it(toy, vector):
    seen = {}
    hooks = set_to(toy, vector, 1.5)
    toy.run(BATCH, {vector.point: lambda x: seen.update(x=x, y=hooks[vector.point](x))})
    torch.testing.assert_close(seen["y"] @ vector.unit, torch.full_like(seen["y"][..., 0], 1.5))
    across = torch.eye(len(vector.unit)).double() - torch.outer(vector.unit, vector.unit)
    torch.testing.assert_close(seen["y"] @ across, seen["x"] @ across)


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma"])  # tied, tied or not; scaled
def test_orthogonalised_weights_equal_ablation_to_1e_12_in_float64(family, name):
    model = family(name)
    assert model.dtype == torch.float64
    vector = given_vector(model, drawn(model), hook_points.resid_pre(1))
    batch = probe(len(model.token_embeddings), model.n_ctx)
    changed = Orthogonalised(vector).made(model)
    with torch.no_grad():
        before, found = model.run(batch), changed.run(batch)
        expected = model.run(batch, ablated(model, vector))
    assert float((found - expected).abs().max()) <= 1e-12 * float(expected.abs().max())
    assert float((before - expected).abs().max()) > 1e-2
    left = parts_along(changed, vector, {}, batch).values()
    assert max(float(x.abs().max()) for x in left) < 1e-11
    assert torch.equal(model.run(batch), before)  # the model itself is as it was
    torch.testing.assert_close(changed.unembedding[0], model.unembedding[0])


def test_without_positional_embeddings_and_biases_the_two_are_not_equal(toy, vector, monkeypatch):
    from circuitkit.control.steering import weights

    whole = weights.orthogonal_weights(toy, vector)
    kept = {name for name in whole if "wpe" in name or name.endswith("bias")}
    assert any("wpe" in name for name in kept)
    assert sum(name.endswith("bias") for name in kept) == 2 * toy.graph.n_layers
    for left_out in ("wpe", "bias"):
        some = {name: x for name, x in whole.items() if left_out not in name}
        monkeypatch.setattr(weights, "orthogonal_weights", lambda *_, some=some: some)
        with pytest.raises(MethodError, match="logits must equal those under ablation, got a diff"):
            Orthogonalised(vector).made(toy)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gemma-2", "a norm behind attention at layer 0: it is not linear"),
        ("olmo-2", "a norm behind attention at layer 0: it is not linear"),
        ("bloom", "a norm or more behind the embedding"),
        ("mixtral", "an MLP without one output projection at layer 0"),
    ],
)
def test_where_the_two_would_differ_the_reason_is_named(family, name, reason):
    model = family(name)
    vector = given_vector(model, drawn(model), hook_points.resid_pre(1))
    with pytest.raises(MethodError, match=reason):
        Orthogonalised(vector).made(model)


@pytest.mark.parametrize(
    "point",
    [
        hook_points.resid_pre(0),
        hook_points.resid_pre(2),
        hook_points.resid_mid(1),
        hook_points.mlp_out(1),
        hook_points.resid_post(2),
    ],
)
def test_an_addition_in_a_bias_equals_that_at_every_position(toy, point):
    vector = given_vector(toy, drawn(toy), point)
    with torch.no_grad():
        expected = toy.run(BATCH, added(toy, vector, 0.7))
        found = AddedEverywhere(vector, 0.7).made(toy).run(BATCH)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
        assert float((expected - toy.run(BATCH)).abs().max()) > 1e-2


def test_a_place_without_a_bias_in_front_is_refused_for_weights(family):
    model = family("llama")
    for point, reason in (
        (hook_points.resid_pre(1), "the MLP of layer 0 must have an output bias"),
        (hook_points.attn_out(1), "attention of layer 1 must have an output bias"),
        (hook_points.resid_pre(0), "got token embeddings alone"),
    ):
        vector = given_vector(model, drawn(model), point)
        with pytest.raises(MethodError, match=reason):
            AddedEverywhere(vector, 1.0).made(model)


def test_a_saved_direction_is_read_back_to_the_bit_and_damage_is_refused(toy, vector, tmp_path):
    save_vector(vector, tmp_path)
    again = load_vector(tmp_path)
    assert torch.equal(again.direction, vector.direction)
    assert (again.point, again.origin, again.digest) == (vector.point, vector.origin, toy.digest)
    again.require_fits(toy)
    said = (tmp_path / "vector.json").read_text()
    (tmp_path / "vector.json").write_text(said.replace('"norm": ', '"norm": 1'))
    with pytest.raises(MethodError, match="a direction of norm 12.8.*, said to be 112.8"):
        load_vector(tmp_path)
    with pytest.raises(MethodError, match="must hold vector.json and vector.safetensors"):
        load_vector(tmp_path / "nowhere")


def test_directions_of_another_model_width_or_place_are_refused(toy, vector):
    other = copy.copy(toy)
    vars(other)["digest"] = "b3-0"
    for use in (ablated, lambda *of: added(*of, 1.0), lambda *of: set_to(*of, 0.0)):
        with pytest.raises(ModelError, match="must be of the weights of .* got one of"):
            use(other, vector)
    with pytest.raises(ModelError, match="must be of the weights of"):
        Orthogonalised(vector).made(other)
    with pytest.raises(MethodError, match="must be 20 wide, .* got 7"):
        given_vector(toy, torch.ones(7), vector.point)
    with pytest.raises(GraphError, match="of layers 0 to 2, .* got 'resid pre' of layer 3"):
        given_vector(toy, drawn(toy), hook_points.resid_pre(3))
    with pytest.raises(GraphError, match="got 'z' of layer 1"):
        given_vector(toy, drawn(toy), hook_points.z(1))
    with pytest.raises(MethodError, match="its length must be above zero"):
        given_vector(toy, torch.zeros(20), vector.point)


def test_one_class_alone_is_refused(toy, prompts, tmp_path):
    for label in (True, False):
        with pytest.raises(PromptError, match="prompts must be of two classes, got"):
            difference_of_means(toy, prompts.of(label), hook_points.resid_pre(1))
    file = tmp_path / "classes.jsonl"
    file.write_text('{"prompt": [1, 2], "label": true}\n{"prompt": [1, 3], "label": true}\n')
    with pytest.raises(PromptError, match="got 2 that are true and 0 that are false"):
        read_two_classes(file, toy)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": [1, 2]}', "line 1: must have a label that is true or false"),
        ('{"prompt": [1, 2], "label": "yes"}', "line 1: must have a label that is true or false"),
        ('{"prompt": [1, 2], "label": true, "class": 1}', "no keys but label, prompt, topic"),
        ('{"label": true}', "line 1: must be a JSON object with a prompt"),
        ("text", "line 1: must be a JSON object with a prompt"),
        ("", "must hold at least one prompt, got none"),
    ],
)
def test_a_file_of_classes_that_does_not_fit_is_refused_by_its_line(toy, tmp_path, line, message):
    file = tmp_path / "classes.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(PromptError, match=message):
        read_two_classes(file, toy)


def test_a_file_of_classes_is_read_with_its_labels_and_topics(toy, tmp_path):
    file = tmp_path / "classes.jsonl"
    file.write_text(
        '{"prompt": [1, 2], "label": true, "topic": "a"}\n\n{"prompt": [3], "label": false}\n'
    )
    found = read_two_classes(file, toy)
    assert found == TwoClasses(((1, 2), (3,)), (True, False), ("a", ""))
    with pytest.raises(PromptError, match="every prompt must have at least 2 tokens, got one of 1"):
        activations_at_ends(toy, found, [hook_points.resid_pre(0)], [-1, -2])


def test_prompts_of_pairs_end_where_their_answer_is_read(toy, pairs):
    found = classes_of_pairs(pairs)
    n = len(pairs)
    assert sum(found.labels) == n
    logits = logits_of(toy, found)
    torch.testing.assert_close(logits[:n], toy.run(pairs.clean_batch))
    torch.testing.assert_close(logits[n:], toy.run(pairs.corrupted_batch))


def test_controls_have_the_direction_s_length_and_shuffled_means_no_part_of_the_classes(toy):
    rng = np.random.default_rng(1)
    ids = tuple((*rng.integers(0, VOCAB, 4).tolist(), row % 2) for row in range(24))
    prompts = TwoClasses(ids, tuple(row % 2 == 0 for row in range(24)), ("",) * 24)
    point = hook_points.resid_pre(0)  # the last token itself: the two classes are two points
    vector = difference_of_means(toy, prompts, point)
    random = random_vector(vector, 1)
    assert random.norm == pytest.approx(vector.norm)
    assert abs(random.cosine(vector.direction)) < 0.8
    assert not torch.equal(random.direction, random_vector(vector, 2).direction)
    with pytest.raises(MethodError, match="its length must be above zero"):
        shuffled_vector(toy, prompts, vector, end=-1)  # half of each class: no difference is left
    later = difference_of_means(toy, prompts, hook_points.resid_pre(1))
    shuffled = shuffled_vector(toy, prompts, later, end=-1, seed=3)
    assert shuffled.norm == pytest.approx(later.norm)
    with pytest.raises(PromptError, match="each class must have at least 2 prompts, got 1"):
        shuffled_vector(toy, prompts.select([0, 1, 3]), later, end=-1)


def test_a_probe_points_from_false_to_true_at_the_length_of_the_difference(toy, prompts):
    point = hook_points.resid_post(1)
    training, held_out = prompts.select(range(16)), prompts.select(range(16, 24))
    found = probe_direction(toy, training, held_out, point)
    means = difference_of_means(toy, training, point)
    assert found.vector.norm == pytest.approx(means.norm)
    assert found.vector.true > found.vector.false
    assert found.vector.cosine(torch.from_numpy(found.probed.direction)) == pytest.approx(1)
    assert found.probed.accuracy.n == 8


def test_a_feature_steers_by_its_decoder_row_and_one_of_another_place_is_refused():
    pico = ck.load_model("pico")
    dictionary = ck.load_dictionary("pico:m3")
    vector = feature_direction(pico, dictionary, 5)
    torch.testing.assert_close(vector.direction, dictionary.w_dec[5].double())
    assert vector.point == hook_points.mlp_out(3)
    with pytest.raises(DictionaryError, match="features must be from 0 to"):
        feature_direction(pico, dictionary, dictionary.n_features)
    wide = copy.copy(dictionary)
    vars(wide)["place"] = type(dictionary.place)(3, "mlp normed", "mlp normed")
    with pytest.raises(GraphError, match="steering: a place must be one of .* got 'mlp normed'"):
        feature_direction(pico, wide, 5)
