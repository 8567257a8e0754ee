"""A task for a story model: `circuitkit run examples/pronouns.py:Pronouns --model stories260K`.

The model is Karpathy's TinyStories Llama of 260,000 parameters (huggingface.co/karpathy/tinyllamas,
converted to Hugging Face's format). It writes " She" after a story's first sentence about a girl.
"""

import random
from collections.abc import Iterator

from circuitkit import LogitDifference, PromptPair, Task, fill

FRAMES = (
    "Once upon a time, there was a {adjective} {child} named {name}.",
    "Once there was a {adjective} {child} and the name was {name}.",
    "One day, a {adjective} {child} named {name} went to the park.",
    "There was a {adjective} {child} named {name} who lived in a house.",
    "In a big forest, a {adjective} {child} named {name} saw a bird.",
)
# three tokens each in this model's vocabulary of 512: prompts of a template are equally long
ADJECTIVES = ("good", "kind", "nice", "small", "young", "shy", "tired", "fast", "loud")
NAMES = (
    "Mia", "Sue", "Max", "Amy", "Bob", "Sara", "Dan", "Kim",
    "Spot", "Mary", "Pat", "Leo", "Eve", "Bill", "Tina", "Mark",
)  # fmt: skip
PRONOUNS = {"girl": " She", "boy": " He"}


class Pronouns(Task):
    """Pronouns: 'Once upon a time, there was a little girl named Sam.' -> She."""

    name = "pronouns"
    metric = LogitDifference()
    drop_misaligned = True

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield stories of a girl against the same of a boy, and the other way round."""
        while True:
            at = rng.randrange(len(FRAMES))
            child, other = rng.sample(list(PRONOUNS), 2)
            words = {"adjective": rng.choice(ADJECTIVES), "name": rng.choice(NAMES)}
            clean, roles = fill(FRAMES[at], child=child, **words)
            corrupted, _ = fill(FRAMES[at], child=other, **words)
            yield PromptPair(
                clean=clean,
                corrupted=corrupted,
                answers=[PRONOUNS[child]],
                wrong_answers=[PRONOUNS[other]],
                roles=roles,
                template=f"story-{at + 1}",
                cluster=f"story {at + 1} of {words['adjective']} {words['name']}",  # of either
            )
