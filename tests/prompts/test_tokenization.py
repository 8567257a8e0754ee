import pytest
import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from circuitkit.errors import AlignmentError, AnswerError, PromptError
from circuitkit.prompts.encoding import answer_ids
from circuitkit.prompts.pairs import PromptPair, fill, next_word
from circuitkit.prompts.tokenization import tokenize_pairs

WORDS = [
    "<bos>",
    "<unk>",
    "Mary",
    "John",
    "went",
    "to",
    "the",
    "store",
    "gave",
    "it",
    "When",
    "and",
    ",",
    ".",
]


@pytest.fixture
def tokenizer():
    backend = Tokenizer(WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<bos>", eos_token="<bos>", unk_token="<unk>"
    )


def giving(a="Mary", b="John", s="John", **changes):
    text, spans = fill("When {A} and {B} went to the store, {S} gave it to", A=a, B=b, S=s)
    other, _ = fill("When {A} and {B} went to the store, {S} gave it to", A=a, B=b, S=a)
    settings = {"answers": [a], "wrong_answers": [b], "roles": spans, "template": "t"} | changes
    return PromptPair(clean=text, corrupted=other, **settings)


def test_text_becomes_tokens_after_the_beginning_of_sequence(tokenizer):
    pairs = tokenize_pairs([giving()], tokenizer)
    assert tokenizer.decode(pairs.clean[0]).split()[:4] == ["<bos>", "When", "Mary", "and"]
    assert pairs.clean.shape == (1, 14)
    assert (pairs.clean != pairs.corrupted).nonzero()[:, 1].tolist() == [10]
    assert pairs.labels.answers.tolist() == [[WORDS.index("Mary")]]
    assert pairs.labels.wrong_answers.tolist() == [[WORDS.index("John")]]


def test_roles_become_token_spans_and_end_is_the_last_token(tokenizer):
    pairs = tokenize_pairs([giving()], tokenizer)
    assert pairs.roles[0] == {"A": (2, 3), "B": (4, 5), "S": (10, 11), "END": (13, 14)}
    assert pairs.label_pos.tolist() == [13]


def test_a_role_over_several_words_covers_all_their_tokens(tokenizer):
    text = "Mary went to the store"
    pair = PromptPair(text, text, ["John"], roles={"place": (13, 22)}, template="t")
    pairs = tokenize_pairs([pair], tokenizer)
    assert pairs.roles[0]["place"] == (4, 6)


def test_padding_on_the_left_keeps_position_ids_of_real_tokens(tokenizer):
    short = PromptPair("Mary went to", "John went to", ["Mary"], template="short")
    pairs = tokenize_pairs([short, giving()], tokenizer)
    assert pairs.mask[0].tolist() == [False] * 10 + [True] * 4
    assert pairs.clean_batch.position_ids[0].tolist() == [0] * 10 + [0, 1, 2, 3]
    assert pairs.clean_batch.position_ids[1].tolist() == list(range(14))
    assert pairs.roles[0]["END"] == (13, 14)
    assert pairs.lengths.tolist() == [4, 14]


def test_padding_on_the_right_moves_labels_with_the_text(tokenizer):
    short = PromptPair("Mary went to", "John went to", ["Mary"], template="short")
    pairs = tokenize_pairs([short, giving()], tokenizer, padding_side="right")
    assert pairs.label_pos.tolist() == [3, 13]
    assert pairs.mask[0].tolist() == [True] * 4 + [False] * 10


def test_the_answer_can_be_read_after_another_role(tokenizer):
    pairs = tokenize_pairs([giving(answer_after="B")], tokenizer)
    assert pairs.label_pos.tolist() == [4]


def test_an_unknown_answer_role_is_refused(tokenizer):
    with pytest.raises(PromptError, match="answer_after must be a role, got 'X'"):
        tokenize_pairs([giving(answer_after="X")], tokenizer)


def test_a_misaligned_pair_is_refused_with_both_tokenisations(tokenizer):
    pair = PromptPair("Mary went", "John went to", ["Mary"])
    with pytest.raises(AlignmentError) as error:
        tokenize_pairs([pair], tokenizer)
    assert "got 3 and 4" in str(error.value)
    assert "['<bos>', 'Mary', 'went']" in str(error.value)
    assert "['<bos>', 'John', 'went', 'to']" in str(error.value)


