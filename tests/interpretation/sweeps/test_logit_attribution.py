"""Direct logit attribution: it sums to the logits, and its parts are what ablating them changes."""

from dataclasses import replace

import pytest
import torch
from transformer_lens.tools.analysis import direct_logit_attribution

from circuitkit.errors import CriterionError, GraphError
from circuitkit.interpretation.sweeps.logit_attribution import attribute, promoted, section
from circuitkit.metrics import LogitDifference
from circuitkit.model import hook_points
from circuitkit.prompts.splits import sample_splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.task import find_task
from circuitkit.zoo import load_model
from circuitkit.zoo.planted import planted
from tests.conftest import DATA, VOCAB, fingerprint, random_pairs
from tests.families import VARIED, make_family

CLOSE = {"rtol": 1e-9, "atol": 1e-9}
METRIC = LogitDifference()


@pytest.fixture(scope="module", params=VARIED)
def family(request, tmp_path_factory):
    return make_family(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def several_answers():
    """Pairs of uneven length with one or two answers and one to three wrong ones."""
    pairs = []
    for i, pair in enumerate(random_pairs(6)):
        answers = [*pair.answers, 3][: 1 + i % 2]
        others = [token for token in range(5, VOCAB) if token not in answers]
        wrong = others[3 * i : 3 * i + 1 + i % 3]
        pairs.append(replace(pair, answers=answers, wrong_answers=wrong))
    return tokenize_pairs(pairs)


def uncapped(model, logits):
    cap = model.logit_softcap
    return torch.atanh(logits / cap) * cap if cap else logits


def logits_of(model, pairs, hooks=None):
    with torch.no_grad():
        return uncapped(model, model.run(pairs.clean_batch, hooks or {}))


def test_components_and_biases_sum_to_the_logit_difference(family, several_answers):
    found = attribute(family, several_answers)
    expected = METRIC.values(logits_of(family, several_answers), several_answers.labels)
    torch.testing.assert_close(found.value, expected, **CLOSE)
    torch.testing.assert_close(found.direct.sum(1) + found.bias, expected, **CLOSE)
    assert found.direct.shape == (6, len(family.graph.senders))
    assert (found.direct.abs().amax(0) > 1e-6).all()
    assert bool(found.notes) == bool(family.logit_softcap)


def test_sources_sum_to_the_head_and_padding_has_no_part(family, several_answers):
    found = attribute(family, several_answers)
    for name, (layer, head) in family.graph.head_places.items():
        torch.testing.assert_close(found.by_position(name).sum(1), found.of(name), **CLOSE)
        assert torch.equal(found.by_position(name), found.by_source[:, layer, head])
    padding = ~several_answers.mask[:, None, None].expand_as(found.by_source)
    assert (found.by_source[padding] == 0).all()


def test_the_part_of_a_source_is_its_value_times_the_attention_it_gets(family, pairs):
    layer, head, source = family.graph.n_layers - 1, 2, -3
    found = attribute(family, pairs)
    by_hand = of_one_source(family, pairs, layer, head, source)
    torch.testing.assert_close(found.by_source[:, layer, head, source], by_hand, **CLOSE)


def of_one_source(model, pairs, layer, head, source):
    """Return by hand what one source gives: its value through W_O, both norms held as they are."""
    kept = {}
    points = {
        "pattern": hook_points.pattern(layer),
        "v": hook_points.projection(layer, "v"),
        "z": hook_points.z(layer),
        "written": hook_points.written_z(layer),
        "final": hook_points.FINAL_NORM_IN,
    }
    logits_of(model, pairs, {p: lambda x, n=n: kept.update({n: x}) for n, p in points.items()})
    attention = model.layers[layer].attention
    weight, _ = model.unembedding
    expected = []
    for row, label in enumerate(pairs.label_pos.tolist()):
        group = head // (attention.n_heads // attention.n_kv_heads)
        value = kept["v"][row, source, group if kept["v"].shape[2] < 4 else head]
        value = value if attention.clip is None else value.clamp(-attention.clip, attention.clip)
        z = kept["pattern"][row, head, label, source] * value
        # the norm behind attention scales every head's z alike
        scale = kept["written"][row, label, head, 0] / kept["z"][row, label, head, 0]
        write = z * scale @ attention.w_out[head]
        final = kept["final"][row]
        norm = model.final_norm
        if norm.is_centred:
            write, final = write - write.mean(), final - final.mean()
        if not norm.is_identity:
            write = write * norm.weight / (final.pow(2).mean() + norm.eps).sqrt()
        right, wrong = pairs.labels.answers[row, 0], pairs.labels.wrong_answers[row, 0]
        expected.append(write @ (weight[:, right] - weight[:, wrong]))
    return torch.stack(expected)


def test_what_is_not_a_head_stands_at_the_labelled_position(toy, pairs):
    found = attribute(toy, pairs)
    for name in ("input", "m1"):
        by_position = found.by_position(name)
        assert torch.equal(by_position[torch.arange(6), pairs.label_pos], found.of(name))
        assert int((by_position != 0).sum()) == 6


def test_the_answer_may_be_read_before_the_end(toy):
    raw = [replace(pair, answer_after="B") for pair in random_pairs(6)]
    pairs = tokenize_pairs(raw)
    found = attribute(toy, pairs)
    torch.testing.assert_close(
        found.direct.sum(1) + found.bias,
        METRIC.values(logits_of(toy, pairs), pairs.labels),
        **CLOSE,
    )
    after = torch.arange(pairs.mask.shape[1]) > pairs.label_pos[:, None]
    assert (found.by_source.permute(0, 3, 1, 2)[after] == 0).all()
    by_position = found.by_position("m1")
    assert torch.equal(by_position[torch.arange(6), pairs.label_pos], found.of("m1"))
    assert pairs.label_pos.max() < pairs.mask.shape[1] - 1


def test_without_wrong_answers_the_vocabulary_is_what_answers_are_compared_with(family):
    raw = random_pairs(4)
    pairs = tokenize_pairs([replace(raw[0], wrong_answers=[]), *raw[1:]])
    found = attribute(family, pairs)
    logits = logits_of(family, pairs)
    expected = METRIC.values(logits, tokenize_pairs(raw).labels)
    expected[0] = logits[0, raw[0].answers[0]] - logits[0].mean()
    torch.testing.assert_close(found.value, expected, **CLOSE)
    torch.testing.assert_close(found.direct.sum(1) + found.bias, expected, **CLOSE)
    assert "1 of 4 pairs have no wrong answers" in found.notes[0]


def test_results_do_not_depend_on_batches_or_padding(toy, pairs):
    whole, small = attribute(toy, pairs), attribute(toy, pairs, memory=400_000)
    right = attribute(toy, tokenize_pairs(list(pairs.pairs), padding_side="right"))
    for name in ("direct", "bias", "value", "mean_writes"):
        torch.testing.assert_close(getattr(small, name), getattr(whole, name), **CLOSE)
        torch.testing.assert_close(getattr(right, name), getattr(whole, name), **CLOSE)
    torch.testing.assert_close(small.by_source, whole.by_source, **CLOSE)
    short = int(pairs.lengths.argmin())
    n = int(pairs.lengths[short])
    torch.testing.assert_close(
        right.by_source[short, ..., :n], whole.by_source[short, ..., -n:], **CLOSE
    )


def test_promoted_tokens_are_those_whose_logits_fall_when_the_write_is_taken_out(family, pairs):
    found = attribute(family, pairs)
    layer, head = family.graph.n_layers - 1, 1
    component = f"a{layer}.h{head}"
    given = promoted(family, found, component, k=VOCAB)
    kept = {}
    points = {"z": hook_points.written_z(layer), "final": hook_points.FINAL_NORM_IN}
    logits_of(family, pairs, {p: lambda x, n=n: kept.update({n: x}) for n, p in points.items()})
    z = kept["z"][torch.arange(6), pairs.label_pos, head]
    write = z @ family.layers[layer].attention.w_out[head]
    norm, (weight, _) = family.final_norm, family.unembedding
    if norm.is_centred:
        write = write - write.mean(-1, keepdim=True)
    logits = (write * norm.inverse_scale(kept["final"]) * norm.weight) @ weight
    expected = (logits - logits.mean(-1, keepdim=True)).mean(0)
    order = expected.argsort(descending=True).tolist()
    up = [(family.text_of([i]), float(expected[i])) for i in order if expected[i] > 0]
    down = [(family.text_of([i]), float(expected[i])) for i in reversed(order) if expected[i] < 0]
    assert [w.token for w in given.promotes] == [token for token, _ in up]
    assert [w.token for w in given.demotes] == [token for token, _ in down]
    assert [w.logits for w in given.promotes] == pytest.approx([x for _, x in up])
    assert [w.logits for w in given.demotes] == pytest.approx([x for _, x in down])


def test_mean_writes_sum_to_the_stream_over_its_scale(family, pairs):
    kept = []
    logits_of(family, pairs, {hook_points.FINAL_NORM_IN: lambda x: kept.append(x)})
    bias = sum(layer.attention.b_out for layer in family.layers)
    expected = ((kept[0] - bias) * family.final_norm.inverse_scale(kept[0])).mean(0)
    torch.testing.assert_close(attribute(family, pairs).mean_writes.sum(0), expected, **CLOSE)


def test_the_planted_mover_writes_the_answer_and_idle_heads_write_nothing():
    source = planted("planted-skip-trigram")
    model = source.model(dtype=torch.float64)
    task = find_task("planted-skip-trigram")
    pairs = sample_splits(task, model.tokenizer, n=24, seed=0).discovery
    found = attribute(model, pairs)
    mover = source.components["mover"]
    assert found.of(mover).abs().max() > 2
    for name in set(model.graph.senders) - {mover, "input"}:
        assert found.of(name).abs().max() == 0
        assert promoted(model, found, name) == promoted(model, found, name, k=0)
    verbs = found.by_position(mover).argmax(1)
    words = [model.text_of([int(t)]) for t in pairs.clean[torch.arange(len(pairs)), verbs]]
    assert set(words) <= {"keep", "fall", "stay"}


def test_agrees_with_transformer_lens(tiny_gpt2, tiny_pairs):
    bridge = load_model(DATA / "tiny-gpt2" / "model", dtype=torch.float64).bridge
    # its default takes value biases from the heads
    bridge.enable_compatibility_mode(disable_warnings=True, fold_value_biases=False)
    found = attribute(tiny_gpt2, tiny_pairs)
    labels = tiny_pairs.labels
    theirs = direct_logit_attribution(
        bridge,
        tiny_pairs.clean,
        answer_tokens=labels.answers[:, 0],
        incorrect_tokens=labels.wrong_answers[:, 0],
        unit="head",
    )
    for label, values in zip(theirs.labels, theirs.attribution, strict=True):
        if label.startswith("L"):
            layer, _, head = label[1:].partition("H")
            torch.testing.assert_close(found.of(f"a{layer}.h{head}"), values, rtol=1e-6, atol=1e-6)
    assert len(theirs.labels) > tiny_gpt2.graph.n_layers * tiny_gpt2.graph.n_heads


def test_the_mean_over_pairs_has_an_interval(toy, pairs):
    found = attribute(toy, pairs)
    estimate = found.estimate("a1.h2")
    assert estimate.value == pytest.approx(float(found.of("a1.h2").mean()))
    assert estimate.low < estimate.value < estimate.high
    with pytest.raises(CriterionError, match="needs at least 3 pairs"):
        attribute(toy, pairs.select([0, 1])).estimate("a1.h2")


@pytest.mark.parametrize("name", ["logits", "a9.h0", "m3", ""])
def test_what_does_not_write_is_refused(toy, pairs, name):
    found = attribute(toy, pairs)
    with pytest.raises(GraphError, match=r"must write to the residual stream.*or m2"):
        found.of(name)
    with pytest.raises(GraphError, match="must write"):
        promoted(toy, found, name)


def test_the_model_is_left_as_it_was(toy, pairs):
    before = fingerprint(toy)
    attribute(toy, pairs)
    assert fingerprint(toy) == before


def test_the_section_shows_the_largest_parts_and_the_whole(toy, pairs):
    found = attribute(toy, pairs)
    shown = section(found, 3)
    [bars] = shown.pictures
    sizes = {name: abs(found.estimate(name).value) for name in found.components}
    assert list(bars.labels) == sorted(sizes, key=lambda name: -sizes[name])[:3]
    assert [each.value for each in bars.values] == [found.estimate(n).value for n in bars.labels]
    assert shown.sentences[0].startswith(f"The logit difference is {float(found.value.mean()):.3g}")
