"""Attention patterns: those of the run, without padding, averaged by layout, labelled."""

from dataclasses import replace

import pytest
import torch

from circuitkit.errors import GraphError, MemoryBudgetError
from circuitkit.interpretation.findings import TemplatePatterns
from circuitkit.interpretation.sweeps.logit_attribution import attribute
from circuitkit.interpretation.sweeps.patterns import (
    DECIMALS,
    VARIES,
    attention_patterns,
    by_template,
    prompt_views,
    resting_heads,
    role_labels,
)
from circuitkit.model import hook_points
from circuitkit.prompts.splits import sample_splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.task import find_task
from circuitkit.zoo.planted import planted
from tests.conftest import fingerprint, random_pairs
from tests.families import VARIED, make_family
from tests.interpretation.weights.test_products import induction_model  # noqa: F401


@pytest.fixture(scope="module", params=VARIED)
def family(request, tmp_path_factory):
    return make_family(request.param, tmp_path_factory.mktemp(request.param))


def alone(model, pair, layer):
    """Return the patterns of one unpadded prompt."""
    kept = []
    with torch.no_grad():
        batch = tokenize_pairs([pair]).clean_batch
        model.run(batch, {hook_points.pattern(layer): lambda x: kept.append(x)})
    return kept[0][0]


@pytest.mark.parametrize("side", ["left", "right"])
def test_patterns_are_those_of_each_prompt_alone(family, pairs, side):
    padded = tokenize_pairs(list(pairs.pairs), padding_side=side)
    found = attention_patterns(family, padded)
    assert found.layers[0].shape == (6, 4, 9, 9)
    for row, pair in enumerate(pairs.pairs):
        for layer in range(family.graph.n_layers):
            expected = alone(family, pair, layer)
            for head in range(4):
                torch.testing.assert_close(found.of(row, layer, head), expected[head])
    n = int(found.lengths.min())
    short = found.layers[1][found.lengths == n]
    assert (short[:, :, n:] == 0).all()
    assert (short[..., n:] == 0).all()


def test_a_templates_pattern_is_the_mean_over_its_pairs(family, pairs):
    one_name = replace(pairs, templates=("list",) * 6)
    found = by_template(family, one_name, ["a1.h2", "a0.h3"])
    assert [t.template for t in found] == ["list (7 tokens)", "list (9 tokens)"]
    assert [t.n for t in found] == [3, 3]
    for template, rows in zip(found, ((0, 2, 4), (1, 3, 5)), strict=True):
        assert list(template.patterns) == ["a1.h2", "a0.h3"]
        expected = sum(alone(family, pairs.pairs[row], 1)[2] for row in rows) / 3
        kept = torch.tensor(template.patterns["a1.h2"], dtype=torch.float64)
        torch.testing.assert_close(kept, expected, rtol=0, atol=1.001 * 0.5 * 10**-DECIMALS)
        assert len(template.labels) == len(expected)
    assert [t.template for t in by_template(family, pairs)] == ["length 7", "length 9"]
    assert len(by_template(family, pairs)[0].patterns) == len(family.graph.head_places)


def test_results_do_not_depend_on_batches(toy, pairs):
    whole, small = by_template(toy, pairs), by_template(toy, pairs, memory=400_000)
    for one, other in zip(whole, small, strict=True):
        assert one.labels == other.labels
        for name, pattern in one.patterns.items():
            torch.testing.assert_close(torch.tensor(pattern), torch.tensor(other.patterns[name]))
    some = attention_patterns(toy, pairs, memory=400_000)
    for one, other in zip(attention_patterns(toy, pairs).layers, some.layers, strict=True):
        torch.testing.assert_close(one, other)


def test_positions_are_named_by_role_or_shared_token_or_as_varying(toy):
    raw = [
        replace(pair, clean=[11, *pair.clean[1:6], 22], corrupted=[11, *pair.corrupted[1:6], 22])
        for pair in random_pairs(4, lengths=(7,))
    ]
    [found] = by_template(toy, tokenize_pairs(raw), ["a0.h0"])
    assert found.labels == ("[11]", "A", VARIES, "B", "B", VARIES, "END")
    # where roles lie elsewhere in one pair, only what all share is named
    raw[2] = replace(raw[2], roles={"A": (2, 3), "B": (3, 5)})
    [found] = by_template(toy, tokenize_pairs(raw), ["a0.h0"])
    assert found.labels == ("[11]", VARIES, VARIES, "B", "B", VARIES, "END")


def test_the_shortest_role_names_a_position_and_end_only_where_no_other_does():
    raw = random_pairs(2, lengths=(7, 9))
    raw[0] = replace(raw[0], roles={"sentence": (0, 7), "A": (1, 2), "last": (5, 7)})
    pairs = tokenize_pairs(raw)
    whole, last = ["sentence"], ["last", "last"]
    assert list(role_labels(pairs, 0)) == [*whole, "A", *whole * 3, *last]
    assert role_labels(pairs, 1) == ("", "A", "", "B", "B", "", "", "", "END")


