"""Pico: its language keeps what it holds out, its weights do what the model card says."""

import csv
import itertools
import json
import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from circuitkit.tasks.factual_recall import FactualRecall
from circuitkit.tasks.induction import Induction
from circuitkit.tasks.ioi import IOI
from circuitkit.zoo import pico
from circuitkit.zoo.lexicon import COUNTRIES, NAMES, RELATIONS
from circuitkit.zoo.pico import grammar, train
from circuitkit.zoo.pico.evaluate import evaluate, top_1_accuracy, untrained_copy
from circuitkit.zoo.pico.language import (
    CENTURIES,
    DOCUMENT_WEIGHTS,
    START_YEARS,
    held_out_paraphrases,
    held_out_year_prompts,
    is_held_out_frame,
    is_held_out_pair,
    is_held_out_start,
    repeated_words,
    training_document,
    training_documents,
)
from circuitkit.zoo.pico.tokenizer import build_tokenizer, vocabulary
from circuitkit.zoo.pico.train import (
    LOG_NAME,
    SEQUENCE_LENGTH,
    build_model,
    learning_rate_share,
    train_pico,
    training_batches,
    training_sequence,
)

WEIGHTS = Path(pico.__file__).parent / "weights"
MAX_WEIGHT_BYTES = 8 * 1024**2


@pytest.fixture(scope="module")
def documents():
    return list(itertools.islice(training_documents(random.Random(0)), 2000))


@pytest.fixture(scope="module")
def shipped_model():
    return AutoModelForCausalLM.from_pretrained(WEIGHTS).eval()


@pytest.fixture(scope="module")
def shipped_tokenizer():
    return AutoTokenizer.from_pretrained(WEIGHTS)


# What training never shows.


def test_held_out_names_never_give_to_each_other(documents):
    giving = [d for d in documents if d.kind in ("ioi", "abc")]
    assert len(giving) > 500
    for document in giving:
        slots = document.slots
        assert not is_held_out_pair(slots["S"], slots["IO"])
        assert not is_held_out_pair(slots["A"], slots["B"])


def test_a_tenth_of_the_name_pairs_is_held_out_whatever_their_order():
    pairs = list(itertools.combinations(NAMES, 2))
    held_out = [pair for pair in pairs if is_held_out_pair(*pair)]
    assert 0.07 < len(held_out) / len(pairs) < 0.13
    assert all(is_held_out_pair(second, first) for first, second in held_out)


def test_what_is_held_out_does_not_change_between_machines():
    with_mary = [name for name in NAMES[1:40] if is_held_out_pair("Mary", name)]
    assert with_mary == ["Paul", "Emma", "David", "Rachel", "Jane", "Michael"]
    assert held_out_paraphrases(RELATIONS[0], "France") == (
        "In {subject}, the capital city is",
        "If you visit {subject}, you should see its capital,",
        "The capital of {subject} is",
    )


def test_held_out_clauses_never_meet_in_a_sentence_of_giving(documents):
    combinations = [
        (clause, giving)
        for clause in grammar.JOINT_CLAUSES
        for giving in grammar.GIVINGS
        if is_held_out_frame(clause, giving)
    ]
    assert len(combinations) == len(grammar.JOINT_CLAUSES) * len(grammar.GIVINGS) / 5
    for document in documents:
        for clause, giving in combinations:
            ends_so = document.frame.endswith(f"{{S}} {giving} {{IO}}.")
            assert not (ends_so and f"{{B}} {clause}" in document.frame)


def test_held_out_paraphrases_never_meet_their_subject(documents):
    text = " ".join(document.text for document in documents)
    for relation in RELATIONS:
        for country in COUNTRIES:
            subject = relation.subject(country)
            for paraphrase in held_out_paraphrases(relation, subject):
                assert paraphrase.format(subject=subject) not in text


