"""Models with a classification head: labels are the vocabulary, read where the head reads."""

import pytest
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from circuitkit.discovery import eap
from circuitkit.errors import AnswerError, DecompositionError, PromptError
from circuitkit.metrics import LogitDifference
from circuitkit.model.check import probe
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.zoo import load_model
from tests.families import CONFIGS, N_CTX, N_LABELS, VOCAB, make_family, save_family, unsettle

IDS = [3, 1, 4, 1, 5, 9, 2]


def pairs_of(*, answer=2, place="END"):
    corrupted = [*IDS[:3], 7, *IDS[4:]]
    roles = {"start": (0, 1), "middle": (2, 4)}
    return tokenize_pairs(
        [PromptPair(IDS, corrupted, [answer], [0], roles=roles, answer_after=place)]
    )


def saved(config, directory, **changes):
    torch.manual_seed(0)
    for name, value in changes.items():
        setattr(config, name, value)
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    unsettle(model)
    model.save_pretrained(directory)
    return model.eval().double()


def logits_of(own, ids):
    with torch.no_grad():
        return own(input_ids=torch.tensor([ids])).logits[0]


def test_a_decoders_logits_are_those_of_its_classification_head(tmp_path):
    own = saved(CONFIGS["llama"](), tmp_path, num_labels=3)
    model = load_model(tmp_path, dtype=torch.float64)
    [found] = model.run(pairs_of().clean_batch)
    torch.testing.assert_close(found, logits_of(own, IDS), rtol=1e-5, atol=1e-5)
    assert model.n_logits == 3
    assert eap.score_edges(model, pairs_of(), LogitDifference()).values.abs().max() > 0


@pytest.mark.parametrize("name", ["gpt2-classifier", "gemma-2-classifier"])
def test_a_classifier_has_as_many_logits_as_labels(name, tmp_path):
    model = make_family(name, tmp_path)
    assert model.n_logits == N_LABELS != VOCAB
    assert model.logit_softcap == 0  # which Gemma's classifier has not


def test_an_answer_that_is_no_label_is_refused(tmp_path):
    saved(CONFIGS["gpt2"](), tmp_path, num_labels=3)
    model = load_model(tmp_path)
    with pytest.raises(AnswerError, match="0 to 2, got 3 for pair 0"):
        eap.score_edges(model, pairs_of(answer=3), LogitDifference())


def test_an_answer_that_is_text_is_refused_with_the_labels(tmp_path):
    words = Tokenizer(WordLevel({"<unk>": 0, "Mary": 1}, unk_token="<unk>"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
    model = make_family("gpt2-classifier", tmp_path)
    pairs = tokenize_pairs([PromptPair([1, 2], [1, 3], ["Mary"])], tokenizer)
    with pytest.raises(
        PromptError, match=r"the numbers of labels .* 'Mary' for pair 0.*0: LABEL_0"
    ):
        model.require_vocabulary(pairs)
    model.require_vocabulary(tokenize_pairs([PromptPair([1, 2], [1, 3], [1])], tokenizer))


def test_an_answer_that_is_read_elsewhere_than_at_the_last_token_is_refused(tmp_path):
    model = make_family("gpt2-classifier", tmp_path)
    with pytest.raises(PromptError, match="must be read at the last token .* for prompt 0"):
        model.run(pairs_of(place="middle").clean_batch)


@pytest.mark.parametrize("names", [["END", "start"], ["start", "END"]])
def test_no_second_answer_may_be_read_elsewhere_either(names, tmp_path):
    model = make_family("gpt2-classifier", tmp_path)
    pair = PromptPair(IDS, IDS, [[1], [2]], [], {"start": (0, 1)}, answer_after=names)
    with pytest.raises(PromptError, match="must be read at the last token .* for prompt 0"):
        model.run(tokenize_pairs([pair]).clean_batch)


def test_a_probe_that_ends_with_the_padding_token_is_read_at_its_end_all_the_same(tmp_path):
    pad = int(probe(VOCAB, N_CTX).tokens[0, -1])
    saved(CONFIGS["gpt2"](), tmp_path, num_labels=3, pad_token_id=pad)
    model = load_model(tmp_path)
    assert model.bridge.original_model.config.pad_token_id == pad


def test_modernberts_head_reads_the_first_token(tmp_path):
    config = CONFIGS["modernbert"]()
    own = saved(config, tmp_path, num_labels=3, classifier_pooling="cls")
    model = load_model(tmp_path, dtype=torch.float64)
    first = pairs_of(place="start")
    [found] = model.run(first.clean_batch)
    torch.testing.assert_close(found, logits_of(own, IDS), rtol=1e-5, atol=1e-5)
    with pytest.raises(PromptError, match="must be read at the first token"):
        model.run(pairs_of().clean_batch)


def test_a_head_that_reads_the_mean_of_all_tokens_is_refused(tmp_path):
    saved(CONFIGS["modernbert"](), tmp_path, num_labels=3, classifier_pooling="mean")
    with pytest.raises(DecompositionError, match="one token of each prompt, got .* mean of all"):
        load_model(tmp_path)


def test_a_language_model_is_read_anywhere(tmp_path):
    directory = save_family("gpt2", tmp_path)
    found = load_model(directory).run(pairs_of(place="middle").clean_batch)
    assert found.shape == (1, VOCAB)
