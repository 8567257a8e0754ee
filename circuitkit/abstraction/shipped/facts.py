"""Factual recall: subject and relation apart, or the whole fact where the subject stands.

Geva et al. 2023 (arXiv:2304.14767) describe the first: what is known of a subject is gathered where
it stands, and the last word takes out of it what is asked for.
"""

from circuitkit.abstraction.hypothesis import Hypothesis, ReadPrompt, variable
from circuitkit.zoo.lexicon import COUNTRIES, RELATIONS

KNOWN = {
    (relation.name, relation.subject(country)): relation.answer(country)
    for relation in RELATIONS
    for country in COUNTRIES
}


def relation_of(prompt: ReadPrompt) -> str:
    """Return the relation that a prompt asks for: templates are called so, with a number behind."""
    return prompt.template.rpartition("-")[0]


class FactsByParts(Hypothesis):
    """Bring the subject and the relation, each by itself; the answer is the fact of both."""

    name, task = "factual-recall-by-parts", "factual-recall"
    alignment = {
        "subject": "a0.h0 at END",
        "relation": "resid 0 + a0.h1 + a0.h2 + a0.h3 + attn 1 at END",
    }

    @variable
    def subject(self, prompt: ReadPrompt) -> str:
        """What is asked about."""
        return prompt["subject"]

    @variable
    def relation(self, prompt: ReadPrompt) -> str:
        """What is asked of it."""
        return relation_of(prompt)

    def answer(self, subject: str, relation: str) -> str | None:
        """Return the fact; a capital has no language, and a country is capital of none."""
        return KNOWN.get((relation, subject))


class FactsAtSubject(Hypothesis):
    """Recall the fact that is asked for where the subject stands, and bring it to the end."""

    name, task = "factual-recall-at-subject", "factual-recall"
    alignment = {"fact": "post 0 at subject"}

    @variable
    def fact(self, prompt: ReadPrompt) -> str | None:
        """The fact that is asked for."""
        return KNOWN.get((relation_of(prompt), prompt["subject"]))

    def answer(self, fact: str) -> str:
        """Return it."""
        return fact
