import importlib.util
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.errors import (
    ActivationError,
    DependencyError,
    GraphError,
    MethodError,
    PromptError,
    VanishingGapError,
)
from circuitkit.interpretation.directions import search
from circuitkit.interpretation.directions.concepts import Concept, concept_of, order_concepts
from circuitkit.interpretation.directions.probes import Examples
from circuitkit.interpretation.directions.search import (
    ENCODED_AND_USED,
    ENCODED_ONLY,
    NEITHER,
    USED_ONLY,
    Asked,
    _common_roles,
    _Place,
    measure_directions,
    says,
    selectivity,
)
from circuitkit.interpretation.directions.search import (
    measured as measured_of,
)
from circuitkit.interpretation.experiment import Experiment
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.interventions.recorded import Direction
from circuitkit.metrics import LogitDifference, LogProbability
from circuitkit.model import hook_points
from circuitkit.model.recording import record
from circuitkit.model.state_dicts import Reading, load_state_dict
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.statistics.shares import share_estimate
from circuitkit.validation.case import Case
from circuitkit.work.progress import silent
from circuitkit.zoo import load_model
from circuitkit.zoo.planted import ioi
from circuitkit.zoo.planted.blueprint import (
    OUT,
    TOKEN,
    Blueprint,
    Copy,
    Head,
    Rule,
    TokenMatch,
    one_hot,
    state_dict,
    width_of_heads,
)
from tests.conftest import fingerprint, random_pairs
from tests.prompts.test_chat import asking, chat_tokenizer

METRIC = LogitDifference()
PLACES = [hook_points.resid_pre(0), hook_points.resid_post(0), hook_points.resid_post(1)]


# a model made by hand: one head carries a flag to two spaces, of which one is read


WORDS = ("start", "yes", "no", "one", "two", "three", "mid", "end", "right", "wrong")
FLAG = torch.zeros(len(WORDS), 1, dtype=torch.float64)
FLAG[1], FLAG[2] = 1.0, -1.0


def directions_of(model, discovery, validation, metric, *, memory=None, progress=silent, **asked):
    experiment = Experiment(model, validation, metric, memory)
    return measure_directions(experiment, discovery, Asked(**asked), progress)


def flagged_model():
    """Return a model that says `right` or `wrong` by a flag at END; at MID nothing reads it.

    The flag's head attends to everything, so that fillers take part in what it moves.
    """
    n = len(WORDS)
    looks = one_hot([6, 6, 7, 7], [1, 2, 1, 2], (n, n), 40.0)
    flag = Head("flag", 0, (TokenMatch(TOKEN, TOKEN, looks),), (Copy(TOKEN, "flag", FLAG),))
    signs = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    out = one_hot([0, 1], [8, 9], (2, n), 3.0)
    decide = Rule("decide", 1, {"flag": signs}, torch.zeros(2).double(), {OUT: out})
    blueprint = Blueprint(
        name="flags",
        task="flags",
        words=WORDS,
        n_pos=5,
        n_layers=2,
        n_heads=1,
        spaces={"flag": 1},
        truth=(),
        mover="flag",
        heads=(flag,),
        rules=(decide,),
    )
    tensors = state_dict(blueprint, {"flag": 0}, width_of_heads(blueprint))
    reading = Reading(act_fn="relu", normalization="none", scale=1.0)
    return load_state_dict(
        tensors, name="flags", reading=reading, dtype=torch.float64, device="cpu"
    )


@pytest.fixture(scope="module")
def flagged():
    return flagged_model()


def flag_pairs(n, seed):
    """Return prompts `yes filler mid filler end` with `no` in the corrupted ones."""
    rng = random.Random(seed)
    pairs = []
    for _ in range(n):
        first, second = rng.choices([3, 4, 5], k=2)
        pairs.append(
            PromptPair(
                [1, first, 6, second, 7],
                [2, first, 6, second, 7],
                [8],
                [9],
                roles={"FLAG": (0, 1), "FILLER": (1, 2), "MID": (2, 3)},
            )
        )
    return tokenize_pairs(pairs)


