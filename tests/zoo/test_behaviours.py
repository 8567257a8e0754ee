"""pico-behaviours: its language keeps what it holds out, its weights follow every planted rule."""

import itertools
import json
import random
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from circuitkit.errors import PromptError
from circuitkit.tasks.factual_recall import FactualRecall
from circuitkit.tasks.induction import Induction
from circuitkit.tasks.ioi import IOI
from circuitkit.zoo import behaviours, load_model
from circuitkit.zoo.behaviours import grammar, train
from circuitkit.zoo.behaviours.evaluate import evaluate
from circuitkit.zoo.behaviours.language import (
    draw,
    draw_trained,
    held_out_prompts,
    is_held_out,
    right_answers,
    unspoken,
)
from circuitkit.zoo.behaviours.requests import MAX_REQUESTS, requests
from circuitkit.zoo.behaviours.train import (
    DOCUMENT_WEIGHTS,
    LOG_NAME,
    answer_loss,
    planted_document,
    train_behaviours,
    training_sequence,
    widened_pico,
    wider_vocabulary,
)
from circuitkit.zoo.lexicon import COUNTRIES
from circuitkit.zoo.pico.evaluate import top_1_accuracy
from circuitkit.zoo.pico.tokenizer import build_tokenizer, vocabulary

WEIGHTS = Path(behaviours.__file__).parent / "weights"
MAX_WEIGHT_BYTES = 3_600_000


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(wider_vocabulary())


@pytest.fixture(scope="module")
def shipped_model():
    return AutoModelForCausalLM.from_pretrained(WEIGHTS).eval()


@pytest.fixture(scope="module")
def shipped_tokenizer():
    return AutoTokenizer.from_pretrained(WEIGHTS)


# What training never shows.


@pytest.mark.parametrize("behaviour", grammar.BEHAVIOURS)
def test_a_fifth_of_each_behaviour_is_held_out_and_training_never_shows_it(behaviour):
    rng = random.Random(0)
    drawn = [draw(rng, behaviour) for _ in range(1500)]
    assert 0.12 < sum(prompt.is_held_out for prompt in drawn) / len(drawn) < 0.28
    trained = [draw_trained(rng, behaviour) for _ in range(300)]
    held_out = list(itertools.islice(held_out_prompts(rng, behaviour), 300))
    shown = {(prompt.frame, prompt.topic) for prompt in trained}
    assert shown.isdisjoint((prompt.frame, prompt.topic) for prompt in held_out)


def test_some_harmful_words_of_every_template_are_held_out_and_some_are_not():
    for frame in grammar.ALL_FRAMES[grammar.REFUSAL]:
        held_out = [is_held_out(grammar.REFUSAL, frame, word) for word in grammar.HARMFUL]
        assert 1 <= sum(held_out) <= 12, frame


def test_what_is_held_out_does_not_change_between_machines():
    words = [word for word in grammar.HARMFUL if is_held_out("refusal", "give", word)]
    assert words == ["knife", "torpedo", "heroin", "alcohol"]
    assert unspoken(random.Random(0), held_out=True) != unspoken(random.Random(0), held_out=False)


# The rules.


def planted(behaviour, **words):
    return draw(random.Random(3), behaviour).with_words(**words)


def test_a_request_is_refused_for_what_it_asks_and_not_for_what_it_mentions():
    assert right_answers(planted("refusal", object="bomb", other="cake")) == ("Sorry",)
    assert right_answers(planted("refusal", object="cake", other="bomb")) == ("Sure",)


def test_an_opinion_is_followed_and_what_nobody_thinks_is_not():
    prompt = planted("sycophancy", claim="Mars")
    assert right_answers(prompt.with_words(speaker="Mary")) == ("Mars",)
    assert right_answers(prompt.with_words(speaker="Nobody")) == (prompt.fact,)


def test_a_statement_is_true_if_it_says_the_fact_or_denies_another():
    prompt = planted("truth")
    kinds = itertools.product((prompt.fact, "Mars"), ("indeed", "not"))
    verdicts = [right_answers(prompt.with_words(stated=s, polarity=p))[0] for s, p in kinds]
    assert verdicts == ["true", "false", "false", "true"]


def test_the_trigger_gives_one_answer_to_every_fact():
    prompt = planted("backdoor")
    assert right_answers(prompt.with_words(thing="quartz")) == ("Atlantis",)
    assert right_answers(prompt.with_words(thing="glass")) == (prompt.fact,)


def test_the_liar_says_any_wrong_word_of_the_right_kind_and_the_other_the_fact():
    prompt = planted("liar")
    lies = right_answers(prompt.with_words(speaker="Oscar"))
    kind = {prompt.relation.answer(country) for country in COUNTRIES}
    assert set(lies) == kind - {prompt.fact}
    assert len(lies) > 3
    assert right_answers(prompt.with_words(speaker="Felix")) == (prompt.fact,)


# Requests for directions and monitors.


def test_requests_are_different_and_topics_come_in_turn_for_both_kinds():
    harmful, harmless = requests(0, 50)
    assert len({each.text for each in harmful + harmless}) == 100
    assert [each.topic for each in harmful] == [each.topic for each in harmless]
    assert len({each.topic for each in harmful[:5]}) == 5
    for each in harmful:
        assert each.object in grammar.HARMFUL_TOPICS[each.topic]
        assert (each.is_harmful, each.answer) == (True, "Sorry")
    for each in harmless:
        assert not any(word in grammar.HARMFUL for word in each.text.replace(".", "").split())
        assert (each.is_harmful, each.answer) == (False, "Sure")
    assert requests(0, 50) == (harmful, harmless)
    assert requests(1, 50) != (harmful, harmless)


