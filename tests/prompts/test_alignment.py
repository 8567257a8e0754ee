"""Pairs of unequal length: what stands for what, and that all runs are those of the prompts."""

import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.discovery import atp, eap, eap_ig
from circuitkit.discovery.eap_ig import IntegrationPath
from circuitkit.errors import AlignmentError, PromptError
from circuitkit.interpretation.directions.concepts import activations_at
from circuitkit.interventions.ablation import (
    Ablation,
    MeanAblation,
    NoiseAblation,
    ResampleAblation,
    TokenMeanAblation,
)
from circuitkit.interventions.edges import measure_edges
from circuitkit.interventions.pair_runs import PairRuns
from circuitkit.interventions.patching import patch_activations
from circuitkit.interventions.path_patching import patch_paths
from circuitkit.interventions.recorded import Direction
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.sites import site_named
from circuitkit.model.recording import record
from circuitkit.prompts.alignment import Side, pieces_of
from circuitkit.prompts.columns import all_positions, at_role, by_role
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from tests.conftest import random_pairs

from .test_chat import asking, chat_tokenizer

RULES = ("last", "mean")
CORRUPTED = [3, 4, 11, 8, 12, 10]
CLOSE = {"rtol": 1e-10, "atol": 1e-11}


def unlevel(align="last", **changes):
    """A pair whose span A has 3 tokens in the clean prompt and 1 in the corrupted one."""
    settings = {"roles": {"A": (2, 5), "B": (6, 7)}, "corrupted_roles": {"A": (2, 3)}}
    return PromptPair(
        [3, 4, 5, 6, 7, 8, 9, 10],
        [3, 4, 11, 8, 12, 10],
        [1],
        [2],
        **settings | changes,
        align=align,
    )


def longer(align="last"):
    """A pair whose span A has 1 token in the clean prompt and 2 in the corrupted one."""
    roles = {"roles": {"A": (1, 2)}, "corrupted_roles": {"A": (1, 3)}}
    return PromptPair([20, 21, 22, 23], [20, 24, 25, 22, 26], [4], [6], **roles, align=align)


def both(align="last"):
    level = PromptPair([7, 8, 9, 10, 11], [7, 8, 12, 10, 11], [2], [5], roles={"A": (2, 3)})
    return [unlevel(align), longer(align), level]


def alone(pair, tokens):
    """Return a pair of one prompt alone, with nothing padded."""
    return tokenize_pairs([PromptPair(tokens, tokens, pair.answers, pair.wrong_answers)])


# --- what stands for what


def side(n, **roles):
    return Side([f"t{place}" for place in range(n)], roles)


def test_outside_of_spans_tokens_stand_for_each_other_one_by_one():
    found = pieces_of(side(8, A=(2, 5), B=(6, 7)), side(7, A=(2, 3), B=(4, 6)))
    assert found == (
        ((0, 2), (0, 2)),
        ((2, 5), (2, 3)),
        ((5, 6), (3, 4)),
        ((6, 7), (4, 6)),
        ((7, 8), (6, 7)),
    )


def test_of_nested_spans_the_innermost_is_aligned():
    found = pieces_of(side(6, whole=(1, 6), A=(2, 4)), side(5, whole=(1, 5), A=(2, 3)))
    assert found == (((0, 2), (0, 2)), ((2, 4), (2, 3)), ((4, 6), (3, 5)))


def test_spans_of_equal_length_are_matched_token_by_token():
    assert pieces_of(side(4, A=(1, 3)), side(4, A=(1, 3))) == (((0, 4), (0, 4)),)


@pytest.mark.parametrize(
    ("ours", "theirs", "where"),
    [
        (side(5), side(4), "between the start and the end"),
        (side(5, A=(1, 3)), side(5, A=(1, 2)), "between the span 'A' and the end"),
        (side(5, A=(1, 3)), side(4, A=(2, 3)), "between the start and the span 'A'"),
        (side(6, A=(1, 3), B=(3, 4)), side(6, A=(3, 4), B=(1, 3)), "between the start and the"),
        (side(6, A=(1, 3), B=(2, 4)), side(6, A=(1, 4), B=(2, 5)), "between the span 'A' and"),
        (side(6, A=(1, 3), B=(2, 5)), side(6, A=(1, 4), B=(3, 5)), "between the span 'A' and"),
    ],
)
def test_spans_that_do_not_align_are_refused_with_the_tokens_between_them(ours, theirs, where):
    with pytest.raises(AlignmentError, match=where) as error:
        pieces_of(ours, theirs)
    assert "clean     [" in str(error.value)
    assert "corrupted [" in str(error.value)


