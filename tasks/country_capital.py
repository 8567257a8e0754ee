"""Country-capital: the capital of a country, after another country's as an example.

The corrupted prompt gives the same example and asks for another country.
"""

import random
from collections.abc import Iterator, Mapping
from typing import ClassVar

from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair, fill
from circuitkit.task import Task
from circuitkit.zoo.lexicon import COUNTRIES

FRAMES = {
    "capital-of": "The capital of {known} is {known_capital}. The capital of {country} is",
    "and-that-of": "If the capital of {known} is {known_capital}, then the capital of {country} is",
    "pupil": "A pupil writes: {known}'s capital is {known_capital}, and {country}'s capital is",
}
OTHER_FRAMES = {
    "governed-from": "As {known} is governed from {known_capital}, {country} is governed from",
    "list": "Countries and their capitals: {known} - {known_capital}, {country} -",
}
CAPITALS = {each.country: each.capital for each in COUNTRIES} | {
    "India": "Delhi",
    "Pakistan": "Islamabad",
    "Afghanistan": "Kabul",
    "Australia": "Canberra",
    "Philippines": "Manila",
    "Scotland": "Edinburgh",
    "Wales": "Cardiff",
}


class OtherWordings(Task):
    """The same in frames that are not in FRAMES, to judge a circuit on."""

    name = "country-capital-other-wordings"
    metric = LogitDifference()
    frames: ClassVar[Mapping[str, str]] = OTHER_FRAMES

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield questions; those about one country test the same fact, and are a cluster."""
        while True:
            frame = rng.choice(tuple(self.frames))
            known, country, other = rng.sample(tuple(CAPITALS), 3)
            words = {"known": known, "known_capital": CAPITALS[known]}
            clean, spans = fill(self.frames[frame], country=country, **words)
            corrupted, _ = fill(self.frames[frame], country=other, **words)
            yield PromptPair(
                clean=clean,
                corrupted=corrupted,
                answers=[f" {CAPITALS[country]}"],
                wrong_answers=[f" {CAPITALS[other]}"],
                roles={"example": spans["known_capital"], "country": spans["country"]},
                template=frame,
                cluster=f"capital of {country}",
            )


class CountryCapital(OtherWordings):
    """Capitals: 'The capital of Peru is Lima. The capital of France is' -> Paris."""

    name = "country-capital"
    frames = FRAMES
    held_out = OtherWordings
