"""Special tokens, slow tokenizers, and ids that cannot be tokens."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import config
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from circuitkit.errors import AnswerError, CircuitkitError, PromptError
from circuitkit.prompts.encoding import answer_ids, encode
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.splits import sample_held_out, sample_splits
from circuitkit.prompts.tokenization import tokenize_pairs

from .tokenizers import WORDS, SlowLower, fast_bytes, fast_words, slow_bytes, slow_words


@pytest.fixture(autouse=True, scope="module")
def as_users_run_it():
    """Without the types' own check, which would refuse first, and which users do not have."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


KINDS = {"words": (slow_words, fast_words), "bytes": (slow_bytes, fast_bytes)}
TEXTS = {
    "words": ["Mary went to the store, John", "Mary,John. went", "  Mary   went ", "<s>Mary went"],
    "bytes": ["Mary went", "naïve café", "日本 went", "🙂!", "a\ufffdb", "<s>Mary <s> é"],
}
SEVERAL = [(kind, text) for kind, texts in TEXTS.items() for text in texts]


@pytest.fixture(params=[fast_words, slow_words], ids=["fast", "slow"])
def tokenizer(request):
    return request.param()


def pair(clean="Mary went to", corrupted="John went to", answers=("Mary",), **changes):
    return PromptPair(clean, corrupted, list(answers), **changes)


# --- the beginning of a sequence


def test_text_that_begins_with_the_bos_gets_no_second_one(tokenizer):
    [bare] = tokenize_pairs([pair()], tokenizer).clean.tolist()
    rendered = tokenize_pairs([pair("<s>Mary went to", "<s>John went to")], tokenizer)
    assert rendered.clean.tolist() == [bare] == [[0, 2, 4, 5]]
    assert rendered.bos == "present"
    assert tokenize_pairs([pair()], tokenizer).bos == "added"


def test_roles_stay_in_place_behind_a_bos_in_the_text(tokenizer):
    clean = "<s>Mary went to"
    roles = {"name": (3, 7), "verb": (8, 12), "start": (0, 3)}
    found = tokenize_pairs([pair(clean, "<s>John went to", roles=roles)], tokenizer)
    assert found.roles[0] == {"name": (1, 2), "verb": (2, 3), "start": (0, 1), "END": (3, 4)}


def test_always_is_still_exactly_one(tokenizer):
    for text in ("Mary went to", "<s>Mary went to"):
        assert encode(text, tokenizer, "always").ids == [0, 2, 4, 5]


def test_never_adds_none_and_takes_none_away(tokenizer):
    assert encode("Mary went to", tokenizer, "never").ids == [2, 4, 5]
    assert encode("<s>Mary went to", tokenizer, "never").ids == [0, 2, 4, 5]
    assert tokenize_pairs([pair()], tokenizer, bos="never").bos == "none"


def test_a_tokenizer_without_bos_adds_none_unless_always_is_asked_for():
    tokenizer = fast_words()
    tokenizer.bos_token = None
    assert encode("Mary went", tokenizer, "auto").ids == [2, 4]
    with pytest.raises(PromptError, match="bos 'always' the tokenizer must have"):
        encode("Mary went", tokenizer, "always")


def test_each_prompt_is_judged_alone_and_the_record_names_both(tokenizer):
    found = tokenize_pairs([pair("<s>Mary went to", "John went to")], tokenizer)
    assert (found.clean[0, 0], found.corrupted[0, 0]) == (0, 0)
    assert found.bos == "added, present"


def test_token_ids_are_taken_as_they_are(tokenizer):
    for bos in ("auto", "always", "never"):
        found = tokenize_pairs([pair([0, 0, 2], [0, 0, 3], [4])], tokenizer, bos=bos)
        assert found.clean.tolist() == [[0, 0, 2]]
        assert found.bos == "as given"


def test_an_unknown_choice_is_refused(tokenizer):
    with pytest.raises(PromptError, match="bos: must be one of auto, always, never, got 'off'"):
        tokenize_pairs([pair()], tokenizer, bos="off")


def test_special_tokens_inside_the_text_are_one_token(tokenizer):
    found = encode("Mary <s> went", tokenizer, "never")
    assert found.ids == [2, 0, 4]
    assert found.offsets == [(0, 4), (5, 8), (9, 13)]