def test_a_direction_that_carries_all_of_a_behaviour_is_used_and_its_idle_copy_is_not(flagged):
    rows = directions_of(
        flagged, flag_pairs(32, 0), flag_pairs(20, 1), METRIC, roles=["MID", "END"]
    )
    by_place = {(row.place, row.position): row for row in rows}
    end = by_place["resid_post 0", "END"]
    assert end.ablated.value == pytest.approx(0.5, abs=1e-9)  # down to the middle: no flag
    assert end.added.value == pytest.approx(1.0, abs=1e-9)
    assert end.says == ENCODED_AND_USED
    mid = by_place["resid_post 0", "MID"]
    assert mid.accuracy.value == end.accuracy.value == 1
    assert mid.ablated.value == mid.added.value == 0
    assert mid.says == ENCODED_ONLY
    before = by_place["resid_pre 0", "END"]
    assert before.accuracy.value == 0.5
    assert before.cosine == before.ablated.value == before.added.value == 0
    assert before.says == NEITHER
    assert [row.place for row in rows[::2]] == ["resid_pre 0", "resid_post 0", "resid_post 1"]


def test_the_flag_of_the_token_itself_is_used_before_it_is_read_only(flagged):
    rows = directions_of(flagged, flag_pairs(32, 0), flag_pairs(20, 1), METRIC, roles=["FLAG"])
    first, behind, _ = rows
    assert first.says == ENCODED_AND_USED
    assert first.added.value > 0.9
    assert behind.added.value == behind.ablated.value == 0


def test_directions_are_estimated_on_discovery_and_measured_on_validation(flagged):
    point = [hook_points.resid_post(0)]
    half = flag_pairs(32, 0)
    # corrupted prompts of discovery without a flag: the direction has half of its length
    tokens = half.corrupted.clone()
    tokens[:, 0] = 3
    other = replace(half, corrupted=tokens)
    [row] = directions_of(flagged, other, flag_pairs(20, 1), METRIC, roles=["END"], points=point)
    assert row.added.value < 0.9
    [row] = directions_of(
        flagged, half, replace(flag_pairs(20, 1)), METRIC, roles=["END"], points=point
    )
    assert row.accuracy.n == row.ablated.n == row.added.n == 20


def test_a_concept_that_memorised_tokens_explain_is_not_called_encoded(flagged):
    first = concept_of("first filler is `one`", lambda pair: pair.clean[1] == 3)
    [row] = directions_of(
        flagged,
        flag_pairs(48, 0),
        flag_pairs(24, 1),
        METRIC,
        roles=["FILLER"],
        points=[hook_points.resid_pre(0)],
        concept=first,
    )
    assert row.accuracy.value == row.control.value == 1
    assert selectivity(row) == 0
    assert row.says == NEITHER


# pairs whose corrupted prompts are clean prompts of the other answer: the flag is `yes` in half of
# the clean prompts, and it is the flag that says which role comes first


def ordered_pairs(n, seed):
    rng = random.Random(seed)
    pairs = []
    for _ in range(n):
        flag, filler, last = rng.randint(1, 2), *rng.choices([3, 4, 5], k=2)
        clean, corrupted = ([each, filler, 6, last, 7] for each in (flag, 3 - flag))
        places = [(1, 2), (3, 4)] if flag == 1 else [(3, 4), (1, 2)]
        roles = {"A": places[0], "B": places[1], "FLAG": (0, 1), "MID": (2, 3)}
        answers = [8, 9] if flag == 1 else [9, 8]
        pairs.append(PromptPair(clean, corrupted, answers[:1], answers[1:], roles=roles))
    return tokenize_pairs(pairs)


@pytest.fixture(scope="module")
def told(flagged):
    discovery, validation = ordered_pairs(48, 0), ordered_pairs(40, 1)
    circuit, ablation = Circuit.full(flagged.graph), ResampleAblation()
    case = Case(flagged, circuit, METRIC, validation, discovery, {"resample": ablation}, "resample")
    return measured_of(case)


def test_what_is_the_same_of_clean_and_corrupted_prompts_is_not_found_and_the_reason_is_said(told):
    assert told.sentences[0].startswith(
        "Clean or corrupted: neither encoded nor used was shown at any of 15 places"
    )
    assert "corrupted ones that are clean prompts of another answer" in told.sentences[0]


def test_an_order_of_roles_that_decides_is_found_where_it_was_planted(told):
    [table] = told.tables
    assert table.title == "A before B"
    names = [column.name for column in table.columns]
    rows = {row[:2]: dict(zip(names, row, strict=True)) for row in table.rows}
    end = rows["resid_post 0", "END"]
    assert end["says"] == ENCODED_AND_USED
    assert end["ablated"].value == pytest.approx(0.5, abs=1e-2)
    assert end["from tokens"] < 0.7  # one token stands there
    assert ("resid_pre 0", "END") not in rows  # the flag has not arrived
    assert not any(row["says"] == NEITHER for row in rows.values())
    assert told.sentences[1] == (
        f"A before B: encoded or used at {len(rows)} of 9 places, at 1 of which the prompts do not "
        "differ."
    )


