"""The logit lens: the last place is the model itself, every place is as TransformerLens has it."""

from dataclasses import replace

import pytest
import torch
from transformer_lens.tools.analysis import logit_lens as lens_of_peer

from circuitkit.errors import CriterionError
from circuitkit.interpretation.sweeps.logit_lens import logit_lens, places_of_stream
from circuitkit.metrics import LogitDifference
from circuitkit.prompts.columns import Columns, at_role, by_position, by_role
from circuitkit.prompts.splits import sample_splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.task import find_task
from circuitkit.zoo import load_model
from tests.conftest import random_pairs
from tests.families import VARIED, make_family

METRIC = LogitDifference()


@pytest.fixture(scope="module", params=VARIED)
def family(request, tmp_path_factory):
    return make_family(request.param, tmp_path_factory.mktemp(request.param))


def label_of(pairs):
    masks = torch.zeros(1, *pairs.mask.shape, dtype=torch.bool)
    masks[0, torch.arange(len(pairs)), pairs.label_pos] = True
    return Columns(("label",), masks)


def test_the_last_place_at_the_label_is_the_model_itself(family, pairs):
    with torch.no_grad():
        logits = family.run(pairs.clean_batch)
    raw = logits
    if family.logit_softcap:
        raw = torch.atanh(logits / family.logit_softcap) * family.logit_softcap
    found = logit_lens(family, pairs, label_of(pairs))
    expected = float(METRIC.values(raw, pairs.labels).mean())
    assert found.difference.values[-1][0] == pytest.approx(expected, abs=1e-9)
    assert found.difference.whole == pytest.approx(expected, abs=1e-9)
    assert found.difference.unit == "logits"
    right = (logits.argmax(1, keepdim=True) == pairs.labels.answers).double().mean()
    assert found.answer_on_top.values[-1][0] == found.answer_on_top.whole == float(right)
    top = [family.text_of([t]) for t in logits.argmax(1).tolist()]
    assert found.top[-1][0].share == max(map(top.count, top)) / len(top)
    assert found.top[-1][0].token in top


def test_places_are_those_that_the_architecture_has(family):
    names = list(places_of_stream(family))
    n = family.graph.n_layers
    is_plain = family.graph.has_mlps and not family.graph.parallel_attn_mlp
    assert len(names) == n + 1 + n * is_plain
    assert names[0] == "resid 0"
    assert names[-1] == f"post {n - 1}"
    assert ("mid 0" in names) == is_plain


def test_every_cell_is_that_of_transformer_lens(tiny_gpt2, tiny_pairs):
    found = logit_lens(tiny_gpt2, tiny_pairs, by_position(tiny_pairs))
    theirs = lens_of_peer(tiny_gpt2.bridge, tiny_pairs.clean, incl_mid=True, positions=None)
    labels = tiny_pairs.labels
    n_pos = tiny_pairs.clean.shape[1]
    for row, (name, logits) in enumerate(zip(theirs.labels, theirs.values, strict=True)):
        assert found.difference.rows[row].split()[0] in ("resid", "mid", "post"), name
        for pos in range(n_pos):
            values = METRIC.values(logits[:, pos], labels)
            cell = found.difference.values[row][pos]
            assert cell == pytest.approx(float(values.mean()), abs=1e-5)
            assert found.difference.low[row][pos] < cell < found.difference.high[row][pos]
            tops = logits[:, pos].argmax(-1).tolist()
            best = max(sorted(set(tops)), key=tops.count)
            assert found.top[row][pos].token == tiny_gpt2.text_of([best])
            on_top = sum(t in a for t, a in zip(tops, labels.answers.tolist(), strict=True))
            assert found.answer_on_top.values[row][pos] == pytest.approx(on_top / len(tops))


def test_a_column_is_averaged_within_each_pair_and_over_the_pairs_that_have_it(toy):
    raw = random_pairs(7)
    raw[3] = replace(raw[3], roles={"A": (1, 2)})
    pairs = tokenize_pairs(raw)
    both = logit_lens(toy, pairs, at_role(pairs, "B")).difference
    rows = [i for i in range(7) if i != 3]
    single = logit_lens(toy, pairs.select(rows), by_position(pairs.select(rows))).difference
    for row, expected in zip(both.values, single.values, strict=True):
        assert row[0] == pytest.approx((expected[3] + expected[4]) / 2)


def test_columns_that_hardly_a_pair_has_are_left_out_and_named(toy):
    pairs = tokenize_pairs(random_pairs(5, lengths=(7, 7, 9)))
    found = logit_lens(toy, pairs, by_position(pairs))
    assert found.difference.columns == tuple(map(str, range(7)))
    assert found.difference.says == "Left out, as fewer than 3 pairs have them: 7, 8."
    assert logit_lens(toy, pairs, at_role(pairs, "A")).difference.says == ""


def test_results_do_not_depend_on_batches(toy, pairs):
    whole = logit_lens(toy, pairs, by_role(pairs))
    small = logit_lens(toy, pairs, by_role(pairs), memory=400_000)
    assert small.top == whole.top
    for row, expected in zip(small.difference.values, whole.difference.values, strict=True):
        assert row == pytest.approx(expected)


def test_pico_has_the_answer_only_at_the_end_and_late():
    model = load_model("pico")
    pairs = sample_splits(find_task("ioi"), model.tokenizer, n=32, seed=0).discovery
    found = logit_lens(model, pairs, by_role(pairs))
    end = found.difference.columns.index("END")
    assert found.answer_on_top.values[-1][end] > 0.9
    assert found.answer_on_top.values[0][end] == 0
    assert found.difference.low[-1][end] > 5
    assert abs(found.difference.values[0][end]) < 1


def test_too_few_pairs_are_refused(toy, pairs):
    with pytest.raises(CriterionError, match="logit lens: needs at least 3 pairs, got 2"):
        logit_lens(toy, pairs.select([0, 1]), by_role(pairs.select([0, 1])))
