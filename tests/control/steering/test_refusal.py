"""The refusal that is planted by hand: it is found, it alone decides, and controls do nothing."""

import pytest
import torch

import circuitkit as ck
from circuitkit.control.steering.classes import TwoClasses, logits_of, two_classes
from circuitkit.control.steering.effects import (
    Outcome,
    dose_response,
    is_changed,
    kl_divergence,
    log_odds,
    side_effects,
)
from circuitkit.control.steering.found import random_vector, shuffled_vector
from circuitkit.control.steering.refusal import (
    Candidate,
    Refusing,
    layer_limit,
    lowest_bypass,
    select_refusal,
)
from circuitkit.control.steering.uses import ablated, added
from circuitkit.control.steering.weights import Orthogonalised
from circuitkit.errors import AnswerError, MethodError, ModelError, PromptError
from circuitkit.zoo.planted.refusal import (
    IDS,
    REFUSAL,
    planted_direction,
    requests,
    unrelated_prompts,
)

SEEDS = range(20)
REFUSING = Refusing((IDS[REFUSAL],))


def classes(model, n, seed):
    drawn = requests(n, seed)
    true, false = ([r.text for r in drawn if r.is_harmful == side] for side in (True, False))
    return two_classes(true, false, model)


def selected(seed, refusing=REFUSING):
    model = ck.load_model(f"planted-refusal:plain:{seed}")
    training, validation = classes(model, 64, f"{seed} a"), classes(model, 32, f"{seed} b")
    return model, select_refusal(model, training, validation, refusing)


@pytest.fixture(scope="module")
def found():
    return selected(0, Refusing((IDS[REFUSAL],), ends=2))


@pytest.fixture(scope="module")
def test_prompts(found):
    return classes(found[0], 200, "others")


def shares(model, vector, prompts):
    """Return the shares of harmful prompts answered and of harmless answers changed by ablation.

    And that of harmless prompts refused by addition.
    """
    harmful, harmless = prompts.of(True), prompts.of(False)
    without = ablated(model, vector)
    answered = REFUSING.scores(model, harmful, without) < 0
    changed = is_changed(logits_of(model, harmless), logits_of(model, harmless, without))
    refused = REFUSING.scores(model, harmless, added(model, vector, 1.0)) > 0
    return [float(each.double().mean()) for each in (answered, changed, refused)]


def test_the_planted_model_refuses_what_is_harmful_and_answers_all_else():
    model = ck.load_model("planted-refusal")
    prompts = classes(model, 100, "all")
    assert torch.equal(REFUSING.scores(model, prompts) > 0, torch.tensor(prompts.labels))
    numbers = two_classes(unrelated_prompts(20, 0), [], model)
    said = logits_of(model, numbers).argmax(1).tolist()
    assert set(said) == {IDS["odd"], IDS["even"]}
    with pytest.raises(ModelError, match="or planted-refusal, as planted-refusal:plain:1"):
        ck.load_model("planted-refusal:noise")


def test_selection_finds_the_planted_direction_in_19_of_20_seeds():
    cosines = [selected(seed)[1].vector.cosine(planted_direction(seed)) for seed in SEEDS]
    assert sum(cosine >= 0.95 for cosine in cosines) >= 19, sorted(cosines)
    assert min(cosines) > 0.9


def test_only_places_behind_the_reader_and_at_its_token_are_candidates_that_pass(found):
    model, selection = found
    passed = {(each.layer, each.end) for each in selection.candidates if not each.out}
    assert passed == {(2, -1), (3, -1)}
    assert selection.chosen.bypass == min(c.bypass for c in selection.candidates if not c.out)
    assert (selection.vector.point.layer, selection.end) == (selection.chosen.layer, -1)
    assert selection.chosen.bypass < 0 < selection.chosen.induce
    assert selection.chosen.kl < 0.01
    assert all(each.layer < layer_limit(model) == 4 for each in selection.candidates)
    assert selection.n_dropped == 0


def test_the_lowest_bypass_of_those_that_pass_is_chosen():
    tried = [
        Candidate(0, -1, -9.0, -1.0, 0.0, "does not induce"),
        Candidate(1, -1, 2.0, 1.0, 0.0),
        Candidate(2, -1, -3.0, 1.0, 0.0),
        Candidate(3, -1, -1.0, 1.0, 0.0),
    ]
    assert lowest_bypass(tried, REFUSING) == 2


def test_ablation_removes_refusal_and_nothing_else_and_controls_do_neither(found, test_prompts):
    model, selection = found
    answered, changed, refused = shares(model, selection.vector, test_prompts)
    assert answered >= 0.95
    assert changed <= 0.02
    assert refused >= 0.95
    training = classes(model, 64, "0 a")
    shuffled = shuffled_vector(model, training, selection.vector, end=selection.end)
    for control in (*(random_vector(selection.vector, seed) for seed in range(3)), shuffled):
        answered, _, refused = shares(model, control, test_prompts)
        assert answered <= 0.05
        assert refused == 0
    for seed in range(3):
        assert shares(model, random_vector(selection.vector, seed), test_prompts)[1] <= 0.02