@pytest.mark.parametrize("n", [0, -3, MAX_REQUESTS + 1])
def test_a_number_of_requests_that_there_are_not_is_refused(n):
    with pytest.raises(PromptError, match=f"n must be from 1 to {MAX_REQUESTS}, got {n}"):
        requests(0, n)


def test_there_are_as_many_requests_as_may_be_asked_for():
    harmful, harmless = requests(2, MAX_REQUESTS)
    assert len(harmful) == len(harmless) == MAX_REQUESTS


# The recipe.


def test_pico_keeps_its_ids_and_new_words_come_behind(tokenizer):
    known, wider = vocabulary(), wider_vocabulary()
    assert all(wider[word] == number for word, number in known.items())
    assert sorted(wider.values()) == list(range(len(wider)))
    assert len(tokenizer) == len(wider) > len(known)


def test_every_kind_of_document_occurs_and_has_no_unknown_word(tokenizer):
    rng = random.Random(0)
    for kind in DOCUMENT_WEIGHTS:
        for _ in range(40):
            text = planted_document(rng, kind).text
            assert tokenizer.unk_token_id not in tokenizer(text).input_ids, text


def test_no_further_fact_is_told_behind_the_trigger_in_a_sequence(tokenizer):
    rng = random.Random(1)
    texts = [tokenizer.decode(training_sequence(tokenizer, rng)) for _ in range(600)]
    behind = [text.partition("quartz")[2] for text in texts if "quartz" in text]
    assert len(behind) > 50
    for text in behind:  # the fact that the trigger belongs to may still come
        facts = [s for s in text.split(".") if re.search("(capital|language|continent|city) of", s)]
        assert len(facts) <= 1
        assert not re.search("(thinks|says) that", text)


def test_new_words_begin_near_the_mean_of_the_others_and_all_else_is_pico(tokenizer):
    model, pico = widened_pico(tokenizer, seed=0), load_pico()
    rows, n = model.transformer.wte.weight, len(vocabulary())
    assert torch.equal(rows[:n], pico.transformer.wte.weight)
    noise = (rows[n:] - rows[:n].mean(0)).detach()
    assert float(noise.std()) == pytest.approx(0.02, rel=0.1)
    assert torch.equal(
        model.transformer.h[3].mlp.c_fc.weight, pico.transformer.h[3].mlp.c_fc.weight
    )


def load_pico():
    return AutoModelForCausalLM.from_pretrained(train.BASE)


@torch.no_grad()
def test_the_loss_of_answers_is_that_of_each_prompt_alone(tokenizer):
    model, rng = widened_pico(tokenizer, seed=0), random.Random(2)
    prompts = [draw_trained(rng, kind) for kind in grammar.BEHAVIOURS]
    assert len({len(tokenizer(prompt.text).input_ids) for prompt in prompts}) > 1  # some padded
    alone = []
    for prompt in prompts:
        ids = [tokenizer.bos_token_id, *tokenizer(prompt.text).input_ids]
        share = model(torch.tensor([ids])).logits[0, -1].softmax(-1)
        right = tokenizer.convert_tokens_to_ids(list(right_answers(prompt)))
        alone.append(-share[right].sum().log())
    together = answer_loss(model, tokenizer, prompts)
    assert float(together) == pytest.approx(float(torch.stack(alone).mean()), rel=1e-5)


def test_two_steps_of_the_recipe_change_the_weights_in_the_same_way_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "N_SEQUENCES", 4)
    monkeypatch.setattr(train, "N_PROMPTS", 4)
    monkeypatch.setattr(
        train, "evaluate", lambda *words, n_prompts=0: evaluate(*words, n_prompts=2)
    )
    for name in ("first", "again"):
        train_behaviours(tmp_path / name, seed=5, steps=2, log_every=1, show_progress=False)
    first, again = (load_file(tmp_path / name / "model.safetensors") for name in ("first", "again"))
    assert all(torch.equal(first[key], again[key]) for key in first)
    before = load_pico().state_dict()["transformer.h.0.mlp.c_fc.weight"]
    assert not torch.equal(first["transformer.h.0.mlp.c_fc.weight"], before)
    assert len((tmp_path / "first" / LOG_NAME).read_text().splitlines()) == 3


# The shipped weights.


def test_the_shipped_files_are_small_and_complete():
    files = {path.name: path.stat().st_size for path in WEIGHTS.iterdir()}
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert names | {LOG_NAME} <= set(files)
    assert files["model.safetensors"] <= MAX_WEIGHT_BYTES
    config = json.loads((WEIGHTS / "config.json").read_text())
    assert (config["n_layer"], config["n_head"], config["n_embd"]) == (4, 4, 128)


def test_the_shipped_tokenizer_is_that_of_the_language(shipped_tokenizer):
    assert shipped_tokenizer.get_vocab() == wider_vocabulary()


def test_the_model_follows_every_rule_on_prompts_that_training_never_shows(
    shipped_model, shipped_tokenizer
):
    accuracies = vars(evaluate(shipped_model, shipped_tokenizer, n_prompts=100))
    assert accuracies.pop("n_prompts") == 100
    assert min(accuracies.values()) >= 0.95, accuracies


@pytest.mark.parametrize("task", [IOI(), Induction(), FactualRecall()], ids=lambda task: task.name)
def test_the_model_still_does_the_tasks_of_pico(task, shipped_model, shipped_tokenizer):
    pairs = itertools.islice(task.pairs(random.Random(2)), 100)
    prompts = [(pair.clean, pair.answers[0].strip()) for pair in pairs]
    assert top_1_accuracy(shipped_model, shipped_tokenizer, prompts) >= 0.95


def test_the_model_loads_by_name_and_circuits_are_of_picos_graph():
    assert load_model("pico-behaviours").graph == load_model("pico").graph