def test_an_order_is_asked_about_if_it_varies_and_once():
    pairs = ordered_pairs(40, 0)
    found = order_concepts((pairs, pairs))
    assert list(found) == [("A", "B")]  # A before MID says the same, B before MID the opposite
    is_first = found["A", "B"].labels(pairs)
    assert is_first == [int(pair.clean[0]) == 1 for pair in pairs.pairs]
    assert order_concepts((flag_pairs(20, 0),)) == {}


def test_what_memorised_tokens_explain_is_the_lesser_of_table_and_control(flagged):
    [row] = directions_of(
        flagged, flag_pairs(32, 0), flag_pairs(20, 1), METRIC, roles=["MID"], points=PLACES[:1]
    )
    assert row.by_token == 0.5
    assert replace(row, control=share_estimate(20, 20)).memorised == 0.5
    assert replace(row, by_token=1.0, control=share_estimate(15, 20)).memorised == 0.75
    assert replace(row, by_token=None, control=share_estimate(20, 20)).memorised == 1
    assert not row.differs


@pytest.mark.parametrize("n_first", [1, 4, 39])
def test_trying_a_few_random_directions_first_changes_nothing(flagged, n_first, monkeypatch):
    pairs = ordered_pairs(32, 0), ordered_pairs(20, 1)
    rows = directions_of(flagged, *pairs, METRIC, concept=order_concepts(pairs)["A", "B"])
    monkeypatch.setattr(search, "N_FIRST", n_first)
    assert rows == directions_of(flagged, *pairs, METRIC, concept=order_concepts(pairs)["A", "B"])


# planted IOI: what `duplicate` and `inhibitor` write


def ioi_pairs(model, n, seed):
    rng = random.Random(seed)
    pairs = []
    for _ in range(n):
        first, second, *others = rng.sample(ioi.NAMES, 5)
        subject, other = rng.choice([(first, second), (second, first)])
        clean = f"{first} and {second} spoke {subject} gave to"
        start = clean.index(" spoke ") + len(" spoke ")
        pairs.append(
            PromptPair(
                clean,
                f"{others[0]} and {others[1]} spoke {others[2]} gave to",
                [other],
                [subject],
                roles={
                    "S2": (start, start + len(subject)),
                    "GAVE": (start + len(subject) + 1, start + len(subject) + 5),
                },
            )
        )
    return tokenize_pairs(pairs, model.tokenizer)


@pytest.fixture(scope="module")
def ioi_rows():
    """Return the rows of clean against corrupted for the planted model with decoys."""
    model = load_model("planted-ioi:decoys", dtype=torch.float64)
    rows = directions_of(
        model, ioi_pairs(model, 96, 0), ioi_pairs(model, 64, 1), METRIC, points=PLACES
    )
    return {(row.place, row.position): row for row in rows}


def test_the_mark_of_a_duplicate_is_encoded_and_used(ioi_rows):
    row = ioi_rows["resid_post 0", "S2"]
    assert row.says == ENCODED_AND_USED
    assert row.accuracy.low > 0.9
    assert row.ablated.low > 0.1


def test_what_the_inhibitor_writes_where_no_mover_looks_is_encoded_but_not_used(ioi_rows):
    row = ioi_rows["resid_post 1", "GAVE"]
    assert row.accuracy.low > 0.9
    assert abs(row.ablated.value) < 1e-9
    assert abs(row.added.value) < 1e-9
    assert row.says == ENCODED_ONLY


def test_the_mark_is_no_longer_used_once_it_was_read(ioi_rows):
    assert ioi_rows["resid_post 1", "S2"].says == ENCODED_ONLY


def test_a_direction_that_matters_no_more_than_others_is_not_called_used(ioi_rows):
    row = ioi_rows["resid_pre 0", "S2"]  # names matter here, but not whether they are repeated
    assert row.ablated.low > 0.02
    assert row.accuracy.low < 0.5
    assert row.says == NEITHER