def test_misaligned_pairs_are_dropped_and_counted_if_asked(tokenizer):
    bad = PromptPair("Mary went", "John went to", ["Mary"])
    pairs = tokenize_pairs([giving(), bad], tokenizer, drop_misaligned=True)
    assert (len(pairs), pairs.n_dropped) == (1, 1)
    with pytest.raises(PromptError, match="got 1 pairs of which 1 differ"):
        tokenize_pairs([bad], tokenizer, drop_misaligned=True)


def test_an_empty_set_of_pairs_is_refused(tokenizer):
    with pytest.raises(PromptError, match="at least one aligned pair"):
        tokenize_pairs([], tokenizer)


def test_an_empty_prompt_is_refused(tokenizer):
    with pytest.raises(PromptError, match="at least one token"):
        tokenize_pairs([PromptPair("", "", ["Mary"])], tokenizer)


def test_an_answer_or_word_outside_the_vocabulary_is_refused(tokenizer):
    with pytest.raises(AnswerError, match=r"must be known tokens, got \['<unk>'\]"):
        tokenize_pairs([giving(answers=["Zoe"])], tokenizer)
    with pytest.raises(PromptError, match=r"vocabulary, got \['Zoe'\]"):
        tokenize_pairs([PromptPair("Zoe went", "John went", ["Mary"])], tokenizer)


def test_a_pair_without_answers_is_refused(tokenizer):
    with pytest.raises(AnswerError, match="needs at least one answer"):
        tokenize_pairs([giving(answers=[])], tokenizer)


def test_a_role_outside_the_prompt_is_refused(tokenizer):
    with pytest.raises(PromptError, match="role 'X' must lie in the clean prompt"):
        tokenize_pairs([giving(roles={"X": (900, 903)})], tokenizer)


def test_a_template_with_two_lengths_is_refused(tokenizer):
    short = PromptPair("Mary went to", "John went to", ["Mary"], template="t")
    with pytest.raises(AlignmentError, match="template 't'.*got 4 .* and 14"):
        tokenize_pairs([short, giving()], tokenizer)


def test_pairs_without_template_are_grouped_by_length():
    rows = [PromptPair([1, 2, 3], [1, 2, 4], [0]), PromptPair([1, 2], [1, 3], [0])]
    assert tokenize_pairs(rows).templates == ("3 tokens", "2 tokens")


def test_token_ids_need_no_tokenizer_and_text_does():
    pairs = tokenize_pairs([PromptPair([5, 6], [5, 7], [1], roles={"A": (0, 1)})])
    assert pairs.clean.tolist() == [[5, 6]]
    assert pairs.roles[0] == {"A": (0, 1), "END": (1, 2)}
    with pytest.raises(PromptError, match="has no tokenizer"):
        tokenize_pairs([PromptPair("Mary", "John", [1])])


def test_answers_of_different_number_are_filled_with_minus_one(tokenizer):
    pairs = tokenize_pairs([giving(answers=["Mary", "it"]), giving(a="John", b="Mary")], tokenizer)
    assert pairs.labels.answers.tolist() == [[2, WORDS.index("it")], [3, -1]]
    assert answer_ids(7, None) == (7,)


@pytest.fixture
def spaced_tokenizer():
    """One that begins every text with a space of its own, as Llama's does."""
    words = ["<unk>", "▁", "▁a", "▁He", "▁She", "He", "▁the", "se"]
    backend = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("▁", behavior="merged_with_next"),
            pre_tokenizers.Split("se", behavior="isolated"),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


def test_an_answer_is_the_token_that_continues_a_prompt(spaced_tokenizer):
    encode = spaced_tokenizer.encode
    assert encode("a He") == [2, 3]
    assert encode(" He") == [1, 3]  # the second space is the tokenizer's
    assert answer_ids(" He", spaced_tokenizer) == answer_ids("He", spaced_tokenizer) == (3,)
    assert answer_ids(" these", spaced_tokenizer) == (6, 7)
    assert answer_ids(" He She", spaced_tokenizer) == (3, 4)


def test_selecting_and_batching_keep_rows_together(tokenizer):
    pairs = tokenize_pairs([giving(), giving("John", "Mary", "Mary"), giving()], tokenizer)
    second = pairs.select([1])
    assert torch.equal(second.clean[0], pairs.clean[1])
    assert second.labels.answers.tolist() == [[3]]
    assert [len(batch) for batch in pairs.batches(2)] == [2, 1]


def test_next_word_is_the_following_word_or_mark():
    text = "When Mary, and John"
    assert text[slice(*next_word(text, (5, 9)))] == ","
    assert text[slice(*next_word(text, (9, 10)))] == "and"
