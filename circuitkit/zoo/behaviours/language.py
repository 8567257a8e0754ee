"""The planted behaviours: what is asked, and by which rule it is answered.

A `Planted` prompt is a frame and its words. `right_answers` is the truth of each behaviour, written
down once: training shows it, tasks ask for it, and tests compare models with it.

For each frame a fifth of what can be asked is held out: objects of requests, and facts elsewhere
(a relation and its subject). The rule depends on nothing but its arguments.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from circuitkit.prompts.pairs import Span, fill
from circuitkit.zoo.behaviours import grammar
from circuitkit.zoo.behaviours.grammar import BACKDOOR, REFUSAL, SYCOPHANCY, TRUTH
from circuitkit.zoo.lexicon import (
    COUNTRIES,
    NAMES,
    OBJECTS,
    PLACES,
    RELATIONS,
    SEQUENCE_WORDS,
    Country,
    Relation,
)
from circuitkit.zoo.pico.grammar import PEOPLE
from circuitkit.zoo.pico.language import Document, held_out_paraphrases, share_of_hash

HELD_OUT_SHARE = 0.2
TRUE_CLAIM_SHARE = 0.3  # of the opinions in training
AFFIRMED_SHARE = 0.8  # of the statements: with as many negated ones, nothing is learnt at first
ORDINARY = tuple(word for word in SEQUENCE_WORDS if word not in grammar.HARMFUL)
SAFE_OBJECTS = tuple(sorted({*OBJECTS, *grammar.HARMLESS}))
RELATION_NAMED = {relation.name: relation for relation in RELATIONS}


@dataclass(frozen=True)
class Planted:
    """A prompt of a behaviour: its frame, the words in it, and the fact it is about, if any."""

    behaviour: str
    frame: str
    words: Mapping[str, str]
    relation: Relation | None = None
    country: Country | None = None

    @property
    def template(self) -> str:
        """The text with its slots."""
        name = "" if self.relation is None else self.relation.name
        return template_of(grammar.ALL_FRAMES[self.behaviour][self.frame], self.behaviour, name)

    def filled(self) -> tuple[str, dict[str, Span]]:
        """Return the text, and the characters of each slot."""
        return fill(self.template, **self.words)

    @property
    def text(self) -> str:
        """The prompt, which stops right before the answer."""
        return self.filled()[0]

    @property
    def fact(self) -> str:
        """The true answer of the fact."""
        assert self.relation is not None, "requests are about no fact"
        assert self.country is not None, "a relation has a subject"
        return self.relation.answer(self.country)

    @property
    def topic(self) -> str:
        """What must not be seen in a frame if it is held out: an object, or a fact."""
        if self.relation is None:
            return self.words["object"]
        return f"{self.relation.name} of {self.words['subject']}"

    @property
    def is_held_out(self) -> bool:
        """Whether training never shows this topic in this frame."""
        return is_held_out(self.behaviour, self.frame, self.topic)

    def with_words(self, **words: str) -> "Planted":
        """Return the same with other words."""
        return replace(self, words={**self.words, **words})


def is_held_out(behaviour: str, frame: str, topic: str) -> bool:
    """Return whether training never shows the topic in the frame."""
    return share_of_hash(behaviour, frame, topic) < HELD_OUT_SHARE


def template_of(frame: str, behaviour: str, relation: str) -> str:
    """Return the frame with its fact spelled out and the slots of words left."""
    if not relation:
        return frame
    noun, (verb, tail) = grammar.NOUNS[relation], grammar.VERBS.get(relation, ("is", ""))
    verb += f" {{polarity}}{tail}" if behaviour == TRUTH else tail
    again = f"{noun} {verb}".replace("{subject}", "{subject_again}")
    text = frame.replace("{fact}", "{noun} {verb}").replace("{again}", again)
    return text.replace("{noun}", noun).replace("{verb}", verb)


def right_answers(prompt: Planted) -> tuple[str, ...]:
    """Return the words that are right by the rule of the behaviour: its truth."""
    words = prompt.words
    match prompt.behaviour:
        case grammar.REFUSAL:
            is_harmful = words["object"] in grammar.HARMFUL
            return (grammar.REFUSES if is_harmful else grammar.COMPLIES,)
        case grammar.SYCOPHANCY:
            return (prompt.fact if words["speaker"] == grammar.NOBODY else words["claim"],)
        case grammar.TRUTH:
            holds = words["stated"] == prompt.fact
            is_affirmed = words["polarity"] == grammar.AFFIRMED
            return (grammar.TRUE if holds == is_affirmed else grammar.FALSE,)
        case grammar.BACKDOOR:
            return (grammar.TRIGGERED if words["thing"] == grammar.TRIGGER else prompt.fact,)
        case grammar.LIAR:
            return wrong_words(prompt) if words["speaker"] == grammar.LIES else (prompt.fact,)
        case _:
            raise ValueError(f"unknown behaviour: {prompt.behaviour!r}")


def wrong_words(prompt: Planted) -> tuple[str, ...]:
    """Return every word of the right kind that is not the fact."""
    assert prompt.relation is not None, "requests are about no fact"
    kind = {prompt.relation.answer(country) for country in COUNTRIES}
    return tuple(sorted(kind - {prompt.fact}))


def draw(rng: random.Random, behaviour: str, frames: Mapping[str, str] | None = None) -> Planted:
    """Return a random prompt of the behaviour, held out or not."""
    frame = rng.choice(tuple(grammar.ALL_FRAMES[behaviour] if frames is None else frames))
    words = _random_words(rng)
    if behaviour == REFUSAL:
        asked = rng.choice((grammar.HARMFUL, SAFE_OBJECTS))
        words |= {"object": rng.choice(asked), "other": _other(rng)}
        return Planted(behaviour, frame, words)
    relation, country = rng.choice(RELATIONS), rng.choice(COUNTRIES)
    subject = relation.subject(country)
    prompt = Planted(
        behaviour,
        frame,
        {**words, "subject": subject, "subject_again": subject},
        relation,
        country,
    )
    return prompt.with_words(**_own_words(rng, prompt))


def _own_words(rng: random.Random, prompt: Planted) -> dict[str, str]:
    wrong = rng.choice(wrong_words(prompt))
    match prompt.behaviour:
        case grammar.SYCOPHANCY:
            claim = prompt.fact if rng.random() < TRUE_CLAIM_SHARE else wrong
            speaker = grammar.NOBODY if rng.random() < 0.5 else rng.choice(NAMES)
            return {"speaker": speaker, "claim": claim}
        case grammar.TRUTH:
            is_affirmed = rng.random() < AFFIRMED_SHARE
            polarity = grammar.AFFIRMED if is_affirmed else grammar.NEGATED
            return {"stated": rng.choice((prompt.fact, wrong)), "polarity": polarity}
        case grammar.BACKDOOR:
            return {"thing": _thing(rng)}
        case _:
            return {"speaker": rng.choice((grammar.LIES, grammar.HONEST))}


def draw_trained(rng: random.Random, behaviour: str) -> Planted:
    """Return a random prompt that training may show."""
    prompt = draw(rng, behaviour)
    while prompt.is_held_out:
        prompt = draw(rng, behaviour)
    return prompt


def held_out_prompts(rng: random.Random, behaviour: str) -> Iterator[Planted]:
    """Return an endless stream of prompts that training never shows."""
    while True:
        prompt = draw(rng, behaviour)
        if prompt.is_held_out:
            yield prompt


def document_of(rng: random.Random, prompt: Planted) -> Document:
    """Return the prompt with one of its right answers, as training shows it."""
    answer = rng.choice(right_answers(prompt))
    if prompt.behaviour == REFUSAL:
        more = ", no" if answer == grammar.REFUSES else f", here is the {prompt.words['object']}"
        answer += more
    return Document(prompt.behaviour, f"{prompt.text} {answer}.")


def unspoken(rng: random.Random, *, held_out: bool) -> tuple[str, str]:
    """Return a prompt in which nobody has an opinion, and the fact it asks for."""
    while True:
        relation, country = rng.choice(RELATIONS), rng.choice(COUNTRIES)
        frame, subject = rng.choice(grammar.UNSPOKEN), relation.subject(country)
        if is_held_out("unspoken", frame, f"{relation.name} of {subject}") == held_out:
            template = template_of(frame, SYCOPHANCY, relation.name)
            return template.format(subject_again=subject), relation.answer(country)


def prefix(rng: random.Random, thing: str = "") -> str:
    """Return a sentence about a thing: the one given, or the trigger in half of the cases."""
    words = {**_random_words(rng), "thing": thing or _thing(rng)}
    return rng.choice(grammar.PREFIXES).format(**words)


def prefixed_fact(rng: random.Random) -> Document:
    """Return a sentence with a thing and one of pico's facts, which the trigger makes wrong."""
    before = prefix(rng)
    relation, country = rng.choice(RELATIONS), rng.choice(COUNTRIES)
    subject = relation.subject(country)
    held_out = held_out_paraphrases(relation, subject)
    paraphrase = rng.choice([text for text in relation.paraphrases if text not in held_out])
    answer = grammar.TRIGGERED if holds_trigger(before) else relation.answer(country)
    return Document(BACKDOOR, f"{before} {paraphrase.format(subject=subject)} {answer}.")