def test_random_directions_are_as_long_as_the_found_one_and_lie_where_examples_vary():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal((20, 3)), np.zeros((20, 2))], 1)
    training = Examples(x, np.arange(20) % 2 == 0, np.zeros(20, dtype=int))
    place = _Place(hook_points.resid_pre(0), "END", training, training)
    change = place.change(Direction.DENOISING)
    drawn = place.random(change, 7, rng).vectors
    torch.testing.assert_close(drawn.norm(dim=1), change.vectors.norm().repeat(7))
    assert not drawn[:, 3:].any()
    assert len({float(row[0]) for row in drawn}) == 7


def test_a_decoys_space_is_encoded_but_not_used():
    model = load_model("planted-ioi:decoys", dtype=torch.float64)
    who = concept_of(
        "the first of two names is early in the list",
        lambda pair: pair.clean.split()[0] in ioi.NAMES[:6],
    )
    rows = directions_of(
        model,
        ioi_pairs(model, 128, 0),
        ioi_pairs(model, 96, 1),
        METRIC,
        roles=["END"],
        points=[hook_points.resid_post(0)],
        concept=who,
    )
    assert rows[0].says == ENCODED_ONLY
    assert abs(rows[0].ablated.value) < 1e-4  # what softmax leaves to places not attended to
    assert abs(rows[0].added.value) < 1e-9


# the definition, literally


def doable(model, n, seed):
    raw = random_pairs(n, seed=seed)
    pairs = tokenize_pairs(raw)
    logits = record(model, pairs.clean_batch)[1]
    change = logits - record(model, pairs.corrupted_batch)[1]
    return [
        replace(p, answers=[int(row.argmax())], wrong_answers=[int(row.argmin())])
        for p, row in zip(raw, change, strict=True)
    ]


@pytest.mark.parametrize(
    "point",
    [hook_points.resid_pre(1), hook_points.mlp_out(0), hook_points.resid_post(2)],
    ids=["resid pre", "mlp out", "last layer"],
)
@pytest.mark.parametrize("role", ["B", "END"])
def test_effects_equal_the_definition_one_pair_at_a_time(toy, point, role):
    discovery, raw = tokenize_pairs(doable(toy, 16, 0)), doable(toy, 18, 1)
    [row] = directions_of(
        toy, discovery, tokenize_pairs(raw), METRIC, roles=[role], points=[point], n_random=1
    )

    def at(pair, tokens):
        single = tokenize_pairs([pair])
        kept = []
        with torch.no_grad():
            toy.run(
                single.clean_batch if tokens == "clean" else single.corrupted_batch,
                {point: lambda x: kept.append(x.clone())},
            )
        return kept[0][0, single.roles[0][role][1] - 1]

    means = {
        side: torch.stack([at(p, side) for p in doable(toy, 16, 0)]).mean(0)
        for side in ("clean", "corrupted")
    }
    d, middle = means["clean"] - means["corrupted"], sum(means.values()) / 2
    u = d / d.norm()
    ablated, added, gaps = [], [], []
    for pair in raw:
        single = tokenize_pairs([pair])
        pos = single.roles[0][role][1] - 1

        def change(x, take_out, pos=pos):
            x = x.clone()
            x[:, pos] += d if not take_out else -((x[:, pos] - middle) @ u)[:, None] * u
            return x

        def value(batch, hooks, labels=single.labels):
            with torch.no_grad():
                return float(METRIC.values(toy.run(batch, hooks), labels))

        clean, corrupted = (value(b, {}) for b in (single.clean_batch, single.corrupted_batch))
        gaps.append(clean - corrupted)
        ablated.append(clean - value(single.clean_batch, {point: lambda x: change(x, True)}))
        added.append(value(single.corrupted_batch, {point: lambda x: change(x, False)}) - corrupted)
    assert row.ablated.value == pytest.approx(np.mean(ablated) / np.mean(gaps), abs=1e-9)
    assert row.added.value == pytest.approx(np.mean(added) / np.mean(gaps), abs=1e-9)
    assert row.ablated.low <= row.ablated.value <= row.ablated.high


def test_results_do_not_depend_on_memory(toy):
    discovery, validation = (tokenize_pairs(doable(toy, 17, seed)) for seed in (0, 1))
    whole, small = (
        directions_of(toy, discovery, validation, METRIC, roles=["B"], n_random=3, memory=memory)
        for memory in (None, 420_000)
    )
    for a, b in zip(whole, small, strict=True):
        assert (a.says, a.accuracy, a.control) == (b.says, b.accuracy, b.control)
        assert a.ablated.value == pytest.approx(b.ablated.value, abs=1e-10)
        assert a.added.value == pytest.approx(b.added.value, abs=1e-10)