@pytest.mark.parametrize(("rule", "standing"), [("last", [0, 0, 1]), ("mean", [1 / 3] * 3)])
def test_what_stands_for_a_span_is_its_last_token_or_its_mean(rule, standing):
    pair = PromptPair(
        [3, 4, 5, 6], [3, 7, 8, 9, 6], [1], [2],
        roles={"A": (1, 3)}, corrupted_roles={"A": (1, 4)}, align=rule,
    )  # fmt: skip
    [weights] = tokenize_pairs([pair]).corrupted_batch.stand_ins
    expected = torch.zeros(5, 5)
    expected[1, 0] = expected[4, 4] = 1  # the clean prompt stands behind one column of padding
    expected[2, 1:4] = expected[3, 1:4] = torch.tensor(standing)
    assert torch.equal(weights, expected)


@pytest.mark.parametrize("padding", ["left", "right"])
def test_both_prompts_keep_their_tokens_and_their_places(padding):
    pairs = tokenize_pairs(both(), padding_side=padding)
    clean, corrupted = pairs.clean_batch, pairs.corrupted_batch
    for row, pair in enumerate(both()):
        for batch, tokens in ((clean, pair.clean), (corrupted, pair.corrupted)):
            real = batch.mask[row]
            assert batch.tokens[row, real].tolist() == list(tokens)
            assert batch.position_ids[row, real].tolist() == list(range(len(tokens)))
            assert int(batch.label_pos[row]) == int(real.nonzero()[-1])
    assert pairs.align == "last"


def test_pairs_of_equal_length_are_as_ever_whatever_the_rule():
    level = [PromptPair([1, 2], [1, 3], [4], roles={"A": (1, 2)}, align=rule) for rule in RULES]
    pairs = tokenize_pairs(level)
    assert (pairs.is_level, pairs.align, pairs.corrupted_batch.stand_ins) == (True, "", None)


def test_swapped_spans_are_aligned_though_the_prompts_are_equally_long():
    roles = {"roles": {"A": (1, 3), "B": (4, 5)}, "corrupted_roles": {"A": (1, 2), "B": (3, 5)}}
    pair = PromptPair([3, 4, 5, 6, 7, 8], [3, 7, 6, 4, 5, 8], [1], **roles, align="last")
    [weights] = tokenize_pairs([pair]).corrupted_batch.stand_ins
    assert weights.argmax(1).tolist() == [0, 1, 1, 2, 4, 5]


def test_rows_keep_what_stands_for_them_when_they_are_selected():
    pairs = tokenize_pairs(both())
    found = pairs.select([2, 1]).corrupted_batch
    assert torch.equal(found.stand_ins, pairs.corrupted_batch.stand_ins[[2, 1]])
    assert torch.equal(found.mask, pairs.corrupted_batch.mask[[2, 1]])


def test_the_rule_and_the_spans_are_part_of_what_pairs_are():
    made = [tokenize_pairs([unlevel(rule)]) for rule in RULES]
    other = tokenize_pairs([unlevel(roles={"A": (1, 4)}, corrupted_roles={"A": (1, 2)})])
    assert len({pairs.digest for pairs in (*made, other)}) == 3
    prompts = {alone(unlevel(), each).prompt_digests for each in (unlevel().clean, CORRUPTED)}
    assert {made[0].prompt_digests, made[1].prompt_digests} == {tuple(sorted(sum(prompts, ())))}


def test_only_what_differs_is_said_to_differ():
    for rule in RULES:
        row = tokenize_pairs([unlevel(rule)]).differs[0]
        assert row.nonzero()[:, 0].tolist() == [2, 3, 4, 6]
    spans = {"roles": {"A": (1, 2)}, "corrupted_roles": {"A": (1, 3)}}
    same_start = PromptPair([3, 4, 5], [3, 4, 6, 5], [1], **spans, align="mean")
    assert tokenize_pairs([same_start]).differs.tolist() == [[False, False, True, False]]


