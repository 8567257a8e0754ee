"""Docstring: the documentation of a function names its arguments in their order.

After Heimersheim and Janiak 2023. The corrupted prompt defines other arguments, so that neither
the answer nor the arguments that are documented already stand in the definition.
"""

import random
from collections.abc import Iterator, Mapping
from typing import ClassVar

from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair, fill
from circuitkit.task import Task
from circuitkit.zoo.lexicon import words_of

FRAMES = {
    "param": (
        "def {function}(self, {before}, {first}, {second}, {third}, {after}):\n"
        '    """{verb} the {thing}\n\n'
        "    :param {first_again}: the {noun} of it\n"
        "    :param {second_again}: some other {other_noun}\n"
        "    :param"
    ),
}
OTHER_FRAMES = {
    "at-param": (
        "def {function}(cls, {before}, {first}, {second}, {third}, {after}):\n"
        "    '''{verb} one {thing} or more.\n\n"
        "    @param {first_again} this is the {noun}\n"
        "    @param {second_again} and a {other_noun}\n"
        "    @param"
    ),
}
ARGUMENTS = words_of("""
    data name file value test line user key request path output node item url model text version
    string field start number values index error image message size event state row query fields
    label action target array code table source config options module status group content client
    filename results command base format color order count tag title parent session token server
    host date mode project header task shape load port
    """)
FUNCTIONS = words_of("load find make read check build send split sort print count open")
VERBS = words_of("Return Find Make Read Check Build Send Get Set Open")
NOUNS = words_of("weather river garden paper number place group market window letter story music")


class OtherWordings(Task):
    """The same in another style of documentation, to judge a circuit on."""

    name = "docstring-other-wordings"
    metric = LogitDifference()
    frames: ClassVar[Mapping[str, str]] = OTHER_FRAMES

    def pairs(self, rng: random.Random) -> Iterator[PromptPair]:
        """Yield functions of five arguments, of which the second and the third are documented."""
        while True:
            frame = rng.choice(tuple(self.frames))
            names = rng.sample(ARGUMENTS, 10)
            defined, others = names[:5], names[5:]
            words = {
                "function": rng.choice([f for f in FUNCTIONS if f not in names]),
                "verb": rng.choice(VERBS),
                "first_again": defined[1],
                "second_again": defined[2],
            }
            words |= zip(("thing", "noun", "other_noun"), rng.sample(NOUNS, 3), strict=True)
            clean, spans = fill(self.frames[frame], **words, **_definition(defined))
            corrupted, _ = fill(self.frames[frame], **words, **_definition(others))
            yield PromptPair(
                clean=clean,
                corrupted=corrupted,
                answers=[f" {defined[3]}"],
                wrong_answers=[f" {name}" for name in defined if name != defined[3]],
                roles={
                    **{f"{slot}-def": spans[slot] for slot in ("first", "second", "third")},
                    "first-doc": spans["first_again"],
                    "second-doc": spans["second_again"],
                },
                template=frame,
                cluster=f"{defined[3]} after {defined[2]}",
            )


class Docstring(OtherWordings):
    """Docstrings: 'def load(self, tag, key, row, url, ...' ... ':param row: ... :param' -> url."""

    name = "docstring"
    frames = FRAMES
    held_out = OtherWordings


def _definition(names: list[str]) -> dict[str, str]:
    return dict(zip(("before", "first", "second", "third", "after"), names, strict=True))