def test_unrelated_questions_are_answered_as_before(found):
    model, selection = found
    numbers = two_classes(unrelated_prompts(50, 1), [], model)
    effects = side_effects(model, numbers, ablated(model, selection.vector))
    assert effects.changed.value == 0
    assert effects.kl.value < 0.01
    assert effects.changed.high > 0.05  # 50 prompts do not say more


def test_the_orthogonalised_model_does_not_refuse(found, test_prompts):
    model, selection = found
    changed = Orthogonalised(selection.vector).made(model)
    expected = logits_of(model, test_prompts, ablated(model, selection.vector))
    torch.testing.assert_close(logits_of(changed, test_prompts), expected, rtol=1e-4, atol=1e-4)
    assert bool((REFUSING.scores(changed, test_prompts) < 0).all())


def test_the_response_grows_with_the_dose_for_the_direction_alone(found, test_prompts):
    model, selection = found
    harmless = test_prompts.of(False)
    vectors = {"direction": selection.vector, "random": random_vector(selection.vector)}
    outcome = Outcome("log-odds", harmless, lambda x: log_odds(REFUSING.tokens, x))
    doses = (0.0, 0.5, 0.75, 1.0)
    response = dose_response(model, vectors, doses, outcome)
    values = [each.value for each in response.lines["direction"]]
    assert values[1] == pytest.approx(values[0], abs=0.1)  # below the length from which on it acts
    assert values[1] < values[2] < values[3]
    assert values[0] < 0 < values[-1]
    assert all(each.low <= each.value <= each.high for each in response.lines["direction"])
    base = float(REFUSING.scores(model, harmless).mean())
    assert values[0] == pytest.approx(base)
    flat = [each.value for each in response.lines["random"]]
    assert max(flat) - min(flat) < 1
    last = dose_response(model, vectors, doses, outcome, only_last=True)
    assert last.lines["direction"][-1].value == pytest.approx(values[-1], abs=0.1)
    assert response.chart().x == doses
    with pytest.raises(MethodError, match="must have at least one dose"):
        dose_response(model, vectors, (), outcome)


def test_log_odds_and_kl_are_those_of_their_formulas():
    logits = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, -1.0]]).double()
    p = logits.softmax(1)
    both = p[:, 0] + p[:, 2]
    torch.testing.assert_close(log_odds([0, 2], logits), (both / (1 - both)).log())
    q = 2 * logits.flip(1)  # of which each is no rearrangement of the other
    by_hand = (p * (p / q.softmax(1)).log()).sum(1)
    torch.testing.assert_close(kl_divergence(logits, q), by_hand)
    for tokens in ([], [3], [-1]):
        with pytest.raises(AnswerError, match="tokens must be from 0 to 2, and one or more"):
            log_odds(tokens, logits)


def test_a_layer_beyond_the_limit_and_prompts_of_no_use_are_refused(found):
    model, _ = found
    prompts = classes(model, 40, "few")
    late = Refusing((IDS[REFUSAL],), layers=(2, 4))
    with pytest.raises(MethodError, match="layers must be below 4, 0.8 of the 5 .* got 4"):
        select_refusal(model, prompts, prompts, late)
    early = Refusing((IDS[REFUSAL],), layers=(0, 1))
    with pytest.raises(MethodError, match="must induce refusal .* got none"):
        select_refusal(model, prompts, prompts, early)
    strict = Refusing((IDS[REFUSAL],), max_kl=-1.0, layers=(2,))
    with pytest.raises(MethodError, match="got none .KL above -1"):
        select_refusal(model, prompts, prompts, strict)
    with pytest.raises(PromptError, match="prompts must be of two classes"):
        select_refusal(model, prompts.of(True), prompts, REFUSING)
    other = Refusing((IDS["red"],))
    with pytest.raises(PromptError, match="at least 3 harmful prompts must be refused .* got 0 of"):
        select_refusal(model, prompts, prompts, other)


def test_prompts_that_are_not_treated_as_their_class_says_are_left_out(found):
    model, _ = found
    prompts = classes(model, 40, "few")
    wrong = TwoClasses(prompts.ids, tuple(y or row == 25 for row, y in enumerate(prompts.labels)),
                       prompts.topics)  # fmt: skip
    assert sum(wrong.labels) == sum(prompts.labels) + 1
    selection = select_refusal(model, wrong, prompts, REFUSING)
    assert selection.n_dropped == 1
