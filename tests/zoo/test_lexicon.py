"""The shared words: how many there are, and that each is one token where a task needs it so."""

import pytest
from transformers import AutoTokenizer

from circuitkit.zoo import lexicon
from tests.conftest import SHARED

GPT2_TOKENIZER = SHARED / "tokenizers" / "gpt2"
WORD_LISTS = {
    "NAMES": 66,
    "SURNAMES": 30,
    "PLACES": 20,
    "OBJECTS": 20,
    "SEQUENCE_WORDS": 120,
}


@pytest.fixture(scope="module")
def gpt2_tokenizer():
    if not GPT2_TOKENIZER.is_dir():
        pytest.skip("GPT-2's tokenizer is not here")
    return AutoTokenizer.from_pretrained(GPT2_TOKENIZER)


@pytest.mark.parametrize("list_name", WORD_LISTS)
def test_a_word_list_is_long_enough_and_has_no_duplicates(list_name):
    words = getattr(lexicon, list_name)
    assert len(words) >= WORD_LISTS[list_name]
    assert len(set(words)) == len(words)


def test_no_word_is_in_two_lists():
    words = [word for list_name in WORD_LISTS for word in getattr(lexicon, list_name)]
    words += [word for c in lexicon.COUNTRIES for word in (c.country, c.capital)]
    words += {word for c in lexicon.COUNTRIES for word in (c.language, c.continent)}
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("list_name", WORD_LISTS)
def test_every_word_is_one_gpt2_token_after_a_space(list_name, gpt2_tokenizer):
    for word in getattr(lexicon, list_name):
        assert len(gpt2_tokenizer(f" {word}").input_ids) == 1, word


def test_every_word_of_a_country_is_one_gpt2_token_after_a_space(gpt2_tokenizer):
    for country in lexicon.COUNTRIES:
        for word in (country.country, country.capital, country.language, country.continent):
            assert len(gpt2_tokenizer(f" {word}").input_ids) == 1, word


def test_every_paraphrase_has_one_subject_slot_that_is_not_its_first_word():
    for relation in lexicon.RELATIONS:
        assert len(relation.paraphrases) >= 6
        for paraphrase in relation.paraphrases:
            assert paraphrase.count("{") == paraphrase.count("{subject}") == 1
            assert not paraphrase.startswith("{subject}")
            assert not paraphrase.endswith(" ")


def test_no_two_relations_share_a_paraphrase():
    paraphrases = [text for relation in lexicon.RELATIONS for text in relation.paraphrases]
    assert len(set(paraphrases)) == len(paraphrases)


def test_a_capital_belongs_to_one_country():
    capitals = [country.capital for country in lexicon.COUNTRIES]
    assert len(set(capitals)) == len(capitals)


def test_relation_reads_subject_and_answer_from_the_country():
    france = lexicon.COUNTRIES[0]
    facts = {r.name: (r.subject(france), r.answer(france)) for r in lexicon.RELATIONS}
    assert facts == {
        "capital": ("France", "Paris"),
        "language": ("France", "French"),
        "continent": ("France", "Europe"),
        "country-of-capital": ("Paris", "France"),
    }