def test_a_bos_that_falls_into_pieces_is_refused_not_doubled():
    tokenizer = fast_bytes()
    tokenizer.split_special_tokens = True
    if encode("<s>", tokenizer, "never").ids == [0]:
        tokenizer.backend_tokenizer.encode_special_tokens = True
    with pytest.raises(PromptError, match=r"'<s>' that it begins with must be one token"):
        encode("<s>Mary", tokenizer, "auto")


class Words:
    """A task of words, one wording held out."""

    name, drop_misaligned, other_wordings = "words", False, None
    texts = ("Mary went to", "John went to")

    def pairs(self, rng):
        while True:
            words = rng.choices(WORDS[2:], k=4)
            yield pair(" ".join(words), " ".join(words[::-1]), ["Mary"], template="t")

    reference_pairs = pairs


def test_the_choice_reaches_every_split_of_a_task():
    task, tokenizer = Words(), fast_words()
    task.other_wordings = Words()
    splits = sample_splits(task, tokenizer, n=16, seed=0, bos="never")
    for split in (splits.discovery, splits.validation, splits.reference):
        assert split.clean.shape[1] == 4
        assert split.bos == "none"
    held_out = sample_held_out(task, tokenizer, splits, n=60, seed=0, bos="never")
    assert [part.bos for part in held_out["wordings"]] == ["none", "none"]


# --- slow tokenizers


@pytest.mark.parametrize(("kind", "text"), SEVERAL)
def test_a_slow_tokenizer_finds_the_places_that_a_fast_one_says(kind, text):
    slow, fast = (make() for make in KINDS[kind])
    assert (slow.is_fast, fast.is_fast) == (False, True)
    assert encode(text, slow, "auto") == encode(text, fast, "auto")


def test_the_tokens_of_one_character_all_stand_for_it():
    found = encode("aé!", slow_bytes(), "never")
    assert found.offsets == [(0, 1), (1, 2), (1, 2), (2, 3)]


def test_a_role_over_half_a_character_covers_all_its_tokens():
    text = "aé!"
    one = PromptPair(text, text, ["a"], roles={"accent": (1, 2)})
    assert tokenize_pairs([one], slow_bytes()).roles[0]["accent"] == (2, 4)


def test_a_slow_tokenizer_that_changes_the_text_is_named_with_the_remedy():
    with pytest.raises(PromptError, match=r"slow tokenizer SlowLower\. .*tokenizer\.json"):
        encode("Mary went", SlowLower(bos_token="<s>", unk_token="<unk>"), "auto")


def test_a_slow_tokenizer_refuses_unknown_words():
    with pytest.raises(PromptError, match=r"vocabulary, got \['token 1'\]"):
        encode("Mary Zoe", slow_words(), "auto")
    with pytest.raises(AnswerError, match=r"must be known tokens, got \["):
        answer_ids("Zoe", slow_words())


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=8))
def test_slow_and_fast_agree_on_any_text_of_bytes(text):
    slow, fast = SLOW_BYTES, FAST_BYTES
    try:
        expected = encode(text, fast, "auto")
    except CircuitkitError as error:
        with pytest.raises(type(error)):
            encode(text, slow, "auto")
        return
    assert encode(text, slow, "auto") == expected


SLOW_BYTES, FAST_BYTES = slow_bytes(), fast_bytes()
SLOW_WORDS, FAST_WORDS = slow_words(), fast_words()

# --- what cannot be a token


@pytest.mark.parametrize("bad", [-1, 2**63, 10**40, True, 1.5, None, "1"])
def test_ids_that_no_token_can_have_are_refused(bad):
    with pytest.raises(PromptError, match="prompt .*must be text or a sequence of token ids"):
        tokenize_pairs([PromptPair([1, bad], [1, 2], [3])])
    if not isinstance(bad, str):
        for answers, wrong in (([bad], []), ([3, bad], []), ([3], [bad])):
            with pytest.raises(AnswerError, match="must be text, a token id from 0 on"):
                tokenize_pairs([PromptPair([1, 2], [1, 2], answers, wrong)])


