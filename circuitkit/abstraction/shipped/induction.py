"""Induction: the word behind the earlier place of the last word, found by the word or by the place.

Olsson et al. 2022 (arXiv:2209.11895) describe the first: an induction head looks for places whose
preceding word is the last one.
"""

from circuitkit.abstraction.hypothesis import Hypothesis, ReadPrompt, variable


class InductionBySought(Hypothesis):
    """Look for the last word among the words said before; the answer is the word behind it."""

    name, task = "induction-by-word", "induction"
    alignment = {"sought": "post 1 at END"}

    @variable
    def sought(self, prompt: ReadPrompt) -> str:
        """The word that is looked for."""
        return prompt["END"]

    def answer(self, prompt: ReadPrompt, sought: str) -> str | None:
        """Return what is behind it, if that is one word; the last word itself has none behind."""
        last = prompt.roles["END"][0]
        found = {prompt.words[i + 1] for i in range(last) if prompt.words[i] == sought}
        return found.pop() if len(found) == 1 else None


class InductionByDistance(Hypothesis):
    """Note how far back the last word stands; the answer is behind the word that far back."""

    name, task = "induction-by-distance", "induction"
    alignment = {"distance": "post 1 at END"}

    @variable
    def distance(self, prompt: ReadPrompt) -> int:
        """How many words back the last word was said before."""
        return prompt.roles["END"][0] - prompt.roles["source"][0]

    def answer(self, prompt: ReadPrompt, distance: int) -> str | None:
        """Return the word behind; what is before the prompt is no word."""
        place = prompt.roles["END"][0] - distance + 1
        return prompt.words[place] if place > 0 else None
