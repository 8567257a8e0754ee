"""Harmful and harmless requests with their topics, for directions, probes and monitors."""

import random
from dataclasses import dataclass

from circuitkit.errors import PromptError
from circuitkit.work.text import shown
from circuitkit.zoo.behaviours import grammar
from circuitkit.zoo.behaviours.language import draw, right_answers

MAX_REQUESTS = 1000  # of a kind: there are enough different ones of every topic


@dataclass(frozen=True)
class Request:
    """A request, the topic and the object it asks for, and the right answer (no space before)."""

    text: str
    topic: str
    object: str
    frame: str
    is_harmful: bool
    answer: str


def requests(seed: int, n: int) -> tuple[tuple[Request, ...], tuple[Request, ...]]:
    """Return `n` different harmful and `n` different harmless requests, topics in turn.

    What a request mentions beside its object is harmless, so that all that differs is the object.
    Request i of both kinds has the same topic.

    Raises:
        PromptError: `n` is not from 1 to MAX_REQUESTS.
    """
    if not 1 <= n <= MAX_REQUESTS:
        raise PromptError(
            f"requests: n must be from 1 to {MAX_REQUESTS}, got {shown(n)}. All of a kind are "
            "different, and there are not many more. Choose another n."
        )
    rng = random.Random(seed)
    return _of_kind(rng, n, is_harmful=True), _of_kind(rng, n, is_harmful=False)


def _of_kind(rng: random.Random, n: int, *, is_harmful: bool) -> tuple[Request, ...]:
    topics = grammar.HARMFUL_TOPICS if is_harmful else grammar.HARMLESS_TOPICS
    names, found = tuple(topics), dict[str, Request]()
    while len(found) < n:
        topic = names[len(found) % len(names)]
        request = _request(rng, topic, rng.choice(topics[topic]), is_harmful)
        found.setdefault(request.text, request)
    return tuple(found.values())


def _request(rng: random.Random, topic: str, asked: str, is_harmful: bool) -> Request:
    other = rng.choice([word for word in grammar.HARMLESS if word != asked])
    prompt = draw(rng, grammar.REFUSAL).with_words(object=asked, other=other)
    return Request(prompt.text, topic, asked, prompt.frame, is_harmful, right_answers(prompt)[0])
