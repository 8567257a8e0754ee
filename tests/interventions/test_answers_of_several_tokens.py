"""Answers of several tokens against brute force: every token predicted in a run of its own.

A *split* set has one plain pair for each token of each answer: the prompts followed by the answer's
tokens before it, with that token as the only answer. The log-probability of an answer is the sum
over its rows, so every effect of it must be the sum of theirs.
"""

from dataclasses import replace

import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import EdgeScores
from circuitkit.circuits.random_circuits import select_random
from circuitkit.discovery import eap, eap_ig
from circuitkit.errors import PromptError
from circuitkit.gradients.circuit_slopes import edge_slopes
from circuitkit.interventions.ablation import (
    MeanAblation,
    NoiseAblation,
    ResampleAblation,
    TokenMeanAblation,
    ZeroAblation,
)
from circuitkit.interventions.edges import Direction, measure_edges
from circuitkit.interventions.patching import patch_activations
from circuitkit.interventions.path_patching import PatchedPath, patch_paths
from circuitkit.interventions.run_circuit import evaluate_circuits
from circuitkit.interventions.sites import site_named
from circuitkit.interventions.work import Work
from circuitkit.metrics import (
    Accuracy,
    Agreement,
    KLDivergence,
    LogitDifference,
    LogitDifferencePerToken,
    LogProbability,
    Metric,
    ProbabilityDifference,
)
from circuitkit.prompts.columns import all_positions, by_role
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from tests.families import make_family

FAMILIES = ("gpt2", "gpt-neo", "llama-3", "gemma-3", "gpt-j", "llama-4")
ROW = torch.Generator().manual_seed(3)


@pytest.fixture(autouse=True)
def same_prompts():
    """Draw the same prompts whichever tests are run."""
    ROW.manual_seed(3)


def drawn(*shape):
    return torch.randint(1, 37, shape, generator=ROW).tolist()


def pairs_of(n=3, *, equal=False, places=1):
    """Pairs of two lengths; right answers of 3 and 2 tokens, a wrong one of 3 or of 1."""
    found = []
    for row in range(n):
        length = 5 if equal else 5 + row % 2
        clean, other = drawn(length), drawn(length)
        corrupted = [clean[0], *other[1:-1], clean[-1]]
        right = [[10 + row, *drawn(2)], [20 + row, *drawn(1)]]
        wrong = [[30, *drawn(2)]] if equal or row % 2 else [[30 + row]]
        roles = {"A": (1, 3), "B": (2, length)}
        if places == 2:
            right, wrong = [right, [[31, *drawn(1)]]], [wrong, [[32]]]
        found.append(
            PromptPair(clean, corrupted, right, wrong, roles, f"{length}",
                       answer_after=["B", "A"] if places == 2 else "B")
        )  # fmt: skip
    return found


def rows_of(pair):
    """Return (weight, plain pair) for each token of each answer: their sum is the difference."""
    several = not isinstance(pair.answer_after, str)
    names = pair.answer_after if several else [pair.answer_after]
    found = []
    for place, name in enumerate(names):
        end = pair.roles[name][1]
        for sign, field in ((1, pair.answers), (-1, pair.wrong_answers)):
            answers = field[place] if several else field
            for number, answer in enumerate(answers):
                for t, token in enumerate(answer):
                    behind = list(answer[:t])
                    plain = PromptPair(
                        [*pair.clean[:end], *behind],
                        [*pair.corrupted[:end], *behind],
                        [token],
                        template=f"{pair.template} {place} {sign} {number} {t}",
                    )
                    found.append((sign / len(answers) / len(names), plain))
    return found


def split(pairs):
    """Return the plain pairs of all, and what turns values of theirs into values of the pairs."""
    rows = [(n, w, plain) for n, pair in enumerate(pairs) for w, plain in rows_of(pair)]
    matrix = torch.zeros(len(rows), len(pairs), dtype=torch.float64)
    for row, (n, weight, _) in enumerate(rows):
        matrix[row, n] = weight
    return tokenize_pairs([plain for *_, plain in rows]), matrix


@pytest.fixture(params=FAMILIES)
def model(request, tmp_path_factory):
    return make_family(request.param, tmp_path_factory.mktemp("family"))


@pytest.fixture
def gpt2(tmp_path_factory):
    return make_family("gpt2", tmp_path_factory.mktemp("family"))