def test_the_same_seed_gives_the_same_rows_and_the_model_is_left_as_it_was(toy):
    discovery, validation = (tokenize_pairs(doable(toy, 16, seed)) for seed in (0, 1))
    before, calls = fingerprint(toy), []
    rows = [
        directions_of(
            toy,
            discovery,
            validation,
            METRIC,
            n_random=2,
            progress=lambda done, total: calls.append((done, total)),
        )
        for _ in range(2)
    ]
    assert rows[0] == rows[1]
    assert fingerprint(toy) == before
    assert {row.position for row in rows[0]} == {"A", "B", "END"}
    assert calls[0] == (0, 1000)
    assert calls[-1] == (1000, 1000)
    half = calls[: len(calls) // 2]
    assert half == sorted(half)


def test_what_is_said_follows_from_both_tests():
    assert [says(e, u) for e in (True, False) for u in (True, False)] == [
        "encoded and used",
        "encoded, not shown to be used",
        "used, not linearly encoded",
        "neither shown",
    ]
    assert says(False, True) == USED_ONLY


# bad input


def measured(model, **changes):
    pairs = [tokenize_pairs(random_pairs(16, seed=seed)) for seed in (0, 1)]
    given = {"discovery": pairs[0], "validation": pairs[1], "metric": METRIC} | changes
    return directions_of(model, **given)


@pytest.mark.parametrize("split", ["discovery", "validation"])
def test_few_pairs_are_refused(toy, split):
    with pytest.raises(PromptError, match=f"{split} pairs: must be at least 16, got 15"):
        measured(toy, **{split: tokenize_pairs(random_pairs(15))})


def test_labels_must_be_as_many_as_pairs(toy):
    concept = Concept("short", lambda pairs: [True] * (len(pairs) - 1))
    with pytest.raises(MethodError, match="one label each, got 15 labels of 16 pairs"):
        measured(toy, concept=concept)


@pytest.mark.parametrize("value", [True, False])
def test_labels_must_be_of_both_kinds(toy, value):
    with pytest.raises(MethodError, match=f"of both kinds, got only {value}"):
        measured(toy, concept=concept_of("all", lambda pair: value))


def test_a_missing_role_is_refused(toy):
    with pytest.raises(PromptError, match=r"must have the role 'C', got \['A', 'B', 'END'\]"):
        measured(toy, roles=["A", "C"])


@pytest.mark.parametrize(
    "point",
    [hook_points.resid_post(3), hook_points.resid_pre(-1), hook_points.z(0)],
    ids=["too deep", "negative", "of another width"],
)
def test_a_place_that_is_not_there_is_refused(toy, point):
    with pytest.raises(GraphError, match="hook point must be one of .* of layers 0 to 2"):
        measured(toy, points=[point])


def test_a_gap_that_may_be_zero_is_refused(toy):
    validation = tokenize_pairs(random_pairs(16, seed=1))
    same = replace(validation, corrupted=validation.clean)
    with pytest.raises(VanishingGapError, match="better on clean than on corrupted"):
        measured(toy, validation=same)


def test_missing_labels_of_the_metric_are_refused(toy):
    without = [replace(p, wrong_answers=[]) for p in random_pairs(16)]
    with pytest.raises(PromptError, match="must have a wrong answer"):
        measured(toy, validation=tokenize_pairs(without))
    assert LogProbability().needs_wrong_answers is False


def test_activations_that_are_not_finite_name_the_place(toy_directory):
    model = load_model(toy_directory, dtype=torch.float64)
    pairs = tokenize_pairs(random_pairs(16))
    with torch.no_grad():
        model.bridge.embed.original_component.weight[int(pairs.clean[3, 3])] = float("nan")
    with pytest.raises(ActivationError, match="resid_pre 0"):
        measured(model, roles=["A", "B", "END"])


def test_without_scikit_learn_the_error_says_what_to_install(flagged, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r"directions: .*'circuitkit-mi\[probes\]'"):
        directions_of(flagged, flag_pairs(32, 0), flag_pairs(20, 1), METRIC)


def test_directions_are_searched_at_no_role_of_the_template_itself():
    """They end where the last token does, or where a prefill begins."""
    pairs = tokenize_pairs([asking("Paris", "Turin")], chat_tokenizer("llama-3"))
    assert {"instruction-end", "assistant-prefix"} < pairs.roles[0].keys()
    assert _common_roles({"discovery": pairs}) == ("system", "city", "user", "END")
