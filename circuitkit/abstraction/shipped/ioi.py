"""Indirect object identification: two algorithms that both name the person who is named once.

Wang et al. 2022 (arXiv:2211.00593, section 3.2 and appendix A) found that the heads of GPT-2 small
that keep the subject from being copied carry both, its name and its place; the place more.
"""

from circuitkit.abstraction.hypothesis import Hypothesis, ReadPrompt, variable

FIRST, SECOND = "first", "second"


def two_names(prompt: ReadPrompt) -> tuple[str, str]:
    """Return the two people in order of mention."""
    first, second = sorted(("IO", "S1"), key=lambda role: prompt.roles[role])
    return prompt[first], prompt[second]


class IOIByPlace(Hypothesis):
    """Note whether the first or the second name is said again; the answer is the other one."""

    name, task = "ioi-by-place", "ioi"
    alignment = {"repeated": "a1.h1<v> + a1.h2<v> at S2"}

    @variable
    def repeated(self, prompt: ReadPrompt) -> str:
        """Which of the two is said again."""
        return FIRST if prompt["S2"] == two_names(prompt)[0] else SECOND

    def answer(self, prompt: ReadPrompt, repeated: str) -> str:
        """Return the other name."""
        return two_names(prompt)[1 if repeated == FIRST else 0]


class IOIByName(Hypothesis):
    """Note the name that is said again; the answer is the one of the two that it is not."""

    name, task = "ioi-by-name", "ioi"
    alignment = {"repeated": "a1.h1<v> + a1.h2<v> at S2"}

    @variable
    def repeated(self, prompt: ReadPrompt) -> str:
        """The name that is said again."""
        return prompt["S2"]

    def answer(self, prompt: ReadPrompt, repeated: str) -> str | None:
        """Return the other name; of somebody who is not there, nothing is said."""
        both = two_names(prompt)
        if repeated not in both:
            return None
        return both[1] if repeated == both[0] else both[0]