def test_messages_align_by_the_roles_they_have_and_by_those_that_are_named():
    tokenizer = chat_tokenizer("llama-3")
    named = {"corrupted_roles": {"city": (1, 9, 13)}, "align": "last"}
    for changes, n_own in ((named, 10), (named | {"roles": {}, "corrupted_roles": {}}, 0)):
        pairs = tokenize_pairs([asking("Paris", "Rome", **changes)], tokenizer)
        assert not pairs.is_level
        start, end = pairs.roles[0]["user"]
        weights = pairs.corrupted_batch.stand_ins[0, start:end]
        one_by_one = weights.argmax(1).unique()
        assert len(one_by_one) == (11 if n_own else 1)  # `Where is ` and `?`, and one for the city


# --- what is refused


def test_without_a_rule_unequal_lengths_are_refused_as_ever():
    with pytest.raises(AlignmentError, match=r"(?s)got 8 and 6:.*`corrupted_roles`, `align`"):
        tokenize_pairs([unlevel("")])


def test_a_pair_that_does_not_align_is_dropped_and_counted_if_asked():
    bad = unlevel(corrupted_roles={})
    with pytest.raises(AlignmentError, match="between the start and the end"):
        tokenize_pairs([bad])
    pairs = tokenize_pairs([bad, longer()], drop_misaligned=True)
    assert (len(pairs), pairs.n_dropped) == (1, 1)


def test_an_unknown_rule_is_refused():
    with pytest.raises(
        PromptError, match="prompt .*align must be one of last, mean, or empty, got 'pad'"
    ):
        tokenize_pairs([unlevel("pad")])


def test_a_span_outside_the_corrupted_prompt_is_refused():
    with pytest.raises(PromptError, match="role 'A' must lie in the corrupted prompt, of length 6"):
        tokenize_pairs([unlevel(corrupted_roles={"A": (2, 9)})])


def test_an_answer_is_read_where_one_token_stands_for_one():
    for rule, roles in (("mean", {"A": (2, 5)}), ("last", {"A": (2, 5), "inside": (3, 4)})):
        name = "A" if rule == "mean" else "inside"
        with pytest.raises(AlignmentError, match=r"must be read outside of the spans .*\['A'\]"):
            tokenize_pairs([unlevel(rule, roles=roles, answer_after=name)])
    pairs = tokenize_pairs([unlevel(answer_after="A")])
    assert pairs.label_pos.tolist() == [4]
    assert pairs.corrupted_batch.label_pos.tolist() == [4]  # 2 columns of padding, then place 2


# --- the runs


@pytest.mark.parametrize("rule", RULES)
def test_both_runs_are_those_of_the_prompts_alone(toy, rule):
    pairs = tokenize_pairs(both(rule))
    for row, pair in enumerate(both(rule)):
        for batch, tokens in (
            (pairs.clean_batch, pair.clean),
            (pairs.corrupted_batch, pair.corrupted),
        ):
            expected = record(toy, alone(pair, tokens).clean_batch)[1][0]
            torch.testing.assert_close(record(toy, batch)[1][row], expected, **CLOSE)


@pytest.mark.parametrize("rule", RULES)
def test_ablated_senders_write_what_stands_for_them(toy, rule):
    """By hand: z of the prompt alone, its last token or its mean for the span."""
    pairs = tokenize_pairs(both(rule))
    found = ResampleAblation().values(toy, pairs)
    z = record(toy, alone(unlevel(), unlevel().corrupted).clean_batch)[0].z[1][0]
    span = z[2] if rule == "last" else z[2:3].mean(0)
    expected = torch.stack([z[0], z[1], span, span, span, z[3], z[4], z[5]])
    torch.testing.assert_close(found.z[1][0], expected, **CLOSE)
    other = record(toy, alone(longer(), longer().corrupted).clean_batch)[0].z[1][0]
    span = other[2] if rule == "last" else other[1:3].mean(0)
    torch.testing.assert_close(found.z[1][1, 5], span, **CLOSE)


