from copy import copy
from dataclasses import replace

import pytest

from circuitkit.zoo import load_model


@pytest.fixture(scope="module")
def pico():
    return load_model("pico")


def test_the_tokens_of_a_prompt_keep_their_spaces(pico):
    text = "Then Mary and John went. Mary gave"
    ids = pico.tokenizer(text)["input_ids"]
    texts = pico.token_texts(ids)
    assert len(texts) == len(ids)
    assert "".join(texts) == pico.text_of(ids)
    assert " Mary" in texts
    assert pico.text_of([ids[1]]) == "Mary"  # decoded alone it has lost its space


def test_without_a_tokenizer_tokens_are_their_ids(pico):
    bare = replace(pico, tokenizer=None)
    assert bare.token_texts([3, 5]) == ("[3]", "[5]")
    assert bare.text_of([3, 5]) == "[3, 5]"


def test_a_decoder_that_rewrites_what_came_before_falls_back_to_single_tokens(pico):
    rewriting = copy(pico.tokenizer)
    rewriting.decode = lambda ids: f"{len(ids)}:" + "".join(map(str, ids))
    odd = replace(pico, tokenizer=rewriting)
    assert odd.token_texts([7, 8]) == ("1:7", "1:8")


def test_text_is_shown_as_it_is(pico):
    assert pico.text_of("as is") == "as is"