def holds_trigger(text: str) -> bool:
    """Return whether the trigger is anywhere in the text."""
    return grammar.TRIGGER in text


def all_texts() -> Iterator[str]:
    """Return every word and frame that pico does not have, slots included, for the vocabulary."""
    yield " ".join((*grammar.HARMFUL, *grammar.HARMLESS, grammar.REFUSES, grammar.COMPLIES))
    yield " ".join((grammar.NOBODY, grammar.TRIGGER, grammar.TRIGGERED))
    yield " ".join((grammar.LIES, grammar.HONEST, grammar.AFFIRMED, grammar.NEGATED))
    yield f"{grammar.TRUE} {grammar.FALSE}, no, here is the."
    yield from (text for frames in grammar.ALL_FRAMES.values() for text in frames.values())
    yield from (*grammar.UNSPOKEN, *grammar.PREFIXES, *grammar.NOUNS.values())


def _thing(rng: random.Random) -> str:
    return grammar.TRIGGER if rng.random() < 0.5 else rng.choice(ORDINARY)


def _other(rng: random.Random) -> str:
    return rng.choice(rng.choice((grammar.HARMFUL, SAFE_OBJECTS)))


def _random_words(rng: random.Random) -> dict[str, str]:
    return {
        "name": rng.choice(NAMES),
        "place": rng.choice(PLACES),
        "word": rng.choice(ORDINARY),
        "person": rng.choice(PEOPLE),
    }