@pytest.mark.parametrize("rule", RULES)
def test_the_empty_circuit_is_the_corrupted_run_and_the_full_one_the_clean(toy, metric, rule):
    pairs = tokenize_pairs(both(rule))
    ends = [Circuit.of_edges(toy.graph, []), Circuit.full(toy.graph)]
    values = evaluate_circuits(toy, pairs, ends, ablation=ResampleAblation(), metric=metric)
    for row, batch in zip(values, (pairs.corrupted_batch, pairs.clean_batch), strict=True):
        expected = metric.values(record(toy, batch)[1], pairs.labels).double()
        torch.testing.assert_close(row, expected, **CLOSE)


class SameValues(Ablation):
    """What resample ablation gives, as values of no run, so that all reads are summed up anew."""

    name = "same values"

    def values(self, model, pairs, behind=None):
        return ResampleAblation().values(model, pairs)


@pytest.mark.parametrize("rule", RULES)
def test_a_head_that_reads_what_stands_for_the_clean_places_attends_to_all_of_them(
    toy, metric, rule
):
    """Its own output is kept: it is not that of the corrupted run, which attends to fewer."""
    pairs = tokenize_pairs(both(rule))
    names = [["a1.h0->logits"], ["a1.h2->m1", "m1->logits"], ["m0->a2.h1<k>", "a2.h1->logits"]]
    circuits = [Circuit.of_edges(toy.graph, each) for each in names]
    found, expected = (
        evaluate_circuits(toy, pairs, circuits, ablation=kind(), metric=metric)
        for kind in (ResampleAblation, SameValues)
    )
    torch.testing.assert_close(found, expected, **CLOSE)
    corrupted = metric.values(record(toy, pairs.corrupted_batch)[1], pairs.labels).double()
    off = (found - corrupted).abs() > 1e-6
    assert off[0].tolist() == [True, True, False]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", [ResampleAblation, MeanAblation])