def test_every_paraphrase_is_trained_with_some_subjects_and_held_out_for_others():
    for relation in RELATIONS:
        held_out = [held_out_paraphrases(relation, relation.subject(c)) for c in COUNTRIES]
        for paraphrase in relation.paraphrases:
            n_held_out = sum(paraphrase in texts for texts in held_out)
            assert 3 <= n_held_out <= len(COUNTRIES) - 10
        assert {len(texts) for texts in held_out} == {len(relation.paraphrases) // 3}


def test_held_out_years_never_start_a_span(documents):
    spans = [d.slots for d in documents if d.kind == "years"]
    assert len(spans) > 100
    for slots in spans:
        start, end = slots["start"], slots["end"]
        assert not is_held_out_start(int(start[:2]), int(start[2:]))
        assert start[:2] == end[:2]
        assert start < end


def test_a_tenth_of_the_start_years_is_held_out():
    held_out = [is_held_out_start(c, y) for c, y in itertools.product(CENTURIES, START_YEARS)]
    assert 0.07 < sum(held_out) / len(held_out) < 0.13


def test_every_later_year_of_the_century_is_a_right_end():
    for prompt, answers in itertools.islice(held_out_year_prompts(random.Random(0)), 50):
        start, century = [word for word in prompt.split() if word.isdigit()]
        assert start[:2] == century
        assert is_held_out_start(int(century), int(start[2:]))
        assert answers == tuple(f"{year:02d}" for year in range(int(start[2:]) + 1, 100))


# The language.


def test_documents_of_every_kind_occur_and_end_in_a_full_stop_unless_they_repeat(documents):
    assert {document.kind for document in documents} == set(DOCUMENT_WEIGHTS)
    assert all(d.text.endswith(".") for d in documents if d.kind != "repeat")


def test_the_receiver_is_one_of_the_first_two_people(documents):
    for slots in (d.slots for d in documents if d.kind == "ioi"):
        assert {slots["S"], slots["IO"]} == {slots["A"], slots["B"]}
    abc = [d.slots for d in documents if d.kind == "abc"]
    assert all(slots["S"] not in (slots["A"], slots["B"]) for slots in abc)
    share_first = sum(slots["IO"] == slots["A"] for slots in abc) / len(abc)
    assert 0.35 < share_first < 0.65


def test_repeated_words_start_again_after_the_period():
    words = repeated_words(random.Random(0), period=5, length=12)
    assert len(set(words)) == 5
    assert words[5:] == words[:7]


def test_an_unknown_kind_of_document_is_refused():
    with pytest.raises(ValueError, match="'poem'"):
        training_document(random.Random(0), "poem")


# The tokenizer.


def test_the_language_has_no_unknown_word(documents):
    tokenizer = build_tokenizer()
    for document in documents:
        assert tokenizer.unk_token_id not in tokenizer(document.text).input_ids


def test_tokens_are_words_and_decode_to_the_same_text():
    tokenizer = build_tokenizer()
    text = "When Mary and John went to the store, John gave a drink to"
    assert len(tokenizer(text).input_ids) == 14
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_a_word_is_the_same_token_with_and_without_a_space():
    tokenizer = build_tokenizer()
    assert tokenizer(" Mary").input_ids == tokenizer("Mary").input_ids
    assert tokenizer("mary").input_ids == [tokenizer.unk_token_id]


def test_a_year_is_two_tokens_of_two_digits():
    tokenizer = build_tokenizer()
    assert tokenizer.tokenize("from 1741 to 17") == ["from", "17", "41", "to", "17"]


def test_the_shipped_tokenizer_is_that_of_the_language(shipped_tokenizer):
    assert shipped_tokenizer.get_vocab() == vocabulary()
    assert shipped_tokenizer.bos_token == shipped_tokenizer.pad_token == "<|endoftext|>"


# The recipe.


def test_a_sequence_is_the_beginning_token_and_documents_in_full_length():
    tokenizer = build_tokenizer()
    for seed in range(20):
        ids = training_sequence(tokenizer, random.Random(seed))
        assert len(ids) == SEQUENCE_LENGTH
        assert ids[0] == tokenizer.bos_token_id
        assert ids.count(tokenizer.bos_token_id) == 1


def test_learning_rate_rises_then_falls():
    shares = [learning_rate_share(step, 1000) for step in range(1000)]
    assert max(shares) == pytest.approx(1.0)
    assert 0.15 < shares.index(max(shares)) / 1000 < 0.25
    assert shares[0] < 0.01
    assert shares[-1] < 0.03


def test_building_a_model_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    build_model(build_tokenizer(), seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_batches_depend_on_the_seed_alone():
    tokenizer = build_tokenizer()
    first, again, other = (next(training_batches(tokenizer, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_short_training_lowers_the_loss_and_is_reproducible(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "BATCH_SIZE", 8)
    monkeypatch.setattr(train, "LOG_PROMPTS", 5)
    for name in ("first", "again"):
        train_pico(tmp_path / name, seed=5, steps=12, log_every=6, show_progress=False)
    with (tmp_path / "first" / LOG_NAME).open() as log:
        losses = [float(line["loss"]) for line in csv.DictReader(log)]
    assert losses[-1] < losses[0]
    first, again = (
        AutoModelForCausalLM.from_pretrained(tmp_path / name).state_dict()
        for name in ("first", "again")
    )
    assert all(torch.equal(first[key], again[key]) for key in first)


# The shipped weights.


def test_the_shipped_files_are_small_and_complete():
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    files = {path.name: path for path in WEIGHTS.iterdir()}
    assert names | {LOG_NAME} <= set(files)
    assert sum(path.stat().st_size for path in files.values()) <= MAX_WEIGHT_BYTES


def test_the_shipped_model_is_a_small_float32_gpt2(shipped_model):
    config = json.loads((WEIGHTS / "config.json").read_text())
    assert config["architectures"] == ["GPT2LMHeadModel"]
    assert (config["n_layer"], config["n_head"], config["n_embd"]) == (4, 4, 128)
    assert config["n_positions"] == 64
    assert {p.dtype for p in shipped_model.parameters()} == {torch.float32}


def test_pico_is_right_on_prompts_that_training_never_shows(shipped_model, shipped_tokenizer):
    accuracies = evaluate(shipped_model, shipped_tokenizer, n_prompts=300)
    assert accuracies.ioi >= 0.95
    assert accuracies.induction >= 0.95
    assert accuracies.full_name >= 0.95
    assert accuracies.fact >= 0.95
    assert accuracies.years >= 0.95


def test_an_untrained_copy_is_near_chance(shipped_model, shipped_tokenizer):
    before = shipped_model.state_dict()["transformer.wte.weight"].clone()
    accuracies = evaluate(untrained_copy(shipped_model), shipped_tokenizer, n_prompts=300)
    assert max(accuracies.ioi, accuracies.induction, accuracies.full_name, accuracies.fact) < 0.05
    assert torch.equal(shipped_model.state_dict()["transformer.wte.weight"], before)


@pytest.mark.parametrize("task", [IOI(), Induction(), FactualRecall()], ids=lambda task: task.name)
def test_pico_answers_the_clean_prompts_of_the_tasks(task, shipped_model, shipped_tokenizer):
    pairs = itertools.islice(task.pairs(random.Random(2)), 300)
    prompts = [(pair.clean, pair.answers[0].strip()) for pair in pairs]
    assert top_1_accuracy(shipped_model, shipped_tokenizer, prompts) >= 0.95


def test_pico_solves_ioi_of_held_out_names_in_the_frames_of_the_task(
    shipped_model, shipped_tokenizer
):
    pairs = itertools.islice(IOI().pairs(random.Random(3)), 3000)
    prompts = [
        (pair.clean, pair.answers[0].strip())
        for pair in pairs
        if is_held_out_pair(pair.answers[0].strip(), pair.wrong_answers[0].strip())
    ]
    assert len(prompts) > 200
    assert top_1_accuracy(shipped_model, shipped_tokenizer, prompts) >= 0.95


def test_accuracy_counts_the_prompts_whose_first_choice_is_the_answer(
    shipped_model, shipped_tokenizer
):
    prompts = [
        ("The capital of France is", "Paris"),
        ("The capital of Italy is", "Paris"),
        ("Everyone knows that Rome is the capital of", "Italy"),
        ("The capital of Spain is", ("Paris", "Madrid")),
    ]
    assert top_1_accuracy(shipped_model, shipped_tokenizer, prompts) == pytest.approx(3 / 4)