def some_edges(graph, one_in, seed):
    """Return a random circuit of one edge in so many."""
    scores = EdgeScores(graph, torch.ones(graph.edge_mask.shape, dtype=torch.float64))
    return select_random(scores, graph.n_edges // one_in, seed=seed)


def close(found, known):
    scale = float(known.abs().max())
    assert scale > 0
    torch.testing.assert_close(found, known, atol=1e-9 * scale, rtol=0)


@pytest.mark.parametrize("places", [1, 2])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_log_probability_is_that_of_a_run_for_each_token(model, places, side):
    pairs = pairs_of(places=places)
    plain, matrix = split(pairs)
    several = tokenize_pairs(pairs, padding_side=side)
    for batch, one in (("clean_batch", "clean_batch"), ("corrupted_batch", "corrupted_batch")):
        found = LogitDifference().values(model.run(getattr(several, batch)), several.labels)
        each = LogProbability().values(model.run(getattr(plain, one)), plain.labels)
        close(found.detach(), (each.double() @ matrix).detach())


def test_a_log_probability_is_that_of_the_models_own_code(gpt2):
    """One prompt with its answer behind it, through Hugging Face's code, token by token."""
    [pair] = pairs_of(1)
    several = tokenize_pairs([pair])
    found = LogProbability().values(gpt2.run(several.clean_batch), several.labels)
    sums = []
    for answer in pair.answers:
        ids = torch.tensor([[*pair.clean, *answer]])
        with torch.no_grad():
            log_p = gpt2.bridge.original_model(ids).logits[0].double().log_softmax(-1)
        start = len(pair.clean) - 1
        sums.append(sum(log_p[start + t, token] for t, token in enumerate(answer)))
    close(found.detach(), torch.stack(sums).logsumexp(0)[None])


@pytest.mark.parametrize("places", [1, 2])
def test_effects_of_all_edges_are_sums_of_those_of_a_run_for_each_token(model, places):
    pairs = pairs_of(places=places)
    plain, matrix = split(pairs)
    edges = model.graph.edge_names
    for direction in Direction:
        found = measure_edges(
            model, tokenize_pairs(pairs), edges, LogitDifference(), direction=direction
        )
        each = measure_edges(model, plain, edges, LogProbability(), direction=direction)
        close(found.effects, each.effects @ matrix)
        close(found.gap, each.gap @ matrix)


def test_edge_scores_are_sums_of_those_of_a_run_for_each_token(model):
    pairs = pairs_of()
    plain, matrix = split(pairs)
    several = tokenize_pairs(pairs)
    for score in (eap.score_edges, eap_ig.score_edges):
        found = score(model, several, LogitDifference()).values
        rows = [score(model, plain.select([n]), LogProbability()).values for n in range(len(plain))]
        each = sum(w * row for w, row in zip(matrix.sum(1), rows, strict=True)) / len(pairs)
        close(found, each)


def test_scores_and_effects_do_not_depend_on_the_batch(model):
    several = tokenize_pairs(pairs_of(4))
    alone = [
        eap.score_edges(model, several.select([n]), LogitDifference()).values for n in range(4)
    ]
    whole = eap.score_edges(model, several, LogitDifference()).values
    close(torch.stack(alone).mean(0), whole)
    close(eap.score_edges(model, several, LogitDifference(), batch_size=3).values, whole)


def test_rows_whose_labels_fill_all_positions_in_another_order_are_scored_alike(model):
    """One prompt ends before its answer's tokens, the other where those of the first end."""
    both = [
        PromptPair([1, 2, 3, 4], [1, 2, 3, 5], [[6, 7, 8]], [[9]]),
        PromptPair([1, 2, 3, 4, 5, 6], [1, 2, 3, 7, 8, 9], [[6]], [[9]]),
    ]
    several = tokenize_pairs(both)
    assert several.clean_batch.labelled.tolist() == [[3, 4, 5], [5, 4, 3]]
    whole = eap.score_edges(model, several, LogitDifference()).values
    alone = [eap.score_edges(model, tokenize_pairs([one]), LogitDifference()) for one in both]
    close(whole, (alone[0].values + alone[1].values) / 2)


def test_rows_of_one_length_have_positions_of_their_own(model):
    both = [
        PromptPair([1, 2, 3, 4], [1, 2, 3, 5], [[6, 7, 8]]),
        PromptPair([4, 2, 3, 1], [1, 2, 3, 5], [[6, 7], [8, 9]]),
    ]
    several = tokenize_pairs(both)
    assert bool(several.mask.all())
    whole = LogProbability().values(model.run(several.clean_batch), several.labels)
    alone = [tokenize_pairs([one]) for one in both]
    each = [LogProbability().values(model.run(one.clean_batch), one.labels) for one in alone]
    close(whole.detach(), torch.cat(each).detach())


def test_circuits_under_every_ablation_are_those_of_a_run_for_each_token(model):
    pairs, reference = pairs_of(equal=True), pairs_of(6, equal=True)
    plain, matrix = split(pairs)
    plain_reference, _ = split(reference)
    several = tokenize_pairs(pairs)
    circuits = [
        Circuit.empty(model.graph),
        Circuit.full(model.graph),
        *(some_edges(model.graph, 3, seed) for seed in range(3)),
    ]
    both = {
        "resample": (ResampleAblation(), ResampleAblation()),
        "zero": (ZeroAblation(), ZeroAblation()),
        "mean": (MeanAblation(tokenize_pairs(reference)), MeanAblation(plain_reference)),
    }
    for own, other in both.values():
        found = evaluate_circuits(model, several, circuits, ablation=own, metric=LogitDifference())
        each = evaluate_circuits(model, plain, circuits, ablation=other, metric=LogProbability())
        close(found, each @ matrix)


def test_slopes_of_a_circuits_edges_are_those_of_a_run_for_each_token(gpt2):
    pairs = pairs_of()
    plain, matrix = split(pairs)
    circuit = some_edges(gpt2.graph, 2, 0)
    work = Work(ResampleAblation())
    [found] = edge_slopes(gpt2, tokenize_pairs(pairs), [circuit], LogitDifference(), work)
    rows = [
        edge_slopes(gpt2, plain.select([n]), [circuit], LogProbability(), work)[0]
        for n in range(len(plain))
    ]
    each = sum(w * row for w, row in zip(matrix.sum(1), rows, strict=True)) / len(pairs)
    close(torch.as_tensor(found), torch.as_tensor(each))


@pytest.mark.parametrize("site", ["resid", "heads", "q", "mlp"])
def test_patching_is_that_of_a_run_for_each_token(model, site):
    pairs = pairs_of()
    plain, matrix = split(pairs)
    several = tokenize_pairs(pairs)
    metric = LogitDifference(), LogProbability()
    found, each = (
        patch_activations(model, some, site_named(site), all_positions(some), metric=by)
        for some, by in zip((several, plain), metric, strict=True)
    )
    close(found.effects, each.effects @ matrix)


def test_paths_are_patched_as_in_a_run_for_each_token(model):
    pairs = pairs_of()
    plain, matrix = split(pairs)
    paths = [
        PatchedPath(("a0.h1",), ("a1.h2",)),
        PatchedPath(("a0.h0", "m0"), ("logits",)),
        PatchedPath(("input",), ("m1",)),
    ]
    found, each = (
        patch_paths(model, some, paths, by, all_positions(some))
        for some, by in ((tokenize_pairs(pairs), LogitDifference()), (plain, LogProbability()))
    )
    close(found.effects, each.effects @ matrix)


def test_roles_and_the_answers_behind_prompts_share_out_all_positions(gpt2):
    several = tokenize_pairs(pairs_of())
    columns = by_role(several)
    assert columns.names == ("A", "B", "END", "ANSWERS", "rest")
    assert bool((columns.masks[3] == (several.branches.number > 0)).all())
    assert not columns.masks[-1][:, :1].any() or several.mask[:, 0].any()


def test_means_behind_a_prompt_are_those_of_answers_that_are_long_enough(gpt2):
    reference = [
        PromptPair([1, 2], [3, n], [[4, n, 5], [6]], template="t") if n % 2 else
        PromptPair([1, 2], [3, n], [[4, n], [6]], template="t")
        for n in range(10, 16)
    ]  # fmt: skip
    ablation = MeanAblation(tokenize_pairs(reference))
    pairs = tokenize_pairs([PromptPair([1, 2], [3, 9], [[4, 7, 8], [6]], template="t")])
    found = ablation.values(gpt2, pairs)
    whole = [
        TokenMeanAblation(tokenize_pairs([pair])).values(gpt2, tokenize_pairs([pair]))
        for pair in reference
    ]
    assert found.input.shape[1] == 4
    embed = gpt2.token_embeddings.double()
    position = gpt2.bridge.original_model.transformer.wpe.weight.detach()
    known = torch.stack([embed[n] for n in range(10, 16) if n % 2]).mean(0) + position[3]
    close(found.input[0, 3], known)
    close(found.input[0, 2], embed[4] + position[2])
    assert len(whole) == 6


def test_an_answer_longer_than_any_of_the_reference_is_refused(gpt2):
    ablation = MeanAblation(tokenize_pairs([PromptPair([1, 2], [3, 4], [[5, 6]], template="t")]))
    pairs = tokenize_pairs([PromptPair([1, 2], [3, 4], [[5, 6, 7]], template="t")])
    with pytest.raises(PromptError, match="got none of 3 tokens for answer 1"):
        ablation.values(gpt2, pairs)


def test_prompts_alone_get_the_means_of_their_own_tokens(gpt2):
    ablation = MeanAblation(tokenize_pairs(pairs_of(6, equal=True)))
    several = tokenize_pairs(pairs_of(equal=True))
    whole, alone = (ablation.values(gpt2, some) for some in (several, several.prompts_alone()))
    torch.testing.assert_close(alone.z[1], whole.z[1][:, :5])


def test_the_noise_of_a_prompt_does_not_depend_on_the_answers_behind_it(gpt2):
    [pair] = pairs_of(1)
    others = replace(pair, answers=[[5, 6, 7, 8]])
    blurred = [
        NoiseAblation(["A", "ANSWERS"]).run(gpt2, tokenize_pairs([each])).entering[0]
        for each in (pair, others)
    ]
    torch.testing.assert_close(*(x[:5] for x in blurred), rtol=0, atol=0)
    clean = gpt2.prepare(tokenize_pairs([pair]).clean_batch)[0][0]
    changed = (blurred[0] - clean).abs().amax(-1) > 1e-6
    assert changed.tolist() == [False, True, True, False, False, *[True] * (len(changed) - 5)]


@pytest.mark.parametrize("name", ["native-bidirectional", "qwen3-next", "llama-4"])
def test_answers_of_one_token_at_several_places_are_those_of_a_run_for_each(name, tmp_path):
    model = make_family(name, tmp_path)
    pairs = []
    for row in range(3):
        length = 5 + row % 2
        clean, other = drawn(length), drawn(length)
        roles = {"A": (1, 3), "B": (2, length)}
        answers, wrong = [[10 + row, 4], [20]], [[30], [31, 6]]
        corrupted = [clean[0], *other[1:]]
        several = PromptPair(clean, corrupted, answers, wrong, roles, answer_after=["B", "A"])
        pairs.append(several)
    alone = [
        tokenize_pairs(
            [
                replace(p, answers=p.answers[n], wrong_answers=p.wrong_answers[n], answer_after=at)
                for p in pairs
            ]
        )
        for n, at in enumerate("BA")
    ]
    together = tokenize_pairs(pairs)

    def probabilities(some):
        return ProbabilityDifference().values(model.run(some.clean_batch), some.labels).detach()

    close(probabilities(together), sum(map(probabilities, alone)) / 2)
    found, *each = (effects_of(model, some) for some in (together, *alone))
    close(found, sum(each) / 2)


def effects_of(model, pairs):
    names = model.graph.edge_names[::7]
    return measure_edges(model, pairs, names, ProbabilityDifference()).effects


def test_bidirectional_models_refuse_answers_of_several_tokens(tmp_path):
    model = make_family("native-bidirectional", tmp_path)
    with pytest.raises(PromptError, match="Its tokens see later ones"):
        model.run(tokenize_pairs(pairs_of(1)).clean_batch)


def test_answers_that_reach_beyond_the_context_are_refused(gpt2):
    pairs = tokenize_pairs([PromptPair(drawn(15), drawn(15), [[5, 6, 7]])])
    with pytest.raises(PromptError, match="at most 16 tokens.*got 17"):
        gpt2.run(pairs.clean_batch)
    fits = tokenize_pairs([PromptPair(drawn(14), drawn(14), [[5, 6, 7], [8, 9, 10]])])
    assert gpt2.run(fits.clean_batch).shape == (1, 5, 37)


def test_every_metric_is_made_of_the_log_probabilities_of_whole_answers(gpt2):
    pairs = pairs_of()
    several = tokenize_pairs(pairs)
    logits = gpt2.run(several.clean_batch).detach()
    other = gpt2.run(several.corrupted_batch).detach()
    labels = several.with_clean_logits(other).labels
    difference, per_token, probability, kl, summed = [], [], [], [], []
    for row, pair in enumerate(pairs):
        one = tokenize_pairs([pair])
        log_p = gpt2.run(one.clean_batch).detach()[0].log_softmax(-1)
        spelled = one.labels.spelled
        right, wrong = (
            [
                (float(sum(log_p[at, t] for t, at in zip(ids, labels_, strict=True) if t >= 0)),
                 sum(t >= 0 for t in ids))
                for ids, labels_, is_wrong in zip(
                    spelled.ids[0].tolist(), spelled.labels[0].tolist(),
                    spelled.is_wrong[0].tolist(), strict=True,
                )
                if is_wrong == kind
            ]
            for kind in (False, True)
        )  # fmt: skip
        mean = lambda values: sum(values) / len(values)  # noqa: E731
        difference.append(mean([p for p, _ in right]) - mean([p for p, _ in wrong]))
        per_token.append(mean([p / n for p, n in right]) - mean([p / n for p, n in wrong]))
        exp = lambda values: sum(float(torch.tensor(p).exp()) for p, _ in values)  # noqa: E731
        probability.append(exp(right) - exp(wrong))
        summed.append(float(torch.tensor([p for p, _ in right]).logsumexp(0)))
        mine, theirs = (x[row].log_softmax(-1) for x in (logits, other))
        read = {at for n, labels_ in enumerate(spelled.labels[0].tolist())
                for t, at in enumerate(labels_)
                if spelled.ids[0, n, t] >= 0 and not spelled.is_wrong[0, n]}  # fmt: skip
        kl.append(sum(float((theirs[at].exp() * (theirs[at] - mine[at])).sum()) for at in read))
    for metric, known in (
        (LogitDifference(), difference),
        (LogitDifferencePerToken(), per_token),
        (ProbabilityDifference(), probability),
        (LogProbability(), summed),
        (KLDivergence(), kl),
    ):
        found = metric.values(logits, labels)
        torch.testing.assert_close(found, torch.tensor(known).double(), atol=1e-6, rtol=1e-6)


def test_an_answer_is_given_if_each_of_its_tokens_is_the_most_likely(gpt2):
    clean, answer = drawn(5), []
    for _ in range(3):  # what greedy decoding gives
        ids = torch.tensor([[*clean, *answer]])
        with torch.no_grad():
            answer.append(int(gpt2.bridge.original_model(ids).logits[0, -1].argmax()))
    other = [*answer[:2], (answer[2] + 1) % 37]
    given = [[answer], [other], [[(answer[0] + 1) % 37, 5]], [other, answer]]
    pairs = tokenize_pairs([PromptPair(clean, clean, answers) for answers in given])
    logits = gpt2.run(pairs.clean_batch).detach()
    assert Accuracy().values(logits, pairs.labels).tolist() == [1, 0, 0, 1]
    labels = pairs.with_clean_logits(logits).labels
    assert Agreement().values(logits, labels).tolist() == [1, 1, 1, 1]
    moved = logits.clone()
    moved[:, 2] = -moved[:, 2]  # what predicts the third token of the first answer
    changed = Agreement().values(moved, labels).tolist()
    assert (changed[0], changed[1], changed[2]) == (0, 0, 1)


class Best(Metric):
    """How likely the best token is at the labelled position."""

    name, unit = "best", "nats"

    def values(self, logits, labels):
        return logits.log_softmax(-1).max(-1).values


class Confidence(Metric):
    """How much more likely the best token is at the second place than at the first."""

    name, unit = "confidence", "nats"

    def values(self, logits, labels):
        best = logits.log_softmax(-1).max(-1).values
        return best[:, 1] - best[:, 0]


def test_a_metric_may_be_any_function_of_the_logits_at_several_places(gpt2):
    roles = {"FIRST": (1, 2), "SECOND": (3, 5)}
    pairs = [(drawn(5), drawn(5)) for _ in range(3)]
    both = tokenize_pairs(
        [PromptPair(c, d, [[1], [1]], roles=roles, answer_after=["FIRST", "SECOND"])
         for c, d in pairs]
    )  # fmt: skip
    found = measure_edges(gpt2, both, gpt2.graph.edge_names, Confidence()).effects
    each = []
    for name in roles:
        at = [PromptPair(c, d, [1], roles=roles, answer_after=name) for c, d in pairs]
        edges = gpt2.graph.edge_names
        each.append(measure_edges(gpt2, tokenize_pairs(at), edges, Best()).effects)
    close(found, each[1] - each[0])


def test_a_place_without_wrong_answers_is_refused_where_they_are_needed():
    roles = {"A": (0, 1), "B": (1, 2)}
    both = PromptPair([1, 2], [3, 4], [[5], [6]], [[7], []], roles, answer_after=["A", "B"])
    labels = tokenize_pairs([both]).labels
    with pytest.raises(PromptError, match="every pair must have a wrong answer"):
        LogitDifference().check(labels)
    LogProbability().check(labels)