def test_an_edge_has_the_effect_of_the_circuit_without_it(toy, metric, rule, kind):
    pairs = tokenize_pairs(both(rule))
    ablation = kind() if kind is ResampleAblation else kind(pairs)
    names = toy.graph.edge_names[::5]
    found = measure_edges(toy, pairs, names, metric, ablation=ablation).effects
    full = Circuit.full(toy.graph)
    lacking = [full.with_edges(full.edge_mask & ~toy.graph.mask_of([name])) for name in names]
    values = evaluate_circuits(toy, pairs, [full, *lacking], ablation=ablation, metric=metric)
    torch.testing.assert_close(found, values[0] - values[1:], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("rule", RULES)
def test_a_patch_puts_in_what_stands_for_the_span(toy, metric, rule):
    """By hand: the residual stream of the prompt alone, put into the clean prompt alone."""
    site, pairs = site_named("resid"), tokenize_pairs(both(rule))
    found = patch_activations(toy, pairs, site, at_role(pairs, "A"), metric=metric)
    pair = longer(rule)
    clean, theirs = (alone(pair, tokens) for tokens in (pair.clean, pair.corrupted))
    for layer, place in enumerate(site.places(toy)):
        kept = {}
        toy.run(theirs.clean_batch, {place.point: lambda x, kept=kept: kept.update(x=x)})
        span = kept["x"][:, 2] if rule == "last" else kept["x"][:, 1:3].mean(1)

        def put(x, span=span):
            x = x.clone()
            x[:, 1] = span
            return x

        logits = toy.run(clean.clean_batch, {place.point: put})
        value = metric.values(record(toy, clean.clean_batch)[1], clean.labels)
        expected = value - metric.values(logits, clean.labels)
        torch.testing.assert_close(found.effects[layer, 0, 1], expected[0].double(), **CLOSE)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("score", [eap.score_edges, eap_ig.score_edges])
def test_scores_do_not_depend_on_batches_or_padding(toy, metric, rule, score):
    pairs = [*both(rule), *random_pairs(2)]
    whole = score(toy, tokenize_pairs(pairs), metric).values
    for batch_size, padding in ((1, "left"), (2, "right")):
        other = tokenize_pairs(pairs, padding_side=padding)
        found = score(toy, other, metric, batch_size=batch_size).values
        torch.testing.assert_close(found, whole, rtol=1e-9, atol=1e-11)
    mean = sum(score(toy, tokenize_pairs([pair]), metric).values for pair in pairs) / len(pairs)
    torch.testing.assert_close(mean, whole, rtol=1e-9, atol=1e-11)
    assert whole.abs().max() > 1e-3


def test_integrated_gradients_end_in_what_stands_for_the_clean_input(toy, metric):
    """By hand: the corrupted embeddings at the places of the clean prompt, which it is run as."""
    runs = PairRuns(toy, tokenize_pairs([longer()]), ResampleAblation(), metric)
    [end] = [term for term in IntegrationPath(steps=1).terms()(runs) if term.weight == 1]
    theirs = toy.prepare(alone(longer(), longer().corrupted).clean_batch)[0]
    expected = theirs[:, [0, 2, 3, 4]]
    torch.testing.assert_close(end.run.entering[:, 1:], expected, **CLOSE)
    assert end.run.mask.tolist() == [[False, True, True, True, True]]


def test_means_are_taken_over_what_stands_at_each_clean_place(toy):
    pairs = tokenize_pairs([unlevel(template="t"), unlevel("mean", template="t")])
    values = ResampleAblation().values(toy, pairs)
    found = MeanAblation(pairs).values(toy, pairs)
    torch.testing.assert_close(found.z[1][0], values.z[1].mean(0), **CLOSE)


def test_the_mean_over_tokens_counts_each_corrupted_token_once(toy):
    pairs = tokenize_pairs(both())
    found = TokenMeanAblation(pairs).values(toy, pairs).z[1][0, 0]
    alone_z = [record(toy, alone(p, p.corrupted).clean_batch)[0].z[1][0] for p in both()]
    torch.testing.assert_close(found, torch.cat(alone_z).mean(0), **CLOSE)


def test_noise_needs_no_corrupted_prompt(toy, metric):
    circuits = [Circuit.of_edges(toy.graph, [])]
    noise = NoiseAblation(["A"])
    found = evaluate_circuits(toy, tokenize_pairs(both()), circuits, ablation=noise, metric=metric)
    clean = [PromptPair(p.clean, p.clean, p.answers, p.wrong_answers, p.roles) for p in both()]
    same = evaluate_circuits(toy, tokenize_pairs(clean), circuits, ablation=noise, metric=metric)
    torch.testing.assert_close(found, same, **CLOSE)


def test_all_positions_patched_last_are_the_corrupted_run_and_patched_first_are_not(toy, metric):
    """The clean prompt keeps its length: three tokens read what stands for the span."""
    pairs = tokenize_pairs(both())
    assert (by_role(pairs).masks.any(0) == pairs.mask).all()
    gap, whole = (
        patch_activations(toy, pairs, site_named(site), all_positions(pairs), metric=metric)
        for site in ("resid-post", "resid")
    )
    runs = pairs.clean_batch, pairs.corrupted_batch
    clean, corrupted = (metric.values(record(toy, each)[1], pairs.labels) for each in runs)
    torch.testing.assert_close(gap.effects[-1, 0], (clean - corrupted).double(), **CLOSE)
    off = (whole.effects[0, 0] - gap.effects[-1, 0]).abs()
    assert (off > 1e-6).tolist() == [True, True, False]


def test_what_reads_from_position_to_position_is_refused(toy, metric):
    pairs = tokenize_pairs(both())
    columns = all_positions(pairs)
    with pytest.raises(AlignmentError, match="AtP: clean and corrupted prompts must have equally"):
        atp.score_nodes(toy, pairs, metric)
    with pytest.raises(AlignmentError, match="attention patterns: clean and corrupted prompts"):
        patch_activations(toy, pairs, site_named("pattern"), columns, metric=metric)
    with pytest.raises(AlignmentError, match="directions: clean and corrupted prompts"):
        activations_at(toy, pairs, [], ["A"], None)


def test_denoising_is_refused(toy, metric):
    pairs = tokenize_pairs(both())
    site, back = site_named("resid"), Direction.DENOISING
    with pytest.raises(AlignmentError, match="denoising: clean and corrupted prompts"):
        patch_activations(toy, pairs, site, all_positions(pairs), metric=metric, direction=back)
    with pytest.raises(AlignmentError, match="denoising"):
        measure_edges(toy, pairs, toy.graph.edge_names[:3], metric, direction=back)
    with pytest.raises(AlignmentError, match="denoising"):
        patch_paths(toy, pairs, [], metric, all_positions(pairs), direction=back)
