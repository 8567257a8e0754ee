"""Models with a classification head: the labels are the vocabulary, and one position is read.

A decoder's head reads the last token of a prompt. The same modules are put into the family's own
language model, whose unembedding becomes the head; nothing is copied. ModernBERT's head reads the
first token, and the model stays as it is.
"""

import copy
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)

from circuitkit.errors import DecompositionError, PromptError
from circuitkit.prompts.batch import PromptBatch
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.work.text import shown

CLASSIFIER, MASKED = "ForSequenceClassification", "ForMaskedLM"
FIRST, LAST = "first", "last"
# What a language model does to its logits, and the classifier of its family does not.
UNCHANGED_LOGITS = {"logit_scale": 1.0, "logits_scaling": 1.0, "final_logit_softcapping": None}
OF_ENCODERS = ("ModernBertForSequenceClassification",)


def auto_class(config: Any) -> Any:
    """Return the transformers class that loads a model with the head that its files name."""
    named = (getattr(config, "architectures", None) or [""])[0]
    if named.endswith(CLASSIFIER):
        return AutoModelForSequenceClassification
    return AutoModelForMaskedLM if named.endswith(MASKED) else AutoModelForCausalLM


def is_classifier(model: Any) -> bool:
    """Whether a Hugging Face model has a head that reads one place of each prompt."""
    return type(model).__name__.endswith(CLASSIFIER)


def position_read(model: Any) -> str:
    """Return which token of a prompt a model's head reads, empty for a head that reads any."""
    if type(model).__name__ in OF_ENCODERS:
        return FIRST
    return str(getattr(getattr(model, "config", None), "position_read", ""))


def as_language_model(hf_model: Any, where: str) -> Any:
    """Return a decoder with a classification head as a language model whose words are its labels.

    Raises:
        DecompositionError: its head reads something else than one token.
    """
    kind = type(hf_model).__name__
    if not is_classifier(hf_model):
        return hf_model
    pooling = getattr(hf_model.config, "classifier_pooling", "cls")
    score = getattr(hf_model, "score", None)
    if kind in OF_ENCODERS and pooling == "cls":
        return hf_model
    if score is None:
        raise DecompositionError(
            f"{where} ({kind}): its classification head must read one token of each prompt, got a "
            f"head that reads {'the mean of all' if pooling == 'mean' else 'otherwise'}. No "
            "position has its logits. Use a decoder with a classification head."
        )
    config = copy.deepcopy(hf_model.config)
    changed = {k: v for k, v in UNCHANGED_LOGITS.items() if hasattr(config, k)}
    config.update(changed | {"tie_word_embeddings": False, "position_read": LAST})
    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(config, dtype=hf_model.dtype)
    setattr(made, made.base_model_prefix, hf_model.base_model)
    made.set_output_embeddings(score)
    made.config.architectures = [type(made).__name__]
    return made.eval()


def at_position_read(batch: PromptBatch, reads: str) -> PromptBatch:
    """Return prompts that are labelled where a head reads them."""
    if reads != FIRST:
        return batch
    return PromptBatch(batch.tokens, batch.mask, batch.mask.long().argmax(1), batch.labels)


def require_position_read(batch: PromptBatch, model: Any, name: str) -> None:
    """Refuse prompts whose answer is not read where the model's head reads.

    Raises:
        PromptError: naming the first such prompt.
    """
    reads = position_read(model)
    if not reads:
        return
    real, n_pos = batch.mask, batch.mask.shape[1]
    last = n_pos - 1 - real.flip(1).long().argmax(1)
    wanted = real.long().argmax(1) if reads == FIRST else last
    wrong = (batch.labelled != wanted[:, None]).any(1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise PromptError(
            f"prompts: the answer must be read at the {reads} token for model {name!r}, whose "
            f"classification head reads there, got another position for prompt {row}. The logits "
            "there are not the classifier's. Leave out answer_after, or set it to that token."
        )


def require_label_numbers(pairs: PromptPairs, model: Any, name: str) -> None:
    """Refuse answers that are text where labels are the vocabulary: a token is none of them.

    Raises:
        PromptError: naming the first such pair.
    """
    if not position_read(model):
        return
    for row, pair in enumerate(pairs.pairs):
        said = [each for each in (*pair.answers, *pair.wrong_answers) if isinstance(each, str)]
        if said:
            known = ", ".join(f"{n}: {label}" for n, label in model.config.id2label.items())
            raise PromptError(
                f"prompts: answers must be the numbers of labels for model {name!r}, which is a "
                f"classifier, got the text {shown(said[0])} for pair {row}. Its tokens are no "
                f"labels. Give the number of one ({shown(known)})."
            )
