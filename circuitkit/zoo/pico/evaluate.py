"""How often a causal language model's most likely next token is right on pico's five behaviours.

All prompts are ones that training never shows: held-out names in held-out frames, fresh random
words, freshly paired full names, held-out paraphrases of facts, and spans that start in held-out
years.
"""

import copy
import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from circuitkit.zoo.lexicon import COUNTRIES, RELATIONS
from circuitkit.zoo.pico.language import (
    full_name_prompt,
    held_out_giving_prompts,
    held_out_paraphrases,
    held_out_year_prompts,
    repeated_words,
)

EVALUATED_PERIODS = range(5, 13)
MAX_REPEATED_WORDS = 40
BATCH_SIZE = 64

Prompt = tuple[str, str] | tuple[str, tuple[str, ...]]
"""A prompt and its answer, or all its right answers; answers come without a space."""


@dataclass(frozen=True)
class PicoAccuracies:
    """Shares of prompts, in [0, 1], whose most likely next token is an answer.

    For `years` any later year of the century is one. The most likely token is taken over the whole
    vocabulary. `n_prompts` is for each behaviour.
    """

    ioi: float
    induction: float
    full_name: float
    fact: float
    years: float
    n_prompts: int


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n_prompts: int = 500,
    seed: int = 1,
) -> PicoAccuracies:
    """Return the model's accuracies on `n_prompts` held-out prompts of each behaviour."""

    def accuracy(prompts: Callable[[random.Random], Iterator[Prompt]]) -> float:
        sample = list(itertools.islice(prompts(random.Random(seed)), n_prompts))
        return top_1_accuracy(model, tokenizer, sample)

    return PicoAccuracies(
        ioi=accuracy(held_out_giving_prompts),
        induction=accuracy(induction_prompts),
        full_name=accuracy(full_name_prompts),
        fact=accuracy(held_out_fact_prompts),
        years=accuracy(held_out_year_prompts),
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
    prompts: Sequence[Prompt],
) -> float:
    """Return the share of prompts whose most likely next token begins a right answer.

    Each prompt is read after the beginning-of-sequence token.
    """
    by_length: dict[int, list[tuple[list[int], set[int]]]] = defaultdict(list)
    for prompt, answer in prompts:
        ids = [tokenizer.bos_token_id, *tokenizer(prompt, add_special_tokens=False).input_ids]
        answers = (answer,) if isinstance(answer, str) else answer
        right = {tokenizer(f" {a}", add_special_tokens=False).input_ids[0] for a in answers}
        by_length[len(ids)].append((ids, right))
    n_right = 0
    for same_length in by_length.values():
        for start in range(0, len(same_length), BATCH_SIZE):
            rows, answers_of_rows = zip(*same_length[start : start + BATCH_SIZE], strict=True)
            logits = model(torch.tensor(rows, device=model.device)).logits[:, -1]
            top: list[int] = logits.argmax(-1).tolist()
            n_right += sum(t in right for t, right in zip(top, answers_of_rows, strict=True))
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
