"""How often a causal language model's most likely next token is right on pico's four behaviours.

All prompts are ones that training never shows: held-out names in held-out frames, fresh random
words, freshly paired full names, and held-out paraphrases of facts.
"""

import copy
import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from circuitkit.lexicon import COUNTRIES, RELATIONS
from circuitkit.zoo.pico.language import (
    full_name_prompt,
    held_out_giving_prompts,
    held_out_paraphrases,
    repeated_words,
)

EVALUATED_PERIODS = range(5, 13)
MAX_REPEATED_WORDS = 40
BATCH_SIZE = 64


@dataclass(frozen=True)
class PicoAccuracies:
    """Shares of prompts, in [0, 1], whose most likely next token is the answer.

    The most likely token is taken over the whole vocabulary. `n_prompts` is for each behaviour.
    """

    ioi: float
    induction: float
    full_name: float
    fact: float
    n_prompts: int


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n_prompts: int = 500,
    seed: int = 1,
) -> PicoAccuracies:
    """Return the model's accuracies on `n_prompts` held-out prompts of each behaviour."""

    def accuracy(prompts: Callable[[random.Random], Iterator[tuple[str, str]]]) -> float:
        sample = list(itertools.islice(prompts(random.Random(seed)), n_prompts))
        return top_1_accuracy(model, tokenizer, sample)

    return PicoAccuracies(
        ioi=accuracy(held_out_giving_prompts),
        induction=accuracy(induction_prompts),
        full_name=accuracy(full_name_prompts),
        fact=accuracy(held_out_fact_prompts),
        n_prompts=n_prompts,
    )


def untrained_copy(model: PreTrainedModel, *, seed: int = 0) -> PreTrainedModel:
    """Return a model of the same configuration with freshly initialised weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        untrained: PreTrainedModel = type(model)(copy.deepcopy(model.config))
    untrained.train(False)
    return untrained


@torch.no_grad()
def top_1_accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[tuple[str, str]],
) -> float:
    """Return the share of (prompt, answer) whose most likely next token begins the answer.

    Each prompt is read after the beginning-of-sequence token; answers come without a space.
    """
    by_length: dict[int, list[tuple[list[int], int]]] = defaultdict(list)
    for prompt, answer in prompts:
        ids = [tokenizer.bos_token_id, *tokenizer(prompt, add_special_tokens=False).input_ids]
        answer_id = tokenizer(f" {answer}", add_special_tokens=False).input_ids[0]
        by_length[len(ids)].append((ids, answer_id))
    n_right = 0
    for same_length in by_length.values():
        for start in range(0, len(same_length), BATCH_SIZE):
            rows, answer_ids = zip(*same_length[start : start + BATCH_SIZE], strict=True)
            logits = model(torch.tensor(rows, device=model.device)).logits[:, -1]
            right = logits.argmax(-1) == torch.tensor(answer_ids, device=model.device)
            n_right += int(right.sum())
    return n_right / len(prompts)


def induction_prompts(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Return an endless stream of lists that end in their second or a later repetition."""
    while True:
        period = rng.choice(EVALUATED_PERIODS)
        length = rng.randint(period + 1, min(4 * period, MAX_REPEATED_WORDS))
        *words, answer = repeated_words(rng, period, length + 1)
        yield f"List: {' '.join(words)}", answer


def full_name_prompts(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Return an endless stream of texts that end in a first name whose surname was given."""
    while True:
        yield full_name_prompt(rng)


def held_out_fact_prompts(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Return every fact in each paraphrase held out for its subject, shuffled, endlessly."""
    prompts = [
        (paraphrase.format(subject=relation.subject(country)), relation.answer(country))
        for relation in RELATIONS
        for country in COUNTRIES
        for paraphrase in held_out_paraphrases(relation, relation.subject(country))
    ]
    rng.shuffle(prompts)
    return itertools.cycle(prompts)
