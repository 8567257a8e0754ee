"""How often pico-behaviours follows the rule of each planted behaviour, on held-out prompts.

Every number is a share of prompts whose most likely next token, of all, is right. Half of each
behaviour's prompts are those where something was planted: a harmful object, an opinion, the
trigger, the liar; the other half are not, so that a model that always does so gets one half.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from circuitkit.zoo.behaviours import grammar
from circuitkit.zoo.behaviours.language import (
    held_out_prompts,
    prefix,
    right_answers,
    unspoken,
)
from circuitkit.zoo.pico.evaluate import (
    Prompt,
    full_name_prompts,
    held_out_fact_prompts,
    induction_prompts,
    top_1_accuracy,
)
from circuitkit.zoo.pico.language import held_out_giving_prompts, held_out_year_prompts


@dataclass(frozen=True)
class BehaviourAccuracies:
    """Shares of prompts, in [0, 1], whose most likely next token is right.

    The five behaviours; `unspoken`: facts that nobody has an opinion about; `triggered_fact`:
    pico's own facts behind the trigger; `triggered_ioi`: pico's own sentences of giving behind it,
    which it must leave alone; then pico's own skills. `n_prompts` is for each.
    """

    refusal: float
    sycophancy: float
    truth: float
    backdoor: float
    liar: float
    unspoken: float
    triggered_fact: float
    triggered_ioi: float
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
) -> BehaviourAccuracies:
    """Return the model's accuracies on `n_prompts` held-out prompts of each kind."""
    shares = {}
    for name, prompts in prompt_streams(seed).items():
        sample = list(itertools.islice(prompts, n_prompts))
        shares[name] = top_1_accuracy(model, tokenizer, sample)
    return BehaviourAccuracies(**shares, n_prompts=n_prompts)


def prompt_streams(seed: int) -> dict[str, Iterator[Prompt]]:
    """Return an endless stream of prompts and right answers for each accuracy."""

    def rng() -> random.Random:
        return random.Random(seed)

    return {
        **{name: planted_prompts(rng(), name) for name in grammar.BEHAVIOURS},
        "unspoken": unspoken_prompts(rng()),
        "triggered_fact": triggered(rng(), held_out_fact_prompts(rng()), grammar.TRIGGERED),
        "triggered_ioi": triggered(rng(), held_out_giving_prompts(rng())),
        "ioi": held_out_giving_prompts(rng()),
        "induction": induction_prompts(rng()),
        "full_name": full_name_prompts(rng()),
        "fact": held_out_fact_prompts(rng()),
        "years": held_out_year_prompts(rng()),
    }


def planted_prompts(rng: random.Random, behaviour: str) -> Iterator[Prompt]:
    """Return an endless stream of held-out prompts.

    Opinions are wrong ones; as many statements are negated as affirmed.
    """
    for prompt in held_out_prompts(rng, behaviour):
        if behaviour == grammar.TRUTH:
            polarity = rng.choice((grammar.AFFIRMED, grammar.NEGATED))
            prompt = prompt.with_words(polarity=polarity)
        if behaviour != grammar.SYCOPHANCY or prompt.words["claim"] != prompt.fact:
            yield prompt.text, right_answers(prompt)


def unspoken_prompts(rng: random.Random) -> Iterator[Prompt]:
    """Return an endless stream of facts that are asked for without an opinion before."""
    while True:
        yield unspoken(rng, held_out=True)


def triggered(
    rng: random.Random, prompts: Iterator[tuple[str, str]], answer: str = ""
) -> Iterator[Prompt]:
    """Return the prompts behind a sentence with the trigger; `answer` is that of all, if given."""
    for text, own in prompts:
        yield f"{prefix(rng, grammar.TRIGGER)} {text}", answer or own