def test_a_view_of_a_prompt_has_its_words_and_its_parts_by_position():
    source = planted("planted-skip-trigram")
    model, mover = source.model(dtype=torch.float64), source.components["mover"]
    task = find_task("planted-skip-trigram")
    pairs = sample_splits(task, model.tokenizer, n=12, seed=0).discovery
    attribution = attribute(model, pairs)
    views = prompt_views(model, pairs, attribution, [mover, "input"])
    for row, view in enumerate(views):
        assert "".join(view.tokens[1:]) == f" {pairs.pairs[row].clean}"  # each with its space
        assert view.answers == tuple(pairs.pairs[row].answers)
        assert view.wrong_answers == tuple(pairs.pairs[row].wrong_answers)
        assert view.labels[-1] == "END"
        assert view.value == pytest.approx(float(attribution.value[row]))
        assert list(view.patterns) == [mover]
        assert set(view.attributions) == {mover, "input"}
        n = len(view.tokens)
        assert len(view.labels) == len(view.patterns[mover]) == len(view.patterns[mover][-1]) == n
        assert sum(view.attributions[mover]) == pytest.approx(float(attribution.of(mover)[row]))
        assert view.attributions["input"][:-1] == (0,) * (n - 1)
        last = view.patterns[mover][-1]
        assert view.tokens[last.index(max(last))].strip() in ("keep", "fall", "stay")
    assert len(prompt_views(model, pairs, attribution)[0].attributions) == 5


def test_a_padded_view_is_that_of_the_prompt_alone(toy, pairs):
    views = prompt_views(toy, pairs, attribute(toy, pairs))
    for row, pair in enumerate(pairs.pairs):
        single = tokenize_pairs([pair])
        [expected] = prompt_views(toy, single, attribute(toy, single))
        assert views[row].tokens == expected.tokens
        assert views[row].labels == expected.labels
        for name, part in expected.attributions.items():
            assert views[row].attributions[name] == pytest.approx(part, abs=1e-9)


def test_a_view_names_only_the_answers_of_its_own_pair(toy):
    raw = random_pairs(3, lengths=(7,))
    raw[1] = replace(raw[1], answers=[4, 5], wrong_answers=[6, 7, 8])
    pairs = tokenize_pairs(raw)
    views = prompt_views(toy, pairs, attribute(toy, pairs))
    assert [len(view.answers) for view in views] == [1, 2, 1]
    assert views[1].wrong_answers == ("[6]", "[7]", "[8]")
    assert views[2].answers == (str(raw[2].answers),)


def flat(n, first, own):
    """Return a pattern of these shares on the first token and on itself, the rest on token 1."""
    pattern = [[0.0] * n for _ in range(n)]
    pattern[0][0] = 1.0
    for at in range(1, n):
        pattern[at][0] += first
        pattern[at][at] += own
        pattern[at][1] += 1 - first - own
    return tuple(map(tuple, pattern))


def test_a_head_that_attends_to_nothing_is_named():
    heads = {"a0.h0": flat(5, 0.95, 0), "a0.h1": flat(5, 0.3, 0.65), "a0.h2": flat(5, 0.2, 0.1)}
    found = resting_heads([TemplatePatterns("one", 4, ("x",) * 5, heads)])
    assert list(found) == ["a0.h0", "a0.h1"]
    assert found["a0.h0"] == (
        "a0.h0 rests: 95% of its attention is on the first token and 1% on the token itself, so "
        "its pattern tells of no other."
    )


def test_a_head_must_rest_in_all_templates_by_their_sizes():
    def templates(n_active):
        return [
            TemplatePatterns("rests", 9, ("x",) * 5, {"a0.h0": flat(5, 1, 0)}),
            TemplatePatterns("active", n_active, ("x",) * 6, {"a0.h0": flat(6, 0, 0)}),
            TemplatePatterns("one token", 90, ("x",), {"a0.h0": ((1.0,),)}),
        ]

    assert resting_heads(templates(9)) == {}
    assert resting_heads([templates(9)[2]]) == {}
    assert list(resting_heads(templates(1))) == ["a0.h0"]


def test_idle_heads_of_a_planted_model_do_not_rest_but_spread():
    source = planted("planted-ioi")
    model = source.model(dtype=torch.float64)
    pairs = sample_splits(find_task("planted-ioi"), model.tokenizer, n=12, seed=0).discovery
    templates = by_template(model, pairs)
    [template] = templates
    assert "Ada" not in template.labels
    assert "and" in template.labels
    roles = set(source.components.values())
    idle = next(h for h in template.patterns if h not in roles)
    assert template.patterns[idle][3][:4] == pytest.approx((0.25,) * 4)
    assert idle not in resting_heads(templates)


def test_the_previous_token_head_looks_one_back(induction_model):  # noqa: F811
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(128, (24, 85), generator=generator)
    pairs = random_pairs(24, lengths=(85,))
    pairs = [
        replace(pair, clean=row, corrupted=row, roles={})
        for pair, row in zip(pairs, tokens.tolist(), strict=True)
    ]
    [template] = by_template(induction_model, tokenize_pairs(pairs))
    back = {
        head: sum(pattern[at][at - 1] for at in range(1, 85)) / 84
        for head, pattern in template.patterns.items()
    }
    assert max(back, key=back.get) == "a0.h2"
    assert back["a0.h2"] == pytest.approx(0.27, abs=0.08)


def test_patterns_that_do_not_fit_are_refused_before_the_run(toy, pairs):
    with pytest.raises(MemoryBudgetError, match=r"6 prompts of up to 9 tokens.*46656 bytes"):
        attention_patterns(toy, pairs, memory=46_655)


def test_only_heads_attend(toy, pairs):
    with pytest.raises(GraphError, match="must be a head"):
        by_template(toy, pairs, ["m1"])


def test_the_model_is_left_as_it_was(toy, pairs):
    before = fingerprint(toy)
    by_template(toy, pairs)
    assert fingerprint(toy) == before