@pytest.mark.parametrize("prompt", [None, 5, 2.5, [[1, 2]], [None]])
def test_a_prompt_that_is_neither_text_nor_ids_is_refused(prompt):
    with pytest.raises(PromptError, match="must be text or a sequence of token ids"):
        tokenize_pairs([PromptPair(prompt, [1, 2], [3])])


@pytest.mark.parametrize(
    ("field", "value"),
    [("roles", None), ("template", [1]), ("answers", "Mary"), ("wrong_answers", 3)],
)
def test_fields_of_another_kind_are_refused_by_name(field, value):
    with pytest.raises(PromptError, match=f"{field} must be a"):
        tokenize_pairs(
            [PromptPair(**{"clean": [1], "corrupted": [2], "answers": [3], field: value})]
        )


def test_an_answer_that_is_wrong_too_is_refused(tokenizer):
    for right, wrong in ((["Mary", "John"], ["to", "John"]), (["John"], [3])):
        with pytest.raises(AnswerError, match=r"no answer may be a wrong answer too, .*'John'"):
            tokenize_pairs([pair(answers=right, wrong_answers=wrong)], tokenizer)


def test_a_role_called_end_must_be_the_last_token(tokenizer):
    last = {"END": (10, 12)}
    assert tokenize_pairs([pair(roles=last)], tokenizer).roles[0] == {"END": (3, 4)}
    for span in ((0, 4), (5, 12)):
        with pytest.raises(PromptError, match="a role 'END' must be the last token"):
            tokenize_pairs([pair(roles={"END": span})], tokenizer)


@pytest.mark.parametrize("span", [None, (1,), (0, float("inf")), ("a", "b"), 3])
def test_a_role_that_is_no_span_is_refused(span):
    with pytest.raises(PromptError, match="role 'A' must be a span"):
        tokenize_pairs([PromptPair([1, 2], [1, 2], [3], roles={"A": span})])


def test_what_the_tokenizer_itself_cannot_read_is_one_sentence():
    backend = Tokenizer(WordLevel({"Mary": 0}, unk_token="<none>"))  # which it does not have
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    with pytest.raises(PromptError, match="must be able to read it, got Exception: .WordLevel"):
        tokenize_pairs([pair("Zoe", "Mary")], tokenizer)
    with pytest.raises(AnswerError, match="must be able to read it"):
        answer_ids("Zoe", tokenizer)


def test_half_a_character_is_refused_in_words_that_can_be_printed(tokenizer):
    with pytest.raises(PromptError, match=r"\\ud800.*must be Unicode text") as error:
        tokenize_pairs([pair("Mary \ud800", "John to")], tokenizer)
    str(error.value).encode()
    with pytest.raises(AnswerError) as error:
        tokenize_pairs([pair(answers=["\udfff"])], tokenizer)
    str(error.value).encode()


def test_a_long_prompt_is_cut_in_the_message(tokenizer):
    with pytest.raises(PromptError) as error:
        tokenize_pairs([pair("Zoe " * 100_000, "Mary")], tokenizer)
    assert len(str(error.value)) < 1000


ANYTHING = st.one_of(
    st.text(max_size=6),
    st.integers(),
    st.lists(st.one_of(st.integers(-3, 12), st.integers(), st.booleans()), max_size=4),
    st.sampled_from(["<s>", "<s><s>Mary", "Mary <s>", "\ud800", "\x00", None, 1.5]),
    st.sampled_from(["Mary went", "John went", "John ,"]),
)
ANSWERS = st.one_of(st.lists(st.one_of(ANYTHING, st.integers(2, 5)), max_size=3), st.none())
ROLES = st.dictionaries(st.sampled_from(["A", "END"]), st.tuples(st.integers(), st.integers()))


@settings(max_examples=150, deadline=None)
@given(
    st.builds(PromptPair, ANYTHING, ANYTHING, ANSWERS, ANSWERS, ROLES),
    st.sampled_from([SLOW_WORDS, FAST_WORDS, SLOW_BYTES, FAST_BYTES, None]),
    st.sampled_from(["auto", "always", "never"]),
)
def test_any_pair_is_tokenised_or_refused_by_a_circuitkit_error(one, tokenizer, bos):
    try:
        found = tokenize_pairs([one], tokenizer, bos=bos)
    except CircuitkitError:
        return
    assert found.clean.min() >= 0
    assert found.label_pos.tolist() == [found.clean.shape[1] - 1]
