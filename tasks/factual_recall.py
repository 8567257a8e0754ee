"""Factual recall: the capital, language and continent of countries, and the country of a capital.

The corrupted prompt asks the same about another subject whose answer differs.
"""

import random
from collections.abc import Iterator

from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair, fill
from circuitkit.task import Task
from circuitkit.zoo.lexicon import COUNTRIES, RELATIONS


class FactualRecall(Task):
    """Facts about countries in several wordings: 'The capital of France is' -> Paris."""

    name = "factual-recall"
    metric = LogitDifference()

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield facts with all relations and paraphrases, one template for each paraphrase."""
        while True:
            relation = rng.choice(RELATIONS)
            index = rng.randrange(len(relation.paraphrases))
            country, other = rng.sample(COUNTRIES, 2)
            answer, wrong_answer = relation.answer(country), relation.answer(other)
            if answer == wrong_answer:
                continue
            paraphrase = relation.paraphrases[index]
            clean, spans = fill(paraphrase, subject=relation.subject(country))
            yield PromptPair(
                clean=clean,
                corrupted=paraphrase.format(subject=relation.subject(other)),
                answers=[f" {answer}"],
                wrong_answers=[f" {wrong_answer}"],
                roles={"subject": spans["subject"]},
                template=f"{relation.name}-{index + 1}",
                cluster=f"{relation.name} of {relation.subject(country)}",  # in any wording
            )
